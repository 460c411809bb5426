import Fixtures
import Foundation
import Testing

/// The task of these tests: four kinds of thing, on a model small enough that training takes a moment.
enum TinyTask {
    static let model = Fixtures.Models.tinyLlama.path
    static let otherModel = Fixtures.Models.tinyLlamaQ4_1.path
    static let data = Fixtures.Data.tinyKinds.path

    /// The arguments of a short training run.
    static func tune(
        _ name: String, method: String = "prefix-tuning", steps: Int = 40, tokens: Int? = 4, more: [String] = []
    ) -> [String] {
        // A few tokens of text are a bad start for a model this small.
        [
            "tune", model, "--data", data, "--name", name, "--method", method, "--steps", "\(steps)",
            "--allow-bad-start",
        ]
            + (tokens.map { ["--tokens", "\($0)"] } ?? []) + more
    }
}

extension Incipit {
    /// Trains for a moment and returns the digest of what was stored.
    @discardableResult
    func tune(
        _ name: String, method: String = "prefix-tuning", steps: Int = 40, tokens: Int? = 4, more: [String] = [],
        home: String = "home", sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> String {
        let outcome = try await run(
            TinyTask.tune(name, method: method, steps: steps, tokens: tokens, more: more + ["--json"]), home: home)
        try #require(outcome.status == 0, "\(outcome.errors)", sourceLocation: sourceLocation)
        return try #require(try outcome.object()["digest"] as? String, sourceLocation: sourceLocation)
    }

    /// The digest a reference leads to, after every byte of it was checked; nil when there is no such prompt.
    func digest(_ reference: String, home: String = "home") async throws -> String? {
        let outcome = try await run(["prompt", "show", reference, "--json"], home: home)
        if outcome.status == 66 { return nil }
        try #require(outcome.status == 0, "\(reference): \(outcome.errors)")
        return try outcome.object()["digest"] as? String
    }

    /// What a version exports, by file name.
    func export(_ reference: String, home: String = "home") async throws -> [String: Data] {
        let target = path("export-\(UUID().uuidString)")
        try await succeed("prompt", "export", reference, target, home: home)
        defer { try? FileManager.default.removeItem(atPath: target) }
        var files: [String: Data] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: target) {
            files[name] = try Data(contentsOf: URL(filePath: target).appending(path: name))
        }
        return files
    }
}

/// Random delays that are the same on every run.
struct SeededDelays {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// Evenly distributed between the bounds, in seconds. SplitMix64.
    mutating func next(in range: ClosedRange<Double>) -> Double {
        state &+= 0x9e37_79b9_7f4a_7c15
        var bits = state
        bits = (bits ^ (bits >> 30)) &* 0xbf58_476d_1ce4_e5b9
        bits = (bits ^ (bits >> 27)) &* 0x94d0_49bb_1331_11eb
        bits ^= bits >> 31
        return range.lowerBound + (range.upperBound - range.lowerBound) * Double(bits >> 11) * 0x1p-53
    }
}

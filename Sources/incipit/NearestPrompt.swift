import ByteIO
import Foundation
import LanguageModels
import PromptRegistry
import PromptTuning
import SoftPrompts

// `tune --init nearest`: the stored prompt whose task is closest to the data at hand (prompt transfer, Vu et al. 2022,
// arXiv 2110.07904). Close is what already helps: the prompt under which the base finds some of the training rows
// likeliest.
extension TuneCommand {
    var isNearest: Bool { nearest || initKind == "nearest" }

    /// Rows the candidates are compared on, and candidates at most.
    private static let sampleSize = 32
    private static let candidateLimit = 64

    private struct Candidate {
        let name: String
        let start: TuningStart
        let loss: Double
    }

    /// - Throws: `CommandFailure` of status `notFound` when no stored prompt of this base fits the method.
    func nearestPrompt(
        _ material: TuningMaterial, _ loaded: LoadedModel, _ graph: any DifferentiableModel, home: Home,
        method: any TuningMethod.Type, isFirst: Bool
    ) async throws -> TuningStart {
        let shape = loaded.model.shape
        // A resumed run goes on from what it began with, whatever has been stored since.
        if unfinished.resume, let reference = try? String(contentsOfFile: Self.choicePath(home, name), encoding: .utf8)
        {
            let resolved = try await AttachmentOptions.resolve(reference, for: loaded, home: home)
            var start = Self.start(from: resolved, method: method, shape: shape, isNearest: true)
            start.choice = reference
            return start
        }
        let base = try loaded.fingerprint(cache: home.cache).base
        let records = Self.newest(try await PromptStore(home: home).registry.list(base: base)).filter {
            $0.placement == method.placement.rawValue && (tokens == nil || $0.tokens == nil || $0.tokens == tokens)
        }
        let batch = try sample(material, loaded, graph)
        var candidates: [Candidate] = []
        let line = ProgressLine()
        for (index, record) in records.prefix(Self.candidateLimit).enumerated() {
            if isFirst {
                line.update("comparing stored prompts: \(index + 1) of \(min(records.count, Self.candidateLimit))")
            }
            let resolved: AttachmentOptions.Resolved
            do {
                resolved = try await AttachmentOptions.resolve(
                    "\(record.name)@\(record.digest)", for: loaded, home: home)
            } catch {
                line.finish()
                Output.note("  \(record.displayName) is passed over: \(error)")
                continue
            }
            guard resolved.prompt.placement == method.placement,
                tokens == nil || tokens == resolved.prompt.virtualTokenCount
            else { continue }
            var start = Self.start(from: resolved, method: method, shape: shape, isNearest: true)
            start.choice = "\(record.name)@\(record.digest)"
            let loss = try start.values.withUnsafeBufferPointer { buffer in
                guard let values = buffer.baseAddress else { return Double.nan }
                return try graph.loss(of: batch, prompt: method.view(values, tokens: start.tokens), gradient: nil).loss
            }
            candidates.append(
                Candidate(name: start.choice ?? "", start: start, loss: loss.isFinite ? loss : .infinity)
            )
        }
        line.finish()
        // Between equals the name decides: the same store gives the same choice.
        candidates.sort { ($0.loss, $0.name) < ($1.loss, $1.name) }
        guard let best = candidates.first, best.loss.isFinite else {
            throw CommandFailure(
                .notFound,
                "no stored prompt of \(loaded.name) enters at \(method.placement.rawValue)"
                    + (tokens.map { " with \($0) virtual tokens" } ?? "")
                    + "; begin from words (--init text), or see `incipit prompt list`")
        }
        guard isFirst else { return best.start }
        let bare = try graph.loss(of: batch, prompt: .none, gradient: nil).loss
        Output.note(
            "nearest of \(candidates.count) stored prompts, by loss on \(batch.examples.count) training rows: "
                + String(format: "%@ with %.3f (bare model %.3f)", Self.short(best.name), best.loss, bare))
        for other in candidates.dropFirst().prefix(4) {
            Output.note("  \(Self.short(other.name)) " + String(format: "%.3f", other.loss))
        }
        return best.start
    }

    private static func choicePath(_ home: Home, _ name: String) -> String { home.run(name) + "/nearest" }

    /// Writes the choice beside the run's checkpoint.
    func remember(_ start: TuningStart, home: Home) throws {
        guard let choice = start.choice else { return }
        try AtomicFile.write(Array(choice.utf8), to: Self.choicePath(home, name))
    }

    private static func short(_ reference: String) -> String {
        reference.range(of: "@sha256:").map {
            String(reference[..<$0.upperBound]) + reference[$0.upperBound...].prefix(12)
        }
            ?? reference
    }

    /// The newest version of each prompt.
    private static func newest(_ records: [PromptRecord]) -> [PromptRecord] {
        var result: [String: PromptRecord] = [:]
        for record in records {
            let name = record.name.description
            if let known = result[name], (known.version ?? 0) >= (record.version ?? 0) { continue }
            result[name] = record
        }
        return result.sorted { $0.key < $1.key }.map(\.value)
    }

    /// Some training rows of all files, as they are learned.
    private func sample(
        _ material: TuningMaterial, _ loaded: LoadedModel, _ graph: any DifferentiableModel
    ) throws -> TrainingBatch {
        var settings = try configuration(tokens: 1)
        settings.tokenDropout = 0
        var parts: [ObjectiveMixture.Part] = []
        for (file, weight) in material.weightedFiles {
            parts.append(.init(try material.objective(file, .train, loaded, graph, settings), weight: weight))
        }
        var mixture = try ObjectiveMixture(parts, seed: seed)
        return mixture.batch(step: 0, size: min(Self.sampleSize, mixture.itemCount))
    }
}

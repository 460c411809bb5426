import Foundation
import Testing

@testable import GGUF

/// Verdicts over hand-made files that lie beside the package on the machines that have them.
struct GGUFVectorTests {
    struct Vector: Sendable, CustomStringConvertible {
        let name: String
        let verdict: String
        var description: String { name }
    }

    static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("../shared/vectors/gguf").standardized

    static let vectors: [Vector] = {
        guard let table = try? String(contentsOf: folder.appendingPathComponent("EXPECTED.tsv"), encoding: .utf8) else {
            return []
        }
        return table.split(separator: "\n").dropFirst().map { line in
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            return Vector(name: String(fields[0]), verdict: String(fields[2]))
        }
    }()

    /// Our choice where the table leaves it open.
    static let policy: [String: String] = [
        "ok_missing_last_padding": "ok", "ok_trailing_garbage": "ok", "nested_array": "err", "bad_version_1": "ok",
        "big_endian": "ok", "key_not_utf8": "err", "val_not_utf8": "ok", "bad_offset_gap": "ok",
        "tensor_order_not_offset_order": "ok",
    ]

    @Test("a hand-made file gets the expected verdict", .enabled(if: !vectors.isEmpty), arguments: vectors)
    func verdict(vector: Vector) throws {
        let path = Self.folder.appendingPathComponent(vector.name + ".gguf").path
        let expected = vector.verdict == "policy" ? Self.policy[vector.name] : vector.verdict
        do {
            let file = try GGUFFile(path: path)
            #expect(expected == "ok", "\(vector.name) was accepted")
            for tensor in file.tensors { _ = file.bytes(of: tensor) }
        } catch let error as GGUFError {
            #expect(expected == "err", "\(error)")
            #expect(error.path == path)
            #expect(error.description.hasPrefix(path))
            #expect(error.offset != nil || error.message.contains("general.alignment"))
        }
    }
}

import ByteIO
import Foundation
import Testing

@testable import Safetensors

/// Verdicts of the reference implementation over small files that lie beside the package on the machines that have
/// them.
struct SafetensorsVectorTests {
    struct Vector: Sendable, CustomStringConvertible {
        let name: String
        let isAccepted: Bool
        let result: String
        var description: String { name }
    }

    static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("../shared/vectors/safetensors").standardized

    static let vectors: [Vector] = {
        guard let table = try? String(contentsOf: folder.appendingPathComponent("EXPECTED.tsv"), encoding: .utf8) else {
            return []
        }
        return table.split(separator: "\n").dropFirst().map { line in
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            return Vector(name: String(fields[0]), isAccepted: fields[2].hasPrefix("OK"), result: String(fields[2]))
        }
    }()

    /// Accepted by the reference, refused here on purpose: a name that occurs twice.
    static let stricter: Set<String> = ["x_duplicate_key_in_metadata", "x_duplicate_key_same"]

    @Test("a file gets the reference's verdict", .enabled(if: !vectors.isEmpty), arguments: vectors)
    func verdict(vector: Vector) throws {
        let path = Self.folder.appendingPathComponent(vector.name + ".safetensors").path
        do {
            let file = try SafetensorsFile(path: path)
            #expect(vector.isAccepted && !Self.stricter.contains(vector.name), "\(vector.name) was accepted")
            for tensor in file.tensors {
                _ = file.bytes(of: tensor)
                let text = "('\(tensor.name)', '\(tensor.type)', \(tensor.shape))"
                #expect(vector.result.contains(text))
            }
        } catch let error as SafetensorsError {
            #expect(!vector.isAccepted || Self.stricter.contains(vector.name), "\(error)")
            #expect(error.description.hasPrefix(path))
        }
    }
}

import Foundation
import Safetensors
import SoftPrompts

/// What one way to store a prompt takes, and what it changes.
public struct CompressionRow: Hashable, Sendable, Codable {
    /// F32, BF16, F16 or I8.
    public let type: String
    /// Bytes of the tensor file.
    public let fileBytes: Int
    /// Bytes of it at rest: byte planes and zstd.
    public let storedBytes: Int
    /// Root mean square of the values' errors, over that of the values.
    public let relativeError: Double
    public let largestError: Double
    /// What the gate measured; nil without one, and where the prompt cannot be stored so.
    public let divergence: Double?
}

/// Chooses how exactly a prompt's values have to be stored.
public enum PromptCompression {
    /// Measures every type.
    ///
    /// - Parameter gate: how far a model behaves differently with the changed prompt: the mean KL divergence of its
    ///   predictions from those with the exact one. Given by whoever has a model.
    public static func measure(
        _ prompt: SoftPrompt, gate: ((SoftPrompt) async throws -> Double)? = nil
    ) async throws -> [CompressionRow] {
        var rows: [CompressionRow] = []
        for type in SoftPromptFile.types {
            // F16 cannot hold every prompt; the others can.
            guard let file = try? SoftPromptFile(prompt, type: type) else { continue }
            let changed = try file.prompt()
            let (_, stored) = try Codec.encodeBest(file.tensors)
            var (squares, energy, largest) = (0.0, 0.0, 0.0)
            for (old, new) in zip(prompt.values, changed.values) {
                let error = Double(new) - Double(old)
                squares += error * error
                energy += Double(old) * Double(old)
                largest = max(largest, abs(error))
            }
            rows.append(
                CompressionRow(
                    type: type.name, fileBytes: file.tensors.count, storedBytes: stored.count,
                    relativeError: energy > 0 ? (squares / energy).squareRoot() : 0, largestError: largest,
                    divergence: try await gate?(changed)))
        }
        return rows
    }

    /// The smallest type whose divergence is at most `limit`; F32, which changes nothing, always is.
    public static func choice(_ rows: [CompressionRow], limit: Double) -> CompressionRow? {
        rows.filter { $0.type == "F32" || ($0.divergence.map { $0 <= limit } ?? false) }
            .min { $0.storedBytes < $1.storedBytes }
    }
}

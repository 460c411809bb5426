import Foundation
import OCIArtifacts
import SoftPrompts

/// What is different between two versions.
public struct PromptDifference: Hashable, Sendable, Codable {
    /// One thing that is said of both, or of one.
    public struct Change: Hashable, Sendable, Codable {
        public let key: String
        /// nil where it is not said.
        public let left: String?
        public let right: String?
    }

    /// How far the vectors are apart.
    public struct Vectors: Hashable, Sendable, Codable {
        /// Virtual tokens with at least one different value.
        public let changedTokens: Int
        public let tokens: Int
        public let largestDifference: Double
        /// Root mean square of the differences, over that of the left side's values.
        public let relativeDistance: Double
        /// The mean over tokens of the cosine between left and right.
        public let meanCosine: Double
    }

    /// Annotations of the manifests: base, method, metrics, labels.
    public var metadata: [Change]
    /// What is remembered of the training: hyper-parameters, seed, digests of data.
    public var training: [Change]
    /// Config and layers, by title.
    public var files: [Change]
    /// nil when the shapes differ, so that there is nothing to compare.
    public var vectors: Vectors?

    public var isEmpty: Bool {
        metadata.isEmpty && training.isEmpty && files.isEmpty && (vectors?.changedTokens ?? 1) == 0
    }

    public init(_ left: PromptRegistry.Loaded, _ right: PromptRegistry.Loaded) {
        metadata = Self.changes(left.record.annotations, right.record.annotations)
        training = Self.changes(Self.training(left.prompt), Self.training(right.prompt))
        files = Self.changes(Self.files(left), Self.files(right))
        vectors = Self.vectors(left.prompt, right.prompt)
    }

    private static func changes(_ left: [String: String], _ right: [String: String]) -> [Change] {
        Set(left.keys).union(right.keys).sorted().compactMap { key in
            left[key] == right[key] ? nil : Change(key: key, left: left[key], right: right[key])
        }
    }

    private static func training(_ prompt: SoftPrompt) -> [String: String] {
        prompt.training.mapValues { value in
            if case .string(let text) = value { return text }
            return String(decoding: value.canonicalBytes(), as: UTF8.self)
        }
    }

    private static func files(_ loaded: PromptRegistry.Loaded) -> [String: String] {
        var result = [
            SoftPromptFile.tensorFileName: Digest.sha256(of: loaded.files.tensors).description,
            SoftPromptFile.peftConfigurationFileName: Digest.sha256(of: loaded.files.peftConfiguration).description,
            SoftPromptFile.configurationFileName: Digest.sha256(of: loaded.files.configuration).description,
        ]
        for layer in loaded.extraLayers {
            result[layer.annotations?[AnnotationKey.title] ?? layer.mediaType] = layer.digest.description
        }
        return result
    }

    private static func vectors(_ left: SoftPrompt, _ right: SoftPrompt) -> Vectors? {
        let columns = left.columns
        guard left.placement == right.placement, columns == right.columns,
            left.virtualTokenCount == right.virtualTokenCount
        else { return nil }
        var changed = 0
        var largest = 0.0
        var squares = 0.0
        var energy = 0.0
        var cosines = 0.0
        for token in 0..<left.virtualTokenCount {
            var isChanged = false
            var (dot, a2, b2) = (0.0, 0.0, 0.0)
            for index in (token * columns)..<((token + 1) * columns) {
                let (a, b) = (Double(left.values[index]), Double(right.values[index]))
                if left.values[index] != right.values[index] { isChanged = true }
                largest = max(largest, abs(a - b))
                squares += (a - b) * (a - b)
                dot += a * b
                a2 += a * a
                b2 += b * b
            }
            if isChanged { changed += 1 }
            energy += a2
            // Two vectors of zeros point the same way.
            cosines += a2 == 0 && b2 == 0 ? 1 : a2 == 0 || b2 == 0 ? 0 : dot / (a2 * b2).squareRoot()
        }
        let distance = energy > 0 ? (squares / energy).squareRoot() : squares > 0 ? .infinity : 0
        return Vectors(
            changedTokens: changed, tokens: left.virtualTokenCount, largestDifference: largest,
            relativeDistance: distance.isFinite ? distance : Double.greatestFiniteMagnitude,
            meanCosine: cosines / Double(left.virtualTokenCount))
    }
}

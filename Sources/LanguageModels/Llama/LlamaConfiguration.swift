import GGUF

/// The hyperparameters of a llama-family decoder, from GGUF keys `llama.*`.
public struct LlamaConfiguration: Sendable {
    public let layerCount: Int
    public let hiddenSize: Int
    public let feedForwardSize: Int
    public let headCount: Int
    public let keyValueHeadCount: Int
    public let headDimension: Int
    public let ropeDimension: Int
    public let ropeBase: Double
    /// Angles are multiplied by this: 1/factor of linear scaling.
    public let ropeScale: Double
    public let epsilon: Float
    public let attentionScale: Float
    public let contextLength: Int
    public let vocabularySize: Int

    /// Reads and checks the hyperparameters.
    ///
    /// - Throws: `ModelError.invalidHyperparameter` naming the key, or the metadata's own error for a wrong value type.
    public init(_ metadata: GGUFMetadata, vocabularySize: Int, path: String) throws {
        let prefix = "llama."
        func fail(_ message: String) -> ModelError { ModelError(.invalidHyperparameter, message, path: path) }
        func count(_ key: String, default fallback: Int? = nil, limit: Int) throws -> Int {
            guard let value = try metadata.intIfPresent(prefix + key) ?? fallback else {
                throw fail("\(prefix)\(key) is missing")
            }
            guard value >= 1, value <= limit else {
                throw fail("\(prefix)\(key) is \(value); it must lie in 1…\(limit)")
            }
            return value
        }
        layerCount = try count("block_count", limit: 4096)
        hiddenSize = try count("embedding_length", limit: 1 << 20)
        feedForwardSize = try count("feed_forward_length", limit: 1 << 22)
        headCount = try count("attention.head_count", limit: 1 << 14)
        keyValueHeadCount = try count("attention.head_count_kv", default: headCount, limit: 1 << 14)
        guard headCount % keyValueHeadCount == 0 else {
            throw fail("\(headCount) heads cannot share \(keyValueHeadCount) key-value heads evenly")
        }
        if try metadata.intIfPresent(prefix + "attention.key_length") == nil, hiddenSize % headCount != 0 {
            throw fail("embedding length \(hiddenSize) is no multiple of \(headCount) heads")
        }
        headDimension = try count("attention.key_length", default: hiddenSize / headCount, limit: 1 << 12)
        let valueLength = try count("attention.value_length", default: headDimension, limit: 1 << 12)
        guard valueLength == headDimension else {
            throw fail("values of \(valueLength) elements beside keys of \(headDimension) are not supported")
        }
        ropeDimension = try count("rope.dimension_count", default: headDimension, limit: 1 << 12)
        guard ropeDimension % 2 == 0, ropeDimension <= headDimension else {
            throw fail("rope.dimension_count \(ropeDimension) must be even and at most \(headDimension)")
        }
        ropeBase = try metadata.floatIfPresent(prefix + "rope.freq_base").map(Double.init) ?? 10000
        guard ropeBase.isFinite, ropeBase > 0 else { throw fail("rope.freq_base is \(ropeBase)") }
        let scaling = try metadata.stringIfPresent(prefix + "rope.scaling.type") ?? "linear"
        switch scaling {
        case "none": ropeScale = 1
        case "linear":
            let factor = Double(
                try metadata.floatIfPresent(prefix + "rope.scaling.factor")
                    ?? metadata.floatIfPresent(prefix + "rope.scale_linear") ?? 1)
            guard factor.isFinite, factor >= 0 else { throw fail("rope.scaling.factor is \(factor)") }
            ropeScale = factor == 0 ? 1 : 1 / factor
        default: throw fail("RoPE scaling “\(scaling)” is not supported yet; none and linear are")
        }
        let epsilon = try metadata.floatIfPresent(prefix + "attention.layer_norm_rms_epsilon") ?? 1e-5
        guard epsilon.isFinite, epsilon > 0 else { throw fail("attention.layer_norm_rms_epsilon is \(epsilon)") }
        self.epsilon = epsilon
        let scale = try metadata.floatIfPresent(prefix + "attention.scale") ?? 0
        attentionScale = scale > 0 && scale.isFinite ? scale : 1 / Float(headDimension).squareRoot()
        contextLength = try count("context_length", limit: 1 << 30)
        if let experts = try metadata.intIfPresent(prefix + "expert_count"), experts > 0 {
            throw fail("mixture-of-experts models (expert_count \(experts)) cannot be run yet")
        }
        if let declared = try metadata.intIfPresent(prefix + "vocab_size"), declared != vocabularySize {
            throw fail("llama.vocab_size is \(declared), but token_embd.weight has \(vocabularySize) rows")
        }
        self.vocabularySize = vocabularySize
    }

    /// The dimensions the rest of the system sees.
    public var shape: DecoderShape {
        DecoderShape(
            architecture: LlamaArchitecture.name, layerCount: layerCount, hiddenSize: hiddenSize,
            headCount: headCount, keyValueHeadCount: keyValueHeadCount, headDimension: headDimension,
            vocabularySize: vocabularySize, contextLength: contextLength, interleavedRotary: true)
    }
}

import GGUF
import Layers

/// Reads the keys `<architecture>.*` of a model file, each checked for its range.
///
/// Counts that the format allows to differ from layer to layer must be equal in all layers: a list is accepted when it
/// has one entry a layer, all the same.
public struct Hyperparameters: Sendable {
    public let metadata: GGUFMetadata
    public let architecture: String
    /// Rows of the token embedding.
    public let vocabularySize: Int
    public let path: String

    public init(_ metadata: GGUFMetadata, architecture: String, vocabularySize: Int, path: String) {
        self.metadata = metadata
        self.architecture = architecture
        self.vocabularySize = vocabularySize
        self.path = path
    }

    /// The error of a hyperparameter.
    public func failure(_ message: String) -> ModelError { ModelError(.invalidHyperparameter, message, path: path) }

    private func key(_ name: String) -> String { "\(architecture).\(name)" }

    // MARK: - Single values

    /// A count from 1 to `limit`.
    ///
    /// - Throws: when it is outside, or missing and there is no fallback.
    public func count(_ name: String, default fallback: Int? = nil, limit: Int) throws -> Int {
        let values = try metadata.intsIfPresent(key(name)) ?? fallback.map { [$0] } ?? []
        guard let value = values.first else { throw failure("\(key(name)) is missing") }
        if values.count > 1 {
            let layers = try metadata.intIfPresent(key("block_count")) ?? 0
            guard values.count == layers else {
                throw failure("\(key(name)) has \(values.count) entries for \(layers) layers")
            }
            guard values.allSatisfy({ $0 == value }) else {
                throw failure("\(key(name)) differs from layer to layer, which is not supported")
            }
        }
        guard value >= 1, value <= limit else { throw failure("\(key(name)) is \(value); it must lie in 1…\(limit)") }
        return value
    }

    /// As `count`, with 0 where the key is missing or 0.
    public func countOrZero(_ name: String, limit: Int) throws -> Int {
        guard let value = try metadata.intIfPresent(key(name)), value != 0 else { return 0 }
        return try count(name, limit: limit)
    }

    /// A finite number; `fallback` where the key is missing or, with `zeroIsMissing`, 0.
    public func number(_ name: String, default fallback: Float, zeroIsMissing: Bool = false) throws -> Float {
        guard let value = try metadata.floatIfPresent(key(name)) else { return fallback }
        guard value.isFinite else { throw failure("\(key(name)) is \(value)") }
        return zeroIsMissing && value == 0 ? fallback : value
    }

    /// A finite number above 0, or `fallback`.
    public func positive(_ name: String, default fallback: Float, zeroIsMissing: Bool = false) throws -> Float {
        let value = try number(name, default: fallback, zeroIsMissing: zeroIsMissing)
        guard value > 0 else { throw failure("\(key(name)) is \(value); it must be above 0") }
        return value
    }

    /// A finite number from 0 up; 0 where the key is missing.
    public func softCap(_ name: String, default fallback: Float = 0) throws -> Float {
        let value = try number(name, default: fallback)
        guard value >= 0 else { throw failure("\(key(name)) is \(value); it must not be negative") }
        return value
    }

    public func flag(_ name: String, default fallback: Bool) throws -> Bool {
        try metadata.boolIfPresent(key(name)) ?? fallback
    }

    public func text(_ name: String) throws -> String? { try metadata.stringIfPresent(key(name)) }

    /// Which layers see a window only: `attention.sliding_window_pattern` as a list, or as a period whose last layer
    /// sees everything.
    ///
    /// - Parameter usual: what readers take when the key is missing.
    public func slidingLayers(_ layers: Int, default usual: (Int) -> Bool) throws -> [Bool] {
        let name = "attention.sliding_window_pattern"
        if case .array(let array)? = metadata[key(name)] {
            guard let flags = array.bools ?? array.ints?.map({ $0 != 0 }), flags.count == layers else {
                throw failure("\(key(name)) is no list of \(layers) flags, one for each layer")
            }
            return flags
        }
        guard metadata[key(name)] != nil else { return (0..<layers).map(usual) }
        let period = try count(name, limit: 4096)
        return (0..<layers).map { ($0 + 1) % period != 0 }
    }

    // MARK: - The common part

    /// The configuration of a llama-like decoder with these sizes, which an architecture then changes.
    ///
    /// - Parameters:
    ///   - norm: decides which of the two keys holds the epsilon.
    ///   - rotates: false for architectures with other positions, whose files have no RoPE keys.
    ///   - usesExperts: whether `expert_count` may be above 0.
    public func decoder(
        norm: Normalization.Kind = .rms, rotates: Bool = true, usesExperts: Bool = false
    ) throws -> DecoderConfiguration {
        let layers = try count("block_count", limit: 4096)
        let width = try count("embedding_length", limit: 1 << 20)
        let heads = try count("attention.head_count", limit: 1 << 14)
        let keyValueHeads = try count("attention.head_count_kv", default: heads, limit: 1 << 14)
        guard heads % keyValueHeads == 0 else {
            throw failure("\(heads) heads cannot share \(keyValueHeads) key-value heads evenly")
        }
        if try metadata.intsIfPresent(key("attention.key_length")) == nil, width % heads != 0 {
            throw failure("embedding length \(width) is no multiple of \(heads) heads")
        }
        let length = try count("attention.key_length", default: max(1, width / heads), limit: 1 << 12)
        let valueLength = try count("attention.value_length", default: length, limit: 1 << 12)
        guard valueLength == length else {
            throw failure("values of \(valueLength) elements beside keys of \(length) are not supported")
        }
        let epsilonKey = norm == .rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon"
        let scale = try number("attention.scale", default: 0)
        let context = try count("context_length", limit: 1 << 30)
        if !usesExperts, let experts = try metadata.intIfPresent(key("expert_count")), experts > 0 {
            throw failure("\(architecture) with experts (expert_count \(experts)) cannot be run")
        }
        if let declared = try metadata.intIfPresent(key("vocab_size")), declared != vocabularySize {
            throw failure("\(key("vocab_size")) is \(declared), but token_embd.weight has \(vocabularySize) rows")
        }
        guard try flag("attention.causal", default: true) else {
            throw failure("\(key("attention.causal")) is false; only causal decoders can be run")
        }
        return DecoderConfiguration(
            architecture: architecture, layerCount: layers, hiddenSize: width,
            feedForwardSize: try count(
                "feed_forward_length", default: usesExperts ? expertLengthIfPresent() : nil, limit: 1 << 22),
            headCount: heads, keyValueHeadCount: keyValueHeads, headDimension: length, vocabularySize: vocabularySize,
            contextLength: context, norm: norm, epsilon: try positive(epsilonKey, default: 1e-5),
            attentionScale: scale > 0 ? scale : 1 / Float(length).squareRoot(),
            windows: Array(repeating: 0, count: layers),
            rotations: rotates ? [try RotarySettings(self, headDimension: length)] : [],
            layerRotations: Array(repeating: rotates ? 0 : nil, count: layers))
    }

    private func expertLengthIfPresent() throws -> Int? {
        try metadata.intIfPresent(key("expert_feed_forward_length"))
    }

    /// The experts of a configuration, or nil when `expert_count` is missing or 0.
    ///
    /// - Parameters:
    ///   - length: width of an expert where the file does not say.
    ///   - normalizes: whether weights are normalised where the file does not say.
    public func experts(
        length: (_ used: Int) -> Int, normalizes: Bool, sharedLength: Int = 0
    ) throws -> DecoderConfiguration.Experts? {
        let experts = try countOrZero("expert_count", limit: 4096)
        guard experts > 0 else { return nil }
        let used = try count("expert_used_count", limit: 4096)
        guard used <= experts else {
            throw failure("\(key("expert_used_count")) is \(used) of \(experts) experts")
        }
        let gating = try metadata.intIfPresent(key("expert_gating_func")) ?? 1
        guard gating == 0 || gating == 1 else {
            throw failure("\(key("expert_gating_func")) is \(gating); only 1 (softmax) is supported")
        }
        for name in ["leading_dense_block_count", "expert_group_count"] {
            let value = try metadata.intIfPresent(key(name)) ?? 0
            guard value == 0 || (value == 1 && name == "expert_group_count") else {
                throw failure("\(key(name)) is \(value), which is not supported")
            }
        }
        return .init(
            count: experts, usedCount: used,
            feedForwardSize: try count("expert_feed_forward_length", default: length(used), limit: 1 << 22),
            normalizesWeights: try flag("expert_weights_norm", default: normalizes),
            weightScale: try number("expert_weights_scale", default: 1, zeroIsMissing: true),
            sharedFeedForwardSize: sharedLength == 0
                ? 0 : try count("expert_shared_feed_forward_length", default: sharedLength, limit: 1 << 22))
    }
}

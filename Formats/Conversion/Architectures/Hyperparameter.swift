import ByteIO
import GGUF

/// One number that `config.json` and GGUF's metadata both have, and what each calls it.
///
/// The row is read in both directions: the first name that is there becomes the key, and the key becomes the first name.
public struct Hyperparameter: Sendable {
    /// How GGUF stores it; the types the reference converter writes.
    public enum Kind: Sendable { case count, float, flag }

    /// Without the architecture's prefix: "attention.head_count".
    public let key: String
    public let kind: Kind
    /// Of `config.json`, the usual one first.
    public let names: [String]
    /// Whether a configuration without it is refused.
    public let isRequired: Bool
    /// What transformers takes when the configuration has none; written to GGUF, which may take another.
    public let fallback: Double?

    static func count(_ key: String, _ names: String..., isRequired: Bool = false, fallback: Int? = nil) -> Self {
        .init(key: key, kind: .count, names: names, isRequired: isRequired, fallback: fallback.map(Double.init))
    }

    static func float(_ key: String, _ names: String..., isRequired: Bool = false, fallback: Double? = nil) -> Self {
        .init(key: key, kind: .float, names: names, isRequired: isRequired, fallback: fallback)
    }

    static func flag(_ key: String, _ names: String..., fallback: Bool? = nil) -> Self {
        .init(key: key, kind: .flag, names: names, isRequired: false, fallback: fallback.map { $0 ? 1 : 0 })
    }

    /// The value for GGUF; nil when the configuration has none and none is assumed.
    func value(in config: HuggingFaceConfig) throws -> GGUFValue? {
        switch kind {
        case .count:
            guard let number = try config.int(names) ?? fallback.map({ Int($0) }) else { return try missing(config) }
            guard let count = UInt32(exactly: number) else {
                throw ConversionError(
                    .malformed, "\"\(names[0])\" is \(number); a number from 0 to \(UInt32.max) is expected",
                    path: config.path)
            }
            return .uint32(count)
        case .float:
            guard let number = try config.double(names) ?? fallback else { return try missing(config) }
            return .float32(Float(number))
        case .flag:
            guard let flag = try config.bool(names) ?? fallback.map({ $0 != 0 }) else { return try missing(config) }
            return .bool(flag)
        }
    }

    /// The value for `config.json`; nil when the metadata has none.
    func json(in metadata: GGUFMetadata, architecture: String) throws -> JSONValue? {
        let key = "\(architecture).\(key)"
        switch kind {
        case .count: return try metadata.intIfPresent(key).map { JSONValue($0) }
        case .float: return try metadata.floatIfPresent(key).map { .shortest($0) }
        case .flag: return try metadata.boolIfPresent(key).map { .bool($0) }
        }
    }

    private func missing(_ config: HuggingFaceConfig) throws -> GGUFValue? {
        guard isRequired else { return nil }
        throw ConversionError(
            .malformed, "\"\(names.joined(separator: "\" or \""))\" is missing; this architecture needs it",
            path: config.path)
    }
}

extension JSONValue {
    /// A float as the shortest decimal that reads back as the same float: 1e-05, not 9.999999747378752e-06.
    static func shortest(_ value: Float) -> JSONValue {
        guard value.isFinite else { return .null }
        return .double(Double("\(value)") ?? Double(value))
    }
}

extension Hyperparameter {
    /// What nearly every decoder has.
    static let context = count(
        "context_length", "max_position_embeddings", "n_positions", "n_ctx", "max_length", "max_sequence_length",
        isRequired: true)
    static let width = count("embedding_length", "hidden_size", "n_embd", "dim", isRequired: true)
    static let layers = count("block_count", "num_hidden_layers", "n_layer", "n_layers", isRequired: true)
    static let feedForward = count("feed_forward_length", "intermediate_size", "n_inner", isRequired: true)
    static let heads = count("attention.head_count", "num_attention_heads", "n_head", isRequired: true)
    static let keyValueHeads = count("attention.head_count_kv", "num_key_value_heads", "n_kv_heads")
    static let rmsEpsilon = float("attention.layer_norm_rms_epsilon", "rms_norm_eps", "norm_eps", isRequired: true)
    static let experts = count("expert_count", "num_local_experts", "num_experts", isRequired: true)
    static let expertsUsed = count("expert_used_count", "num_experts_per_tok", isRequired: true)

    /// The rows of a decoder with RMSNorm and SwiGLU, in the reference's order.
    static let decoder = [context, width, layers, feedForward, heads, keyValueHeads, rmsEpsilon]
}

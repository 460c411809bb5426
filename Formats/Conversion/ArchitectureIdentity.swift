import ByteIO
import Foundation
import GGUF
import TensorTypes

/// The hyperparameters of a model that change what it computes.
///
/// Each is written only when it differs from what readers take when it is missing, so that a file that spells defaults
/// out equals one that does not. Lists with one value a layer shrink to that value when all are the same. Floats are
/// the bits of an F32. Context length, vocabulary size (the embedding shows it) and names do not enter.
enum ArchitectureIdentity {
    private static let integers = [
        "embedding_length", "block_count", "feed_forward_length", "expert_count", "expert_used_count",
        "expert_shared_count", "expert_feed_forward_length", "expert_shared_feed_forward_length", "expert_group_count",
        "expert_group_used_count", "expert_gating_func", "leading_dense_block_count", "attention.head_count",
        "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.sliding_window",
        "attention.sliding_window_pattern", "attention.q_lora_rank", "attention.kv_lora_rank",
        "attention.key_length_mla", "attention.value_length_mla", "rope.dimension_count", "rope.dimension_sections",
        "pooling_type", "token_type_count",
    ]

    private static let floats = [
        "attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon", "attention.scale", "attention.clamp_kqv",
        "attention.max_alibi_bias", "attn_logit_softcapping", "final_logit_softcapping", "logit_scale",
        "residual_scale", "embedding_scale", "expert_weights_scale", "rope.freq_base", "rope.freq_base_swa",
    ]

    private static let flags = ["use_parallel_residual", "expert_weights_norm", "attention.causal"]

    private static let scaling = [
        "rope.scaling.attn_factor", "rope.scaling.yarn_log_multiplier", "rope.scaling.yarn_ext_factor",
        "rope.scaling.yarn_attn_factor", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
        "rope.scaling.alpha",
    ]

    static func json(of source: any ModelSource) throws -> JSONValue {
        let metadata = source.metadata
        let name = try metadata.architecture()
        var result = JSONObject()
        result["architecture"] = .string(name)
        for key in integers { result[key] = try integer(metadata, "\(name).\(key)") }
        for key in floats { result[key] = try float(metadata, "\(name).\(key)") }
        for key in flags {
            result[key] = try metadata.boolIfPresent("\(name).\(key)").map { .bool($0) }
        }
        try addScaling(metadata, name, to: &result)
        removeDefaults(&result)
        if let frequencies = source.tensors.first(where: { $0.name == "rope_freqs.weight" }),
            frequencies.type.isDecodable
        {
            // The formula and the file agree to about this many digits; see the rounding in the converter.
            result["rope_freqs"] = .array(
                try source.withBytes(of: frequencies) { try frequencies.type.decoded($0) }
                    .map { .string(String(format: "%.4e", Double($0))) })
        }
        return .object(result)
    }

    /// One integer, or a list when its elements differ. Booleans (window patterns) count as 0 and 1.
    private static func integer(_ metadata: GGUFMetadata, _ key: String) throws -> JSONValue? {
        if case .array(let array)? = metadata[key], let flags = array.bools {
            return list(flags.map { $0 ? 1 : 0 })
        }
        return try metadata.intsIfPresent(key).flatMap { list($0) }
    }

    private static func list(_ values: [Int]) -> JSONValue? {
        guard let first = values.first else { return nil }
        if values.allSatisfy({ $0 == first }) { return JSONValue(first) }
        return .array(values.map { JSONValue($0) })
    }

    private static func float(_ metadata: GGUFMetadata, _ key: String) throws -> JSONValue? {
        guard let values = try metadata.floatsIfPresent(key), let first = values.first else { return nil }
        if values.allSatisfy({ $0.bitPattern == first.bitPattern }) { return .string(FloatText.bits(first)) }
        return .array(values.map { .string(FloatText.bits($0)) })
    }

    private static func addScaling(_ metadata: GGUFMetadata, _ name: String, to result: inout JSONObject) throws {
        let prefix = "\(name).rope.scaling."
        let type = try metadata.stringIfPresent(prefix + "type") ?? "linear"
        // Files from before the key have the inverse-free older name.
        let factor =
            try metadata.floatIfPresent(prefix + "factor") ?? metadata.floatIfPresent("\(name).rope.scale_linear")
        let isScaled = factor.map { $0 != 0 && $0 != 1 } ?? false
        guard type != "none", isScaled || type == "yarn" || type == "longrope" else { return }
        result["rope.scaling.type"] = .string(type)
        if let factor, isScaled { result["rope.scaling.factor"] = .string(FloatText.bits(factor)) }
        result["rope.scaling.original_context_length"] =
            try metadata.intIfPresent(prefix + "original_context_length").map { JSONValue($0) }
        for key in scaling { result[key] = try float(metadata, "\(name).\(key)") }
    }

    /// Removes what equals the value readers assume.
    private static func removeDefaults(_ result: inout JSONObject) {
        if result["attention.head_count_kv"] == result["attention.head_count"] {
            result["attention.head_count_kv"] = nil
        }
        if let width = result["embedding_length"]?.intValue, let heads = result["attention.head_count"]?.intValue,
            heads > 0
        {
            let headDimension = JSONValue(width / heads)
            let keyLength = result["attention.key_length"] ?? headDimension
            if result["rope.dimension_count"] == keyLength { result["rope.dimension_count"] = nil }
            for key in ["attention.key_length", "attention.value_length"] where result[key] == headDimension {
                result[key] = nil
            }
        }
        if result["rope.freq_base"] == .string(FloatText.bits(10000)) { result["rope.freq_base"] = nil }
        if result["attention.causal"] == .bool(true) { result["attention.causal"] = nil }
        let zero = JSONValue.string(FloatText.bits(0))
        for key in floats where result[key] == zero && !key.hasPrefix("rope.") { result[key] = nil }
        for key in result.keys where result[key] == .integer(0) { result[key] = nil }
    }
}

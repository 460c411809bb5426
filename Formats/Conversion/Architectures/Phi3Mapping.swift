import ByteIO
import Foundation
import GGUF

/// Phi 3, 3.5 and 4 (mini and 14B): query, key and value in one matrix, gate and up in another, RoPE factors as tensors.
struct Phi3Mapping: ArchitectureMapping {
    let name = "phi3"
    let classes = [ModelClass("Phi3ForCausalLM", "phi3")]
    let hyperparameters = Hyperparameter.decoder

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        let context = try config.require(config.int("max_position_embeddings"), "max_position_embeddings")
        let original = try originalContext(config) ?? context
        try keys.count("rope.scaling.original_context_length", original, path: config.path)
        try RopeScaling.addKeys(from: config, to: &keys, allowed: ["longrope"])
        let length = try HeadLength.length(in: config)
        let rotated = Int(try RopeScaling.partialFactor(config, fallback: 1) * Double(length))
        try keys.count("rope.dimension_count", rotated, path: config.path)
        // Zero says that there is none, by which readers tell Phi 4.
        try keys.count("attention.sliding_window", try config.int("sliding_window") ?? 0, path: config.path)
        if try RopeScaling.type(RopeScaling.parameters(config)) == "longrope" {
            let scale = Double(context) / Double(original)
            guard original > 1 else { throw config.unsupported("\"original_max_position_embeddings\" is \(original)") }
            let factor = scale > 1 ? (1 + log(scale) / log(Double(original))).squareRoot() : 1
            keys["rope.scaling.attn_factor"] = .float32(Float(factor))
        }
    }

    private func originalContext(_ config: HuggingFaceConfig) throws -> Int? {
        try config.int("original_max_position_embeddings")
            ?? RopeScaling.parameters(config).int("original_max_position_embeddings")
    }

    func derivedTensors(from config: HuggingFaceConfig, keys: GGUFMetadata) throws -> [DerivedTensor] {
        let parameters = try RopeScaling.parameters(config)
        guard try RopeScaling.type(parameters) == "longrope" else { return [] }
        let pairs = try keys.int("phi3.rope.dimension_count") / 2
        return try [(RopeScaling.longName, "long_factor"), (RopeScaling.shortName, "short_factor")].map { name, field in
            let values = parameters.value(field)?.value.arrayValue?.compactMap(\.doubleValue) ?? []
            guard values.count == pairs, values.allSatisfy({ $0 > 0 && $0.isFinite }) else {
                throw ConversionError(
                    .malformed, "\"rope_scaling.\(field)\" has \(values.count) values; \(pairs) above 0 are expected",
                    path: config.path)
            }
            return DerivedTensor(name: name, values: values.map { Float($0) })
        }
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try RopeScaling.addFields(from: model, to: &config)
        config["hidden_act"] = "silu"
        let window = try model.int("attention.sliding_window") ?? 0
        config["sliding_window"] = window > 0 ? JSONValue(window) : .null
        if model.size.rotated != model.size.keyLength {
            config["partial_rotary_factor"] = .double(Double(model.size.rotated) / Double(model.size.keyLength))
        }
        let context = model.size.context
        config["original_max_position_embeddings"] = JSONValue(
            try model.int("rope.scaling.original_context_length") ?? context)
        if let long = try model.floats(RopeScaling.longName), let short = try model.floats(RopeScaling.shortName) {
            // transformers of the time of Phi 3 insist on exactly these three.
            config["rope_scaling"] = .object(
                JSONObject([
                    ("type", .string("longrope")), ("long_factor", .array(long.map { .shortest($0) })),
                    ("short_factor", .array(short.map { .shortest($0) })),
                ]))
        }
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] {
        size.rules { rules, layer in
            let from = "model.layers.\(layer)."
            rules.twoNorms(layer, size)
            let rows = (size.heads + size.keyValueHeads) * size.keyLength + size.keyValueHeads * size.valueLength
            rules.weight("blk.\(layer).attn_qkv", from + "self_attn.qkv_proj", [rows, size.width])
            rules.weight(
                "blk.\(layer).attn_output", from + "self_attn.o_proj", [size.width, size.heads * size.valueLength])
            rules.weight("blk.\(layer).ffn_up", from + "mlp.gate_up_proj", [2 * size.feedForward, size.width])
            rules.weight("blk.\(layer).ffn_down", from + "mlp.down_proj", [size.width, size.feedForward])
        }
    }
}

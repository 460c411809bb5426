import ByteIO
import GGUF

/// Granite: Llama with four scales.
struct GraniteMapping: ArchitectureMapping {
    let name = "granite"
    let classes = [ModelClass("GraniteForCausalLM", "granite")]
    let hyperparameters =
        Hyperparameter.decoder + [
            .float("attention.scale", "attention_multiplier", fallback: 1),
            .float("embedding_scale", "embedding_multiplier", fallback: 1),
            .float("residual_scale", "residual_multiplier", fallback: 1),
            .float("logit_scale", "logits_scaling", fallback: 1),
        ]
    let readsRopeFrequencies = true

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        try LlamaFamily.addKeys(from: config, to: &keys)
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try LlamaFamily.addFields(from: model, to: &config)
        config["head_dim"] = nil
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] { LlamaMapping().tensors(size) }
}

/// SmolLM3: Llama in which every fourth layer has no positions.
struct SmolLM3Mapping: ArchitectureMapping {
    let name = "smollm3"
    let classes = [ModelClass("SmolLM3ForCausalLM", "smollm3")]
    let hyperparameters = Hyperparameter.decoder
    private static let period = 4
    let isTiedByDefault = true

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        if let size = try config.int("vocab_size") { try keys.count("vocab_size", size, path: config.path) }
        try HeadLength.addKeys(from: config, to: &keys)
        try RopeScaling.addKeys(from: config, to: &keys, fallbackBase: 2_000_000)
        try keys.count("rope.dimension_count", HeadLength.length(in: config), path: config.path)
        if try config.bool("use_sliding_window") ?? false {
            throw config.unsupported("\"use_sliding_window\" is true, which smollm3 of GGUF does not know")
        }
        let layers = try config.int("num_hidden_layers") ?? 0
        let usual = usualLayers(layers)
        if let listed = config.value("no_rope_layers")?.value.arrayValue {
            guard listed == usual else {
                throw config.unsupported("\"no_rope_layers\" is not every fourth layer, which smollm3 of GGUF assumes")
            }
        } else if try config.int("no_rope_layer_interval") ?? Self.period != Self.period {
            throw config.unsupported("\"no_rope_layer_interval\" is not 4, which smollm3 of GGUF assumes")
        }
    }

    /// 1 for layers that rotate, 0 for those that do not.
    private func usualLayers(_ count: Int) -> [JSONValue] {
        (0..<max(0, min(count, ModelDimensions.layerLimit))).map { ($0 + 1) % Self.period != 0 ? 1 : 0 }
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try LlamaFamily.addFields(from: model, to: &config)
        config["head_dim"] = nil
        config["no_rope_layer_interval"] = JSONValue(Self.period)
        config["no_rope_layers"] = .array(usualLayers(model.size.layers))
        config["use_sliding_window"] = false
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] { LlamaMapping().tensors(size) }
}

/// OLMo 2: norms behind attention and feed-forward, and over whole queries and keys; rows as they are.
struct OLMo2Mapping: ArchitectureMapping {
    let name = "olmo2"
    let classes = [ModelClass("Olmo2ForCausalLM", "olmo2")]
    let hyperparameters = Hyperparameter.decoder
    let needsOutput = true

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        try HeadLength.addKeys(from: config, to: &keys)
        try RopeScaling.addKeys(from: config, to: &keys)
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try RopeScaling.addFields(from: model, to: &config)
        if try model.int("attention.sliding_window") ?? 0 > 0 {
            throw model.unsupported("this olmo2 has a sliding window (OLMo 3), which is not supported")
        }
        config["hidden_act"] = "silu"
        config["attention_bias"] = .bool(model.hasTensor("blk.0.attn_q.bias"))
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] {
        size.rules { rules, layer in
            let from = "model.layers.\(layer)."
            rules.attention(layer, size)
            rules.queryKeyNorms(
                layer, lengths: (size.heads * size.keyLength, size.keyValueHeads * size.keyLength))
            rules.norm("blk.\(layer).post_attention_norm", from + "post_attention_layernorm", size.width)
            rules.gatedFeedForward(layer, size)
            rules.norm("blk.\(layer).post_ffw_norm", from + "post_feedforward_layernorm", size.width)
        }
    }
}

/// StableLM: LayerNorm with bias, part of each head rotated; the 12B has a norm for every head and no second norm.
struct StableLMMapping: ArchitectureMapping {
    let name = "stablelm"
    let classes = [ModelClass("StableLmForCausalLM", "stablelm"), ModelClass("StableLMEpochForCausalLM", "stablelm")]
    let hyperparameters: [Hyperparameter] = [
        .context, .width, .layers, .feedForward, .heads, .keyValueHeads,
        .float("attention.layer_norm_epsilon", "layer_norm_eps", "norm_eps", fallback: 1e-5),
        .flag("use_parallel_residual", "use_parallel_residual", fallback: false),
    ]
    let needsOutput = true

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        let rotated = try RopeScaling.partialFactor(config, fallback: 0.25) * Double(HeadLength.length(in: config))
        try keys.count("rope.dimension_count", Int(rotated), path: config.path)
        try RopeScaling.addKeys(from: config, to: &keys)
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try RopeScaling.addFields(from: model, to: &config)
        config["hidden_act"] = "silu"
        config["partial_rotary_factor"] = .double(Double(model.size.rotated) / Double(model.size.keyLength))
        config["use_qkv_bias"] = .bool(model.hasTensor("blk.0.attn_q.bias"))
        config["qk_layernorm"] = .bool(model.hasTensor("blk.0.attn_q_norm.weight"))
        config["use_parallel_residual"] = .bool(!model.hasTensor("blk.0.ffn_norm.weight"))
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] {
        var rules = TensorRules()
        rules.begin(size)
        for layer in 0..<size.layers {
            let from = "model.layers.\(layer)."
            rules.norm("blk.\(layer).attn_norm", from + "input_layernorm", size.width, bias: .required)
            rules.attention(layer, size)
            rules.stack(
                "blk.\(layer).attn_q_norm", from + "self_attn.q_layernorm.norms.%.weight", count: size.heads,
                [size.keyLength], optional: true)
            rules.stack(
                "blk.\(layer).attn_k_norm", from + "self_attn.k_layernorm.norms.%.weight", count: size.keyValueHeads,
                [size.keyLength], optional: true)
            rules.norm(
                "blk.\(layer).ffn_norm", from + "post_attention_layernorm", size.width, optional: true, bias: .optional)
            rules.gatedFeedForward(layer, size)
        }
        rules.end(size, bias: .required)
        return rules.rules
    }
}

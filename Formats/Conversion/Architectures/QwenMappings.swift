import ByteIO
import GGUF

/// Qwen 2 and 2.5: Llama with biases on query, key and value, RoPE over halves.
struct Qwen2Mapping: ArchitectureMapping {
    let name = "qwen2"
    let classes = [ModelClass("Qwen2ForCausalLM", "qwen2"), ModelClass("Qwen2Model", "qwen2")]
    let hyperparameters = Hyperparameter.decoder

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        try QwenFamily.addKeys(from: config, to: &keys)
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try QwenFamily.addFields(from: model, to: &config)
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] {
        size.rules { rules, layer in
            rules.twoNorms(layer, size)
            rules.attention(layer, size)
            rules.gatedFeedForward(layer, size)
        }
    }
}

/// Qwen 3: no biases, a norm on each query and key head, heads of a length of their own.
struct Qwen3Mapping: ArchitectureMapping {
    let name = "qwen3"
    let classes = [ModelClass("Qwen3ForCausalLM", "qwen3"), ModelClass("Qwen3Model", "qwen3")]
    let hyperparameters = Hyperparameter.decoder

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        try QwenFamily.addKeys(from: config, to: &keys, headLength: 128)
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try QwenFamily.addFields(from: model, to: &config)
        HeadLength.addFields(from: model, to: &config)
        config["attention_bias"] = .bool(model.hasTensor("blk.0.attn_q.bias"))
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] {
        size.rules { rules, layer in
            rules.twoNorms(layer, size)
            rules.attention(layer, size)
            rules.queryKeyNorms(layer, lengths: (size.keyLength, size.keyLength))
            rules.gatedFeedForward(layer, size)
        }
    }
}

/// Qwen 1.5 and 2 with experts: every layer routed, beside a shared expert that has a gate of its own.
struct Qwen2MoEMapping: ArchitectureMapping {
    let name = "qwen2moe"
    let classes = [ModelClass("Qwen2MoeForCausalLM", "qwen2_moe")]
    let hyperparameters =
        Hyperparameter.decoder + [
            .count("expert_count", "num_experts", isRequired: true), .expertsUsed,
            .count("expert_feed_forward_length", "moe_intermediate_size", isRequired: true),
            .count("expert_shared_feed_forward_length", "shared_expert_intermediate_size", isRequired: true),
        ]
    let needsOutput = true

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        try QwenFamily.checkEveryLayerRouted(config)
        if try config.bool("norm_topk_prob") ?? false {
            throw config.unsupported("\"norm_topk_prob\" is true; qwen2moe of GGUF does not normalise expert weights")
        }
        try QwenFamily.addKeys(from: config, to: &keys)
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try QwenFamily.addFields(from: model, to: &config)
        config["norm_topk_prob"] = false
        config["decoder_sparse_step"] = 1
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] {
        size.rules { rules, layer in
            rules.twoNorms(layer, size)
            rules.attention(layer, size)
            let block = "model.layers.\(layer).mlp"
            rules.experts(
                layer, block: block, names: ("gate_proj", "up_proj", "down_proj"), count: size.experts,
                width: size.width, length: size.expertFeedForward)
            let shared = [size.sharedFeedForward, size.width]
            rules.weight("blk.\(layer).ffn_gate_inp_shexp", "\(block).shared_expert_gate", [1, size.width])
            rules.weight("blk.\(layer).ffn_gate_shexp", "\(block).shared_expert.gate_proj", shared)
            rules.weight("blk.\(layer).ffn_up_shexp", "\(block).shared_expert.up_proj", shared)
            rules.weight("blk.\(layer).ffn_down_shexp", "\(block).shared_expert.down_proj", shared.reversed())
        }
    }
}

/// Qwen 3 with experts, whose weights are normalised.
struct Qwen3MoEMapping: ArchitectureMapping {
    let name = "qwen3moe"
    let classes = [ModelClass("Qwen3MoeForCausalLM", "qwen3_moe")]
    let hyperparameters =
        Hyperparameter.decoder + [
            .count("expert_count", "num_experts", "num_local_experts", isRequired: true), .expertsUsed,
            .count("expert_feed_forward_length", "moe_intermediate_size", isRequired: true),
        ]

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        try QwenFamily.checkEveryLayerRouted(config)
        if try config.bool("norm_topk_prob") == false {
            throw config.unsupported("\"norm_topk_prob\" is false; qwen3moe of GGUF always normalises expert weights")
        }
        try QwenFamily.addKeys(from: config, to: &keys)
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try QwenFamily.addFields(from: model, to: &config)
        HeadLength.addFields(from: model, to: &config)
        config["norm_topk_prob"] = true
        config["decoder_sparse_step"] = 1
        config["attention_bias"] = .bool(model.hasTensor("blk.0.attn_q.bias"))
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] {
        size.rules { rules, layer in
            rules.twoNorms(layer, size)
            rules.attention(layer, size)
            rules.queryKeyNorms(layer, lengths: (size.keyLength, size.keyLength))
            rules.experts(
                layer, block: "model.layers.\(layer).mlp", names: ("gate_proj", "up_proj", "down_proj"),
                count: size.experts, width: size.width, length: size.expertFeedForward)
        }
    }
}

enum QwenFamily {
    static func addKeys(
        from config: HuggingFaceConfig, to keys: inout ArchitectureKeys, headLength: Int? = nil
    ) throws {
        if try config.bool("use_sliding_window") ?? false {
            throw config.unsupported(
                "\"use_sliding_window\" is true; GGUF's \(keys.name) attends to everything, so that texts longer than the "
                    + "window would give other results")
        }
        try HeadLength.addKeys(from: config, to: &keys, fallback: headLength)
        try RopeScaling.addKeys(from: config, to: &keys)
    }

    /// GGUF has experts in every layer of these architectures.
    static func checkEveryLayerRouted(_ config: HuggingFaceConfig) throws {
        let step = try config.int("decoder_sparse_step") ?? 1
        let dense = config.value("mlp_only_layers")?.value.arrayValue ?? []
        guard step == 1, dense.isEmpty else {
            throw config.unsupported("some layers have no experts (\"decoder_sparse_step\", \"mlp_only_layers\")")
        }
    }

    static func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try RopeScaling.addFields(from: model, to: &config)
        config["hidden_act"] = "silu"
        config["use_sliding_window"] = false
    }
}

import ByteIO
import GGUF

/// GPT-2: learned positions, weights stored as inputs by outputs (Conv1D), embedding tied.
struct GPT2Mapping: ArchitectureMapping {
    let name = "gpt2"
    let classes = [ModelClass("GPT2LMHeadModel", "gpt2")]
    let hyperparameters: [Hyperparameter] = [
        .count("context_length", "n_positions", "n_ctx", "max_position_embeddings", isRequired: true),
        .count("embedding_length", "n_embd", "hidden_size", isRequired: true),
        .count("block_count", "n_layer", "num_hidden_layers", isRequired: true),
        .count("attention.head_count", "n_head", "num_attention_heads", isRequired: true),
        .float("attention.layer_norm_epsilon", "layer_norm_epsilon", fallback: 1e-5),
    ]
    let isTiedByDefault = true

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        let width = try config.require(config.int("n_embd", "hidden_size"), "n_embd")
        let length = try config.int("n_inner") ?? (width <= ModelDimensions.sizeLimit ? 4 * width : width)
        try keys.count("feed_forward_length", length, path: config.path)
        let activation = try config.string("activation_function") ?? "gelu_new"
        guard ["gelu_new", "gelu_pytorch_tanh", "gelu_fast"].contains(activation) else {
            throw config.unsupported("\"activation_function\" is \(activation); gpt2 of GGUF computes gelu_new")
        }
        if try config.bool("scale_attn_by_inverse_layer_idx") ?? false {
            throw config.unsupported("\"scale_attn_by_inverse_layer_idx\" is true, which gpt2 of GGUF does not know")
        }
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        config["n_ctx"] = JSONValue(model.size.context)
        config["n_inner"] = model.size.feedForward == 4 * model.size.width ? .null : JSONValue(model.size.feedForward)
        config["activation_function"] = "gelu_new"
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] {
        var rules = TensorRules()
        rules.begin(size, source: "transformer.wte")
        rules.weight("position_embd", "transformer.wpe", [size.context, size.width])
        for layer in 0..<size.layers {
            let from = "transformer.h.\(layer)."
            let to = "blk.\(layer)."
            rules.norm(to + "attn_norm", from + "ln_1", size.width, bias: .required)
            rules.weight(
                to + "attn_qkv", from + "attn.c_attn", [size.width, 3 * size.width], .transpose, bias: .required)
            rules.weight(
                to + "attn_output", from + "attn.c_proj", [size.width, size.width], .transpose, bias: .required)
            rules.norm(to + "ffn_norm", from + "ln_2", size.width, bias: .required)
            rules.weight(
                to + "ffn_up", from + "mlp.c_fc", [size.width, size.feedForward], .transpose, bias: .required)
            rules.weight(
                to + "ffn_down", from + "mlp.c_proj", [size.feedForward, size.width], .transpose, bias: .required)
        }
        rules.end(size, norm: "transformer.ln_f", bias: .required)
        return rules.rules
    }
}

/// GPT-NeoX and Pythia: query, key and value of each head together, part of the head rotated, two parallel branches.
struct GPTNeoXMapping: ArchitectureMapping {
    let name = "gptneox"
    let classes = [ModelClass("GPTNeoXForCausalLM", "gpt_neox")]
    let hyperparameters: [Hyperparameter] = [
        .context, .width, .layers, .feedForward, .heads,
        .float("attention.layer_norm_epsilon", "layer_norm_eps", fallback: 1e-5),
        .flag("use_parallel_residual", "use_parallel_residual", fallback: true),
    ]
    let needsOutput = true

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        let length = try HeadLength.length(in: config)
        let rotated = Int(try RopeScaling.partialFactor(config, fallback: 0.25) * Double(length))
        try keys.count("rope.dimension_count", rotated, path: config.path)
        try RopeScaling.addKeys(from: config, to: &keys)
        let activation = try config.string("hidden_act") ?? "gelu"
        guard activation.hasPrefix("gelu") else {
            throw config.unsupported("\"hidden_act\" is \(activation); gptneox of GGUF computes gelu")
        }
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try RopeScaling.addFields(from: model, to: &config, baseField: "rotary_emb_base")
        config["rotary_pct"] = .double(Double(model.size.rotated) / Double(model.size.keyLength))
        config["hidden_act"] = "gelu"
        config["attention_bias"] = .bool(model.hasTensor("blk.0.attn_qkv.bias"))
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] {
        var rules = TensorRules()
        rules.begin(size, source: "gpt_neox.embed_in")
        for layer in 0..<size.layers {
            let from = "gpt_neox.layers.\(layer)."
            let to = "blk.\(layer)."
            rules.norm(to + "attn_norm", from + "input_layernorm", size.width, bias: .required)
            rules.weight(
                to + "attn_qkv", from + "attention.query_key_value", [3 * size.width, size.width],
                .rows(.headsToProjections(heads: size.heads)), bias: .optional)
            rules.weight(
                to + "attn_output", from + "attention.dense", [size.width, size.width], bias: .optional)
            rules.norm(to + "ffn_norm", from + "post_attention_layernorm", size.width, bias: .required)
            rules.weight(
                to + "ffn_up", from + "mlp.dense_h_to_4h", [size.feedForward, size.width], bias: .required)
            rules.weight(
                to + "ffn_down", from + "mlp.dense_4h_to_h", [size.width, size.feedForward], bias: .required)
        }
        rules.end(size, norm: "gpt_neox.final_layer_norm", output: "embed_out", bias: .required)
        return rules.rules
    }
}

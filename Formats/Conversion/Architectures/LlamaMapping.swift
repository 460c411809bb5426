import ByteIO
import GGUF

/// Llama 1 to 3, Mistral, SmolLM2, TinyLlama and all that use their class. Query and key rows are pairs in GGUF.
struct LlamaMapping: ArchitectureMapping {
    let name = "llama"
    let classes = [
        ModelClass("LlamaForCausalLM", "llama"), ModelClass("MistralForCausalLM", "mistral"),
        ModelClass("LLaMAForCausalLM", "llama"), ModelClass("LlamaModel", "llama"),
    ]
    let hyperparameters = Hyperparameter.decoder
    let readsRopeFrequencies = true

    func accepts(_ metadata: GGUFMetadata) -> Bool { metadata["llama.expert_count"].flatMap(\.intValue) ?? 0 == 0 }

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        try LlamaFamily.addKeys(from: config, to: &keys)
    }

    func notes(on config: HuggingFaceConfig) throws -> [String] { try LlamaFamily.notes(on: config) }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try LlamaFamily.addFields(from: model, to: &config)
        if model.modelClass.type == "mistral" {
            // Mistral's class has no biases.
            config["attention_bias"] = nil
            config["mlp_bias"] = nil
            try LlamaFamily.addWindow(from: model, to: &config)
        }
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] {
        size.rules { rules, layer in
            rules.twoNorms(layer, size)
            rules.attention(layer, size, isPaired: true)
            rules.gatedFeedForward(layer, size)
        }
    }
}

/// Mixtral: Llama with experts. GGUF calls it llama.
struct MixtralMapping: ArchitectureMapping {
    let name = "llama"
    let classes = [ModelClass("MixtralForCausalLM", "mixtral")]
    let hyperparameters = Hyperparameter.decoder + [.experts, .expertsUsed]
    let readsRopeFrequencies = true

    func accepts(_ metadata: GGUFMetadata) -> Bool { metadata["llama.expert_count"].flatMap(\.intValue) ?? 0 > 0 }

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        try LlamaFamily.addKeys(from: config, to: &keys)
    }

    func notes(on config: HuggingFaceConfig) throws -> [String] { try LlamaFamily.notes(on: config) }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try LlamaFamily.addFields(from: model, to: &config)
        config["attention_bias"] = nil
        config["mlp_bias"] = nil
        try LlamaFamily.addWindow(from: model, to: &config)
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] {
        size.rules { rules, layer in
            rules.twoNorms(layer, size)
            rules.attention(layer, size, isPaired: true)
            rules.experts(
                layer, block: "model.layers.\(layer).block_sparse_moe", names: ("w1", "w3", "w2"), count: size.experts,
                width: size.width, length: size.feedForward)
        }
    }
}

/// What Llama and its relatives share.
enum LlamaFamily {
    /// The types whose attention has a window in transformers, and none as llama of GGUF.
    static let windowed: Set<String> = ["mistral", "mixtral"]

    /// These classes take a window of their own when they are not told that there is none.
    static func addWindow(from model: GGUFModelView, to config: inout JSONObject) throws {
        let window = try model.metadata.intIfPresent(GeneralMetadata.windowKey) ?? 0
        config["sliding_window"] = window > 0 ? JSONValue(window) : .null
    }

    static func notes(on config: HuggingFaceConfig) throws -> [String] {
        let context = try config.int("max_position_embeddings") ?? 0
        guard let window = try config.int("sliding_window"), window < context else { return [] }
        return [
            "\"sliding_window\" is \(window); llama of GGUF attends to everything, so that texts longer than that give other "
                + "results"
        ]
    }

    static func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        if let size = try config.int("vocab_size") { try keys.count("vocab_size", size, path: config.path) }
        try HeadLength.addKeys(from: config, to: &keys)
        try RopeScaling.addKeys(from: config, to: &keys, allowed: ["llama3"])
        let length = try HeadLength.length(in: config)
        try keys.count("rope.dimension_count", length, path: config.path)
    }

    static func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try RopeScaling.addFields(from: model, to: &config)
        // These classes take width / heads where nothing is said.
        if model.metadata["\(model.name).attention.key_length"] != nil {
            HeadLength.addFields(from: model, to: &config)
        }
        config["hidden_act"] = "silu"
        config["attention_bias"] = .bool(model.hasTensor("blk.0.attn_q.bias"))
        config["mlp_bias"] = .bool(model.hasTensor("blk.0.ffn_gate.bias"))
        guard model.size.rotated == model.size.keyLength else {
            throw model.unsupported(
                "\(model.name).rope.dimension_count is \(model.size.rotated) of \(model.size.keyLength); Hugging Face's "
                    + "class rotates whole heads")
        }
    }
}

/// `head_dim`, which configurations give when it is not width / heads, and often anyway.
enum HeadLength {
    static func length(in config: HuggingFaceConfig) throws -> Int {
        if let length = try config.int("head_dim") { return length }
        let width = try config.require(config.int("hidden_size", "n_embd"), "hidden_size")
        let heads = try config.require(config.int("num_attention_heads", "n_head"), "num_attention_heads")
        guard heads > 0 else {
            throw ConversionError(.malformed, "\"num_attention_heads\" is \(heads)", path: config.path)
        }
        return width / heads
    }

    static func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys, fallback: Int? = nil) throws {
        guard let length = try config.int("head_dim") ?? fallback else { return }
        try keys.count("attention.key_length", length, path: config.path)
        try keys.count("attention.value_length", length, path: config.path)
    }

    static func addFields(from model: GGUFModelView, to config: inout JSONObject) {
        config["head_dim"] = JSONValue(model.size.keyLength)
    }
}

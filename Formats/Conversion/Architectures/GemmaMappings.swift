import ByteIO
import Foundation
import GGUF

/// Gemma 2: four norms a layer, soft caps, every other layer sees a window. Norm weights are stored less one.
struct Gemma2Mapping: ArchitectureMapping {
    let name = "gemma2"
    let classes = [ModelClass("Gemma2ForCausalLM", "gemma2")]
    let hyperparameters =
        Hyperparameter.decoder + [
            .float("attn_logit_softcapping", "attn_logit_softcapping", fallback: 50),
            .float("final_logit_softcapping", "final_logit_softcapping", fallback: 30),
            .count("attention.sliding_window", "sliding_window", fallback: 4096),
        ]
    let isTiedByDefault = true

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        try HeadLength.addKeys(from: config, to: &keys, fallback: 256)
        try RopeScaling.addKeys(from: config, to: &keys)
        try GemmaFamily.checkQueryScale(config, keys, isLarge: try config.int("num_hidden_layers") == 46)
        if let types = GemmaFamily.slidingLayers(config), types != types.indices.map({ $0 % 2 == 0 }) {
            throw config.unsupported(
                "\"layer_types\" is not sliding, full, sliding, full, …, which gemma2 of GGUF assumes")
        }
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try GemmaFamily.addFields(from: model, to: &config, isLarge: model.size.layers == 46)
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] { GemmaFamily.tensors(size, hasQueryKeyNorms: false) }
}

/// Gemma 3 (text): Gemma 2 without soft caps, with norms on query and key, five windows to each full layer.
struct Gemma3Mapping: ArchitectureMapping {
    let name = "gemma3"
    let classes = [
        ModelClass("Gemma3ForCausalLM", "gemma3_text"), ModelClass("Gemma3ForConditionalGeneration", "gemma3"),
    ]
    let hyperparameters: [Hyperparameter] = [
        .count("context_length", "max_position_embeddings", fallback: 131072), .width, .layers, .feedForward,
        .count("attention.head_count", "num_attention_heads", fallback: 8),
        .count("attention.head_count_kv", "num_key_value_heads", fallback: 4),
        .float("attention.layer_norm_rms_epsilon", "rms_norm_eps", fallback: 1e-6),
        .float("final_logit_softcapping", "final_logit_softcapping"),
    ]
    let isTiedByDefault = true
    /// Layers from one that sees everything to the next, where no key says otherwise.
    private static let usualPeriod = 6

    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {
        if config.value("attn_logit_softcapping") != nil {
            throw config.unsupported("\"attn_logit_softcapping\" is given; gemma3 of GGUF has none")
        }
        try HeadLength.addKeys(from: config, to: &keys, fallback: 256)
        try RopeScaling.addKeys(from: config, to: &keys, fallbackBase: 1_000_000)
        try GemmaFamily.checkQueryScale(config, keys, isLarge: try config.int("num_hidden_layers") == 62)
        let layers = try config.require(config.int("num_hidden_layers"), "num_hidden_layers")
        let period = try config.int("sliding_window_pattern", "_sliding_window_pattern") ?? Self.usualPeriod
        guard period > 0 else { throw config.unsupported("\"sliding_window_pattern\" is \(period)") }
        if period == 1 { return }
        try keys.count("attention.sliding_window", try config.int("sliding_window") ?? 4096, path: config.path)
        let local = try RopeScaling.parameters(config, attention: "sliding_attention")
        let isNested = try config.object("rope_parameters")?["sliding_attention"] != nil
        let base = try (isNested ? local.double("rope_theta") : nil) ?? config.double("rope_local_base_freq") ?? 10000
        // What readers take when it is missing is left out, as the reference does.
        if base != 10000 { keys["rope.freq_base_swa"] = .float32(Float(base)) }
        let sliding = GemmaFamily.slidingLayers(config) ?? (0..<layers).map { ($0 + 1) % period != 0 }
        guard sliding.count == layers else {
            throw ConversionError(
                .malformed, "\"layer_types\" has \(sliding.count) entries for \(layers) layers", path: config.path)
        }
        if sliding != (0..<layers).map({ ($0 + 1) % Self.usualPeriod != 0 }) {
            keys["attention.sliding_window_pattern"] = .array(GGUFArray(sliding))
        }
    }

    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {
        try GemmaFamily.addFields(from: model, to: &config, isLarge: model.size.layers == 62)
        let window = try model.int("attention.sliding_window") ?? 0
        config["sliding_window"] = JSONValue(window > 0 ? window : 4096)
        config["rope_local_base_freq"] = .shortest(try model.float("rope.freq_base_swa") ?? 10000)
        var sliding = (0..<model.size.layers).map { window > 0 && ($0 + 1) % Self.usualPeriod != 0 }
        switch model.metadata["gemma3.attention.sliding_window_pattern"] {
        case .array(let array)?:
            guard let flags = array.bools, flags.count == sliding.count else {
                throw model.unsupported(
                    "gemma3.attention.sliding_window_pattern is no list of \(sliding.count) booleans")
            }
            sliding = flags
        case let value?:
            guard let period = value.intValue, period > 0 else {
                throw model.unsupported("gemma3.attention.sliding_window_pattern is no period")
            }
            sliding = sliding.indices.map { ($0 + 1) % period != 0 }
        case nil: break
        }
        config["layer_types"] = .array(sliding.map { $0 ? "sliding_attention" : "full_attention" })
    }

    func tensors(_ size: ModelDimensions) -> [TensorRule] { GemmaFamily.tensors(size, hasQueryKeyNorms: true) }
}

enum GemmaFamily {
    static func tensors(_ size: ModelDimensions, hasQueryKeyNorms: Bool) -> [TensorRule] {
        var rules = TensorRules()
        rules.begin(size)
        for layer in 0..<size.layers {
            let from = "model.layers.\(layer)."
            let to = "blk.\(layer)."
            rules.norm(to + "attn_norm", from + "input_layernorm", size.width, .addOne)
            rules.attention(layer, size)
            if hasQueryKeyNorms {
                rules.queryKeyNorms(layer, lengths: (size.keyLength, size.keyLength), .addOne)
            }
            rules.norm(to + "post_attention_norm", from + "post_attention_layernorm", size.width, .addOne)
            rules.norm(to + "ffn_norm", from + "pre_feedforward_layernorm", size.width, .addOne)
            rules.gatedFeedForward(layer, size)
            rules.norm(to + "post_ffw_norm", from + "post_feedforward_layernorm", size.width, .addOne)
        }
        rules.end(size, output: nil, transform: .addOne)
        return rules.rules
    }

    /// Which layers see a window, where the configuration lists them.
    static func slidingLayers(_ config: HuggingFaceConfig) -> [Bool]? {
        config.value("layer_types")?.value.arrayValue.map { types in types.map { $0.stringValue == "sliding_attention" }
        }
    }

    /// Queries are divided by the square root of `query_pre_attn_scalar`. GGUF has no key for it: readers take the
    /// head's length, or width / heads for the 27B models, which they know by their number of layers.
    private static func queryScale(width: Int, heads: Int, length: Int, isLarge: Bool) -> Int {
        isLarge && heads > 0 ? width / heads : length
    }

    static func checkQueryScale(_ config: HuggingFaceConfig, _ keys: ArchitectureKeys, isLarge: Bool) throws {
        let length = keys["attention.key_length"]?.intValue ?? 256
        let width = keys["embedding_length"]?.intValue ?? 0
        let heads = keys["attention.head_count"]?.intValue ?? 0
        let expected = queryScale(width: width, heads: heads, length: length, isLarge: isLarge)
        let scalar = try config.double("query_pre_attn_scalar") ?? 256
        guard scalar == Double(expected) else {
            throw config.unsupported(
                "\"query_pre_attn_scalar\" is \(scalar); \(keys.name) of GGUF has no key for it and takes \(expected)")
        }
    }

    static func addFields(from model: GGUFModelView, to config: inout JSONObject, isLarge: Bool) throws {
        try RopeScaling.addFields(from: model, to: &config)
        HeadLength.addFields(from: model, to: &config)
        config["hidden_activation"] = "gelu_pytorch_tanh"
        config["attention_bias"] = .bool(model.hasTensor("blk.0.attn_q.bias"))
        let size = model.size
        config["query_pre_attn_scalar"] = JSONValue(
            queryScale(width: size.width, heads: size.heads, length: size.keyLength, isLarge: isLarge))
    }
}

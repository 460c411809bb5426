import GGUF

/// Every architecture that can be converted, and those known by name only.
public enum ArchitectureCatalog {
    /// One line each. The order matters where two share a GGUF name.
    public static let all: [any ArchitectureMapping] = [
        LlamaMapping(), MixtralMapping(), Qwen2Mapping(), Qwen3Mapping(), Qwen2MoEMapping(), Qwen3MoEMapping(),
        Gemma2Mapping(), Gemma3Mapping(), Phi3Mapping(), GraniteMapping(), SmolLM3Mapping(), OLMo2Mapping(),
        StableLMMapping(), GPT2Mapping(), GPTNeoXMapping(),
    ]

    /// Names that may come and why they are refused, by the beginning of transformers' class or by GGUF's name.
    static let unsupported: [(prefix: String, gguf: String, sentence: String)] = [
        ("GptOss", "gpt-oss", "gpt-oss has attention sinks and biased, clamped experts"),
        ("Qwen3Next", "qwen3next", "Qwen3-Next mixes gated delta nets with attention"),
        ("Qwen3_5", "qwen35", "Qwen 3.5 mixes gated delta nets with attention"),
        ("Qwen3VL", "qwen3vl", "Qwen3-VL has positions in three dimensions and taps of the image encoder"),
        ("Qwen2VL", "qwen2vl", "Qwen2-VL has positions in three dimensions"),
        ("Qwen2_5_VL", "qwen2vl", "Qwen2.5-VL has positions in three dimensions"),
        ("QWenLMHead", "qwen", "the first Qwen has a tokenizer and code of its own"),
        ("Gemma4", "gemma4", "Gemma 4 shares keys and values between layers"),
        ("Gemma3n", "gemma3n", "Gemma 3n has embeddings for each layer and alternating updates"),
        ("GemmaForCausalLM", "gemma", "the first Gemma has not been added"),
        ("Llama4", "llama4", "Llama 4 mixes chunked attention with layers without positions"),
        ("DeepseekV", "deepseek2", "DeepSeek 2 and 3 compress keys and values (multi-head latent attention)"),
        ("Deepseek", "deepseek", "the first DeepSeek MoE has not been added"),
        ("Mamba", "mamba", "Mamba is a state-space model, not a transformer"),
        ("Jamba", "jamba", "Jamba mixes state-space layers with attention"),
        ("RWKV", "rwkv", "RWKV is a recurrent model, not a transformer"),
        ("Rwkv", "rwkv", "RWKV is a recurrent model, not a transformer"),
        ("Lfm2", "lfm2", "LFM2 mixes short convolutions with attention"),
        ("GraniteMoe", "granitemoe", "Granite with experts has not been added"),
        ("Olmoe", "olmoe", "OLMoE has not been added"), ("Olmo3", "olmo3", "OLMo 3 has not been added"),
        ("OlmoForCausalLM", "olmo", "the first OLMo has not been added"),
        ("PhiForCausalLM", "phi2", "Phi 1 and 2 have not been added"),
        ("PhiMoE", "phimoe", "Phi with experts has not been added"),
        ("Phi4MM", "phi3", "Phi 4 multimodal has adapters for sight and hearing"),
        ("Falcon", "falcon", "Falcon has not been added"), ("Bloom", "bloom", "BLOOM has not been added"),
        ("GPTBigCode", "starcoder", "StarCoder has not been added"),
        ("Starcoder2", "starcoder2", "StarCoder 2 has not been added"),
        ("GPTJ", "gptj", "GPT-J has not been added"), ("Cohere", "command-r", "Command R has not been added"),
        ("MiniCPM", "minicpm", "MiniCPM has not been added"), ("ChatGLM", "chatglm", "ChatGLM has not been added"),
        ("Glm", "glm4", "GLM has not been added"), ("InternLM", "internlm2", "InternLM has not been added"),
        ("Baichuan", "baichuan", "Baichuan has not been added"),
        ("Nemotron", "nemotron", "Nemotron has not been added"),
        ("Exaone", "exaone", "EXAONE has not been added"), ("HunYuan", "hunyuan-moe", "Hunyuan has not been added"),
        ("Mistral3", "mistral3", "Mistral 3 with sight has not been added"),
        ("Ministral", "mistral3", "Ministral 3 has not been added"),
        ("Bert", "bert", "BERT encodes and does not generate"),
        ("ModernBert", "modern-bert", "ModernBERT encodes and does not generate"),
        ("NomicBert", "nomic-bert", "Nomic BERT encodes and does not generate"),
        ("T5", "t5", "T5 is an encoder and a decoder"), ("MT5", "t5", "mT5 is an encoder and a decoder"),
        ("Whisper", "whisper", "Whisper hears and is no language model"),
        ("Llava", "clip", "LLaVA has an image encoder; convert its language model alone"),
    ]

    static var supportedText: String {
        all.flatMap(\.classes).map(\.name).sorted().joined(separator: ", ")
    }

    /// The mapping of a Hugging Face folder.
    /// - Throws: ``ConversionError`` of code `unsupported` that says why, or lists what there is.
    public static func mapping(of config: HuggingFaceConfig) throws -> (
        mapping: any ArchitectureMapping, modelClass: ModelClass
    ) {
        for name in config.classes {
            for mapping in all {
                if let found = mapping.classes.first(where: { $0.name == name }) { return (mapping, found) }
            }
        }
        guard let name = config.classes.first else {
            throw ConversionError(
                .malformed, "\"architectures\" is missing or empty, so that the kind of model is not known",
                path: config.path)
        }
        if let known = unsupported.first(where: { name.hasPrefix($0.prefix) }) {
            throw config.unsupported("\(name) cannot be converted: \(known.sentence)")
        }
        throw config.unsupported("the architecture \(name) is not known; supported are \(supportedText)")
    }

    /// The mapping of a GGUF model.
    public static func mapping(of metadata: GGUFMetadata) throws -> any ArchitectureMapping {
        let name = try metadata.architecture()
        if let mapping = all.first(where: { $0.name == name && $0.accepts(metadata) }) { return mapping }
        if let known = unsupported.first(where: { $0.gguf == name }) {
            throw ConversionError(
                .unsupported, "the architecture \(name) cannot be converted: \(known.sentence)", path: metadata.path)
        }
        let names = Set(all.map(\.name)).sorted().joined(separator: ", ")
        throw ConversionError(
            .unsupported, "the architecture \(name) is not known; supported are \(names)", path: metadata.path)
    }
}

import ByteIO
import GGUF
import Testing

@testable import Conversion

struct ConfigurationErrorTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let fixture: String
        let field: String
        let value: JSONValue?
        let expected: String

        init(_ fixture: String, _ field: String, _ value: JSONValue?, _ expected: String) {
            self.fixture = fixture
            self.field = field
            self.value = value
            self.expected = expected
        }

        var testDescription: String { "\(fixture) \(field) = \(value.map { $0.compactText } ?? "missing")" }
    }

    static let cases: [Case] = [
        Case("llama", "num_attention_heads", 0, "attention.head_count: 0 is not between 1"),
        Case("qwen3", "num_attention_heads", 0, "attention.head_count: 0 is not between 1"),
        Case("llama", "num_attention_heads", -4, "a number from 0 to"),
        Case("llama", "num_attention_heads", "four", "a whole number is expected"),
        Case("llama", "num_attention_heads", 4.5, "a whole number is expected"),
        Case("llama", "num_attention_heads", nil, "\"num_attention_heads\" or \"n_head\" is missing"),
        Case("llama", "num_key_value_heads", 0, "attention.head_count_kv: 0 is not between 1 and 4"),
        Case("llama", "num_key_value_heads", 3, "3 does not divide the 4 heads"),
        Case("llama", "num_key_value_heads", 8, "8 is not between 1 and 4"),
        Case("llama", "num_hidden_layers", 0, "block_count: 0 is not between 1 and 4096"),
        Case("llama", "num_hidden_layers", 5000, "block_count: 5000 is not between 1 and 4096"),
        Case("llama", "num_hidden_layers", 3, "model.layers.2.input_layernorm.weight is missing"),
        Case("llama", "max_position_embeddings", 0, "context_length: 0 is not between 1"),
        Case("llama", "rms_norm_eps", 0.0, "0.0 must be a finite number above 0"),
        Case("llama", "rms_norm_eps", -1e-5, "must be a finite number above 0"),
        Case("llama", "rms_norm_eps", "1e-5", "a number is expected"),
        Case("llama", "hidden_size", 4_000_000_000, "is not between 1 and"),
        Case("llama", "intermediate_size", 25, "has the shape 24x16; config.json says 25x16"),
        Case("llama", "vocab_size", 41, "the embedding has 40 rows but \"vocab_size\" is 41"),
        Case("llama", "head_dim", 6, "has the shape 32x16; config.json says 24x16"),
        Case("llama", "head_dim", 7, "cannot be rotated"),
        Case("qwen3", "head_dim", 0, "attention.key_length: 0 is not between 1"),
        Case("qwen2", "hidden_size", 18, "4 does not divide the width 18"),
        Case(
            "llama", "rope_parameters", ["rope_type": "weird", "rope_theta": 10000.0], "\"weird\" cannot be expressed"),
        Case(
            "qwen2", "rope_parameters", ["rope_type": "llama3", "rope_theta": 10000.0], "\"llama3\" cannot be expressed"
        ),
        Case("llama", "rope_parameters", ["rope_type": "default", "rope_theta": 0.0], "rope.freq_base: 0.0 must be"),
        Case("llama", "rope_parameters", ["rope_type": "linear"], "\"rope_scaling.factor\" is missing"),
        Case("llama", "rope_parameters", 5, "an object is expected"),
        Case("phi3", "num_attention_heads", 2, "2 values; 4 above 0 are expected"),
        Case("gptneox", "rope_parameters", ["partial_rotary_factor": 1.5], "above 0 and no more than 1"),
        Case("mixtral", "num_experts_per_tok", 4, "4 of 3 experts cannot be used"),
        Case("mixtral", "num_experts_per_tok", 0, "0 of 3 experts cannot be used"),
        Case("mixtral", "num_local_experts", 4, "gate.weight has the shape 3x16; config.json says 4x16"),
        Case("qwen2", "use_sliding_window", true, "\"use_sliding_window\" is true"),
        Case("gemma3", "query_pre_attn_scalar", 100, "\"query_pre_attn_scalar\" is 100.0"),
        Case("gpt2", "activation_function", "relu", "gpt2 of GGUF computes gelu_new"),
        Case("llama", "tie_word_embeddings", false, "lm_head.weight is missing"),
        Case("llama", "architectures", ["WizardForCausalLM"], "WizardForCausalLM is not known; supported are GPT2"),
        Case("llama", "architectures", ["GptOssForCausalLM"], "gpt-oss has attention sinks"),
        Case("llama", "architectures", ["Qwen3NextForCausalLM"], "gated delta nets"),
        Case("llama", "architectures", nil, "\"architectures\" is missing"),
        Case("llama", "quantization_config", ["quant_method": "awq"], "packed by AWQ"),
        Case("llama", "quantization_config", ["quant_method": "bitsandbytes"], "packed by bitsandbytes"),
        Case("llama", "quantization_config", ["quant_method": "magic"], "packed by \"magic\", which is not known"),
        Case("llama", "quantization_config", ["quant_method": "gptq", "bits": 3], "GPTQ with 3 bits"),
    ]

    @Test(arguments: cases)
    func `a wrong configuration is refused with what is wrong`(_ test: Case) throws {
        let folder = try ModelFolder(fixture: test.fixture) { $0[test.field] = test.value }
        let message = failure { _ = try openSource(folder.path) }
        #expect(message?.contains(test.expected) ?? false, "\(message ?? "no error")")
    }

    @Test func `config.json must be there and be an object`() throws {
        let folder = try ModelFolder()
        #expect(failure { _ = try openSource(folder.path) }?.contains("no config.json") ?? false)
        try AtomicFile.write(Array("[1]".utf8), to: folder.path + "/config.json")
        #expect(failure { _ = try openSource(folder.path) }?.contains("an object is expected") ?? false)
        try AtomicFile.write(Array("{\"architectures\": ".utf8), to: folder.path + "/config.json")
        #expect(failure { _ = try openSource(folder.path) } != nil)
    }

    @Test func `a missing, misshapen or unknown tensor is named`() throws {
        let name = "model.layers.1.mlp.up_proj.weight"
        let missing = try ModelFolder(fixture: "llama", tensors: { $0[name] = nil })
        #expect(failure { _ = try openSource(missing.path) }?.contains("tensor \(name) is missing") ?? false)
        let bent = try ModelFolder(fixture: "llama", tensors: { $0[name]?.shape = [16, 24] })
        #expect(
            failure { _ = try openSource(bent.path) }?.contains("\(name) has the shape 16x24; config.json says 24x16")
                ?? false)
        let more = try ModelFolder(
            fixture: "llama",
            tensors: { $0["model.layers.9.odd.weight"] = .init(type: .f32, shape: [1], bytes: [0, 0, 0, 0]) })
        #expect(try openSource(more.path).warnings.contains { $0.contains("model.layers.9.odd.weight") })
        let none = try ModelFolder(fixture: "llama", tensors: { $0["model.embed_tokens.weight"] = nil })
        #expect(failure { _ = try openSource(none.path) }?.contains("no token embedding") ?? false)
    }

    @Test func `a tokenizer of another size is refused`() throws {
        let message = failure {
            _ = try HuggingFaceSource(folder: ModelFolder.fixture("llama")) { _, _, _ in plainTokenizer(39) }
        }
        #expect(message?.contains("the tokenizer has 39 tokens but the embedding has 40 rows") ?? false)
    }

    @Test func `an output that differs from a tied embedding is kept and reported, an equal one dropped`() throws {
        let same = try ModelFolder(
            fixture: "llama", tensors: { $0["lm_head.weight"] = $0["model.embed_tokens.weight"] })
        #expect(try !openSource(same.path).tensors.contains { $0.name == "output.weight" })
        let other = try ModelFolder(
            fixture: "llama",
            tensors: {
                var copy = $0["model.embed_tokens.weight"]
                copy?.bytes[0] ^= 1
                $0["lm_head.weight"] = copy
            })
        let source = try openSource(other.path)
        #expect(source.tensors.contains { $0.name == "output.weight" })
        #expect(source.warnings.contains { $0.contains("lm_head.weight differs from the embedding") })
    }

    @Test(arguments: [
        ("llama.attention.head_count", GGUFValue.uint32(0)), ("llama.attention.head_count_kv", .uint32(3)),
        ("llama.block_count", .uint32(0)), ("llama.block_count", .uint32(100_000)),
        ("llama.rope.dimension_count", .uint32(3)), ("llama.rope.dimension_count", .uint32(64)),
        ("llama.attention.layer_norm_rms_epsilon", .float32(0)),
        ("llama.attention.layer_norm_rms_epsilon", .float32(.nan)),
        ("llama.rope.freq_base", .float32(.infinity)), ("llama.context_length", .uint32(0)),
        ("llama.expert_used_count", .uint32(2)), ("llama.feed_forward_length", .array(GGUFArray([24] as [Int32]))),
        ("llama.feed_forward_length", .array(GGUFArray([24, 32] as [Int32]))),
        ("llama.feed_forward_length", .text("24")), ("llama.embedding_length", .uint64(.max)),
        ("tokenizer.ggml.tokens", .array(GGUFArray(["a"]))), ("general.architecture", .text("magic")),
        ("general.architecture", .text("gpt-oss")), ("general.architecture", .uint32(1)),
    ])
    func `a GGUF file with a wrong key is refused`(key: String, value: GGUFValue) throws {
        let folder = try ModelFolder()
        let path = folder.path + "/model.gguf"
        _ = try Converter(folder: openSource(ModelFolder.fixture("llama")), options: .init()).write(to: path)
        let file = try GGUFFile(path: path)
        var metadata = file.metadata
        #expect(failure { _ = try export(file.replacing(metadata: metadata)) } == nil)
        metadata[key] = value
        let message = failure { _ = try export(file.replacing(metadata: metadata)) }
        let expected = key == "tokenizer.ggml.tokens" ? "1 tokens but the embedding has 40 rows" : nil
        #expect(message != nil)
        if let expected { #expect(message?.contains(expected) ?? false) }
    }
}

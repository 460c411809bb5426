import Fixtures
import Foundation
import GGUF
import Kernels
import LanguageModels
import TensorTypes
import TestSupport
import Testing

/// Files whose hyperparameters or tensors contradict each other get one error that names what is wrong.
@Suite struct DecoderErrorTests {
    /// Loads a copy of a small model with other metadata, and expects a refusal that says `text`.
    private func expectRefusal(
        _ name: String, _ changes: [(String, GGUFValue?)], _ code: ModelError.Code = .invalidHyperparameter,
        naming text: String, architecture: String? = nil
    ) throws {
        let source = try GGUFFile(path: Fixtures.url("Models/architectures/\(name).gguf").path)
        let old = try source.metadata.architecture()
        var metadata = GGUFMetadata()
        for key in source.metadata.keys {
            let value = source.metadata[key]
            metadata[key.hasPrefix(old + ".") ? (architecture ?? old) + key.dropFirst(old.count) : key] = value
        }
        if let architecture { metadata["general.architecture"] = .text(architecture) }
        for (key, value) in changes { metadata[key] = value }
        var writer = try GGUFWriter(metadata: metadata)
        for tensor in source.tensors {
            var values = [Float](repeating: 0, count: tensor.dimensions.reduce(1, *))
            values.withUnsafeMutableBufferPointer { tensor.type.decode(source.bytes(of: tensor), into: $0) }
            try writer.add(name: tensor.name, type: tensor.type, dimensions: tensor.dimensions, floats: values)
        }
        let path = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString).gguf").path
        try writer.write(to: path)
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect {
            let file = try GGUFFile(path: path)
            _ = try ModelCatalog.architecture(for: file, path: path).load(file, pool: ThreadPool(threadCount: 1))
        } throws: { error in
            guard let error = error as? ModelError else { return false }
            return error.code == code && error.description.contains(text) && error.description.contains(path)
        }
    }

    @Test func countsOutOfRangeAreRefused() throws {
        try expectRefusal("llama", [("llama.block_count", .uint32(0))], naming: "block_count is 0")
        try expectRefusal("llama", [("llama.block_count", .uint32(5000))], naming: "block_count is 5000")
        try expectRefusal("llama", [("llama.context_length", .uint32(0))], naming: "context_length is 0")
        try expectRefusal("llama", [("llama.attention.head_count", .uint32(0))], naming: "head_count is 0")
        try expectRefusal("gpt2", [("gpt2.attention.head_count", .uint32(5))], naming: "no multiple of 5 heads")
        try expectRefusal("qwen2", [("qwen2.vocab_size", .uint32(7))], naming: "vocab_size is 7")
    }

    @Test func numbersThatMakeNoSenseAreRefused() throws {
        try expectRefusal(
            "llama", [("llama.attention.layer_norm_rms_epsilon", .float32(0))], naming: "epsilon is 0.0")
        try expectRefusal(
            "gpt2", [("gpt2.attention.layer_norm_epsilon", .float32(.nan))], naming: "layer_norm_epsilon is nan")
        try expectRefusal("qwen3", [("qwen3.rope.freq_base", .float32(-1))], naming: "freq_base is -1.0")
        try expectRefusal(
            "qwen3", [("qwen3.rope.dimension_count", .uint32(5))], naming: "dimension_count 5 must be even")
        try expectRefusal("qwen3", [("qwen3.rope.dimension_count", .uint32(64))], naming: "dimension_count 64 must be")
        try expectRefusal(
            "llama", [("llama.rope.scaling.type", .text("spiral"))], naming: "RoPE scaling “spiral” is not supported")
        try expectRefusal(
            "gemma2", [("gemma2.attn_logit_softcapping", .float32(-2))], naming: "softcapping is -2.0")
    }

    @Test func listsOfAnotherLengthThanTheLayersAreRefused() throws {
        let three = GGUFValue.array(GGUFArray([true, false, true]))
        try expectRefusal(
            "gemma3", [("gemma3.attention.sliding_window_pattern", three)], naming: "no list of 2 flags")
        try expectRefusal(
            "gemma3", [("gemma3.attention.sliding_window", .uint32(0))], naming: "sliding_window is missing")
    }

    @Test func impossibleExpertsAreRefused() throws {
        try expectRefusal("mixtral", [("llama.expert_used_count", .uint32(5))], naming: "expert_used_count is 5 of 4")
        try expectRefusal("mixtral", [("llama.expert_used_count", nil)], naming: "expert_used_count is missing")
        try expectRefusal("qwen2moe", [("qwen2moe.expert_count", .uint32(0))], naming: "expert_count is missing")
        try expectRefusal(
            "qwen3moe", [("qwen3moe.expert_gating_func", .uint32(2))], naming: "expert_gating_func is 2")
        try expectRefusal("qwen2", [("qwen2.expert_count", .uint32(4))], naming: "qwen2 with experts")
        try expectRefusal(
            "mixtral", [("llama.expert_count", .uint32(8))], .invalidTensor, naming: "the hyperparameters ask for 24×8")
    }

    @Test func tensorsThatNothingReadsAreRefused() throws {
        try expectRefusal(
            "qwen3", [], .invalidTensor, naming: "attn_q_norm.weight is none that llama has", architecture: "llama")
    }

    @Test func missingPiecesAreNamed() throws {
        try expectRefusal(
            "llama", [], .invalidTensor, naming: "blk.0.attn_q.bias is missing", architecture: "qwen2")
        try expectRefusal(
            "phi3", [("phi3.rope.scaling.type", .text("longrope"))], .invalidTensor,
            naming: "rope_factors_short.weight is missing")
    }

    @Test func moreTokensThanLearnedPositionsAreRefused() throws {
        let path = Fixtures.url("Models/architectures/gpt2.gguf").path
        let model = try GPT2Architecture.load(GGUFFile(path: path), pool: ThreadPool(threadCount: 1))
        let ids = Array(repeating: 3, count: 65)
        #expect {
            _ = try model.forward(
                .tokens(ids), cache: model.makeCache(), workspace: InferenceWorkspace(), logitCount: 1)
        } throws: { ($0 as? ModelError)?.code == .contextFull }
        #expect {
            _ = try model.differentiable(weightsMemory: .tiles).loss(
                of: TrainingBatch([.init(tokens: ids + [4], targetStart: 1)]), prompt: .none, gradient: nil)
        } throws: { ($0 as? ModelError)?.code == .contextFull }
    }
}

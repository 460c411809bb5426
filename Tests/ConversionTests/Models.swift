import Foundation
import GGUF
import TensorTypes

@testable import Conversion

/// Small models in memory and files that go away.
enum Models {
    /// Numbers that look like weights, the same in every run.
    static func values(_ count: Int, seed: UInt64 = 1) -> [Float] {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        return (0..<count).map { _ in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Float(Int64(state >> 40) - (1 << 23)) / Float(1 << 25)
        }
    }

    static var metadata: GGUFMetadata {
        [
            "general.architecture": .text("llama"), "general.name": .text("small"),
            "llama.context_length": .uint32(64), "llama.embedding_length": .uint32(256),
            "llama.block_count": .uint32(1),
            "llama.attention.head_count": .uint32(4), "llama.attention.head_count_kv": .uint32(2),
            "llama.feed_forward_length": .uint32(256), "llama.attention.layer_norm_rms_epsilon": .float32(1e-5),
            "tokenizer.ggml.model": .text("llama"),
            "tokenizer.ggml.tokens": .array(GGUFArray((0..<8).map { "t\($0)" })),
            "tokenizer.ggml.scores": .array(GGUFArray([Float](repeating: 0, count: 8))),
            "tokenizer.ggml.bos_token_id": .uint32(1),
        ]
    }

    /// A llama of one layer, width 256, vocabulary 8.
    static func writer(
        type: TensorType = .f32, metadata: GGUFMetadata = metadata, change: ((inout [Float]) -> Void)? = nil
    )
        throws -> GGUFWriter
    {
        var writer = try GGUFWriter(metadata: metadata)
        let matrices: [(String, Int)] = [
            ("token_embd", 8), ("blk.0.attn_q", 256), ("blk.0.attn_k", 128), ("blk.0.attn_v", 128),
            ("blk.0.attn_output", 256), ("blk.0.ffn_gate", 256), ("blk.0.ffn_up", 256), ("blk.0.ffn_down", 256),
        ]
        for (number, (name, rows)) in matrices.enumerated() {
            var numbers = values(rows * 256, seed: UInt64(number + 1))
            if name == "blk.0.attn_k" { change?(&numbers) }
            try writer.add(name: name + ".weight", type: type, dimensions: [256, rows], floats: numbers)
        }
        for name in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"] {
            try writer.add(name: name + ".weight", dimensions: [256], floats: values(256, seed: 99))
        }
        return writer
    }

    static func source(type: TensorType = .f32, change: ((inout [Float]) -> Void)? = nil) throws -> GGUFSource {
        GGUFSource(try GGUFFile(bytes: try writer(type: type, change: change).serialized(), name: "small.gguf"))
    }

    static func withFolder<R>(_ body: (String) throws -> R) throws -> R {
        let path = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try body(path)
    }
}

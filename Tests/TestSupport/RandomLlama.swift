import Foundation
import GGUF
import TensorTypes

/// Small llama files with random weights, one for each tensor type, made when a test asks.
public enum RandomLlama {
    /// Writes a model of 2 layers, width 256, 4 heads over 2 key-value heads of 64, feed-forward 256, 80 tokens.
    ///
    /// - Parameters:
    ///   - type: type of every matrix; norms are F32.
    ///   - change: what to spoil: receives metadata and may return another shape for a tensor, or nil to leave it out.
    /// - Returns: the path of a file in the temporary folder; the caller removes it.
    public static func write(
        type: TensorType, seed: UInt64 = 1, metadata changes: [(String, GGUFValue?)] = [],
        dimensions: (String, [Int]) -> [Int]? = { $1 }
    ) throws -> String {
        var entries: [(String, GGUFValue)] = [
            ("general.architecture", .text("llama")), ("llama.block_count", .uint32(2)),
            ("llama.embedding_length", .uint32(256)), ("llama.feed_forward_length", .uint32(256)),
            ("llama.attention.head_count", .uint32(4)), ("llama.attention.head_count_kv", .uint32(2)),
            ("llama.attention.layer_norm_rms_epsilon", .float32(1e-5)), ("llama.rope.freq_base", .float32(10000)),
            ("llama.context_length", .uint32(2048)),
        ]
        for (key, value) in changes {
            entries.removeAll { $0.0 == key }
            if let value { entries.append((key, value)) }
        }
        var metadata = GGUFMetadata()
        for (key, value) in entries { metadata[key] = value }
        var writer = try GGUFWriter(metadata: metadata)
        var random = RandomNumbers(seed: seed)
        func add(_ name: String, _ shape: [Int]) throws {
            guard let shape = dimensions(name, shape) else { return }
            let isNorm = shape.count == 1
            let scale = isNorm ? 0.1 : 1.7 / Float(shape[0]).squareRoot()
            let values = random.floats(shape.reduce(1, *), scale: scale).map { isNorm ? 1 + $0 : $0 }
            try writer.add(name: name, type: isNorm ? .f32 : type, dimensions: shape, floats: values)
        }
        try add("token_embd.weight", [256, 80])
        for layer in 0..<2 {
            let block = "blk.\(layer)."
            try add(block + "attn_norm.weight", [256])
            try add(block + "attn_q.weight", [256, 256])
            try add(block + "attn_k.weight", [256, 128])
            try add(block + "attn_v.weight", [256, 128])
            try add(block + "attn_output.weight", [256, 256])
            try add(block + "ffn_norm.weight", [256])
            try add(block + "ffn_gate.weight", [256, 256])
            try add(block + "ffn_up.weight", [256, 256])
            try add(block + "ffn_down.weight", [256, 256])
        }
        try add("output_norm.weight", [256])
        try add("output.weight", [256, 80])
        let path = FileManager.default.temporaryDirectory
            .appending(path: "incipit-random-\(type.name)-\(UUID().uuidString).gguf").path
        try writer.write(to: path)
        return path
    }
}

/// Repeatable numbers for tests (SplitMix64).
public struct RandomNumbers {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// `count` numbers spread evenly over −scale…scale.
    public mutating func floats(_ count: Int, scale: Float) -> [Float] {
        (0..<count).map { _ in (Float(next() >> 40) / Float(1 << 23) - 1) * scale }
    }
}

import Foundation
import TensorTypes

/// What a conversion is asked to do.
public struct ConversionOptions: Sendable {
    /// Type of the matrices of a GGUF file; nil keeps BF16 and takes F16 for everything else.
    public var type: TensorType?
    /// Type of the tensors of a Hugging Face folder; nil keeps the file's, and takes F16 for quantized ones.
    public var dataType: TensorType?
    /// Bytes of one part of a GGUF file; nil writes one file.
    public var maximumPartSize: Int?
    /// Tensor bytes of one safetensors file.
    public var maximumShardSize = 5_000_000_000
    /// Overrides the recognition of the pre-tokenizer.
    public var preTokenizer: String?
    /// Whether NaN and infinity are refused.
    public var checksValues = true
    /// Threads that prepare tensors while one writes.
    public var threadCount = ProcessInfo.processInfo.activeProcessorCount

    public init() {}
}

/// Which type a tensor of a GGUF file gets.
///
/// Vectors, norms, routers, learned positions and whatever is no weight stay F32: they are small, and readers expect it.
/// Rows that are no whole blocks get F16.
enum GGUFTypeRule {
    /// Types that can be asked for.
    static let possible = ["F32", "F16", "BF16", "Q8_0", "TQ1_0", "TQ2_0"]
    private static let keptSuffixes = [
        "_norm.weight", "position_embd.weight", "token_types.weight", "ssm_conv1d.weight", "ffn_gate_inp.weight",
    ]

    static func isKeptF32(_ name: String, dimensions: [Int]) -> Bool {
        dimensions.count < 2 || !name.hasSuffix(".weight") || keptSuffixes.contains { name.hasSuffix($0) }
    }

    static func type(_ name: String, dimensions: [Int], source: TensorType, requested: TensorType) -> TensorType {
        if isKeptF32(name, dimensions: dimensions) { return .f32 }
        let isTernary = requested.name.hasPrefix("TQ")
        if isTernary, ["token_embd.weight", "output.weight"].contains(name) { return .f16 }
        // What is packed as a type of GGUF stays as it is: unpacking could only lose.
        if source.isQuantized { return source }
        return (dimensions.first ?? 1) % requested.blockSize == 0 ? requested : .f16
    }

    /// The type that nobody asked for: BF16 stays, everything else becomes F16.
    static func automatic(_ tensors: [SourceTensor]) -> TensorType {
        tensors.first { $0.dimensions.count >= 2 }?.type == .bf16 ? .bf16 : .f16
    }

    /// llama.cpp's number for "mostly this type".
    static func fileType(_ type: TensorType) -> UInt32 {
        ["F32": 0, "F16": 1, "Q8_0": 7, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37][type.name] ?? 1
    }
}

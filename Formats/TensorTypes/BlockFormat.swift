/// The layout of one tensor type: how whole blocks become floats.
///
/// Implementations run without checks; ``TensorType/decode(_:into:)`` has made sure that the memory is there.
protocol BlockFormat: Sendable {
    /// Reads `blockCount` blocks at `source` (any alignment) and writes `blockCount * blockSize` floats.
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>)
}

/// A layout that floats can be turned into, every column counting the same.
protocol EncodableBlockFormat: BlockFormat {
    /// Reads `blockCount * blockSize` floats (finite, when the type is quantized) and writes `blockCount` blocks.
    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer)
}

/// A layout whose encoder can be told how much each column matters. One that conforms to this and not to
/// ``EncodableBlockFormat`` cannot be encoded without being told.
protocol WeightedBlockFormat: BlockFormat {
    /// Encodes one row: reads `blockCount * blockSize` finite floats and as many importances (finite, not negative),
    /// and writes `blockCount` blocks.
    static func encode(
        row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        into destination: UnsafeMutableRawPointer)
}

/// Every type's number, name, sizes and format. Facts: ggml's `ggml.h` and `ggml-common.h`.
enum TensorTypeTable {
    struct Row: Sendable {
        let id: UInt32
        let name: String
        let blockSize: Int
        let bytesPerBlock: Int
        let format: (any BlockFormat.Type)?

        init(
            _ id: UInt32, _ name: String, _ blockSize: Int, _ bytesPerBlock: Int,
            _ format: (any BlockFormat.Type)? = nil
        ) {
            self.id = id
            self.name = name
            self.blockSize = blockSize
            self.bytesPerBlock = bytesPerBlock
            self.format = format
        }
    }

    static let rows: [Row] = [
        Row(0, "F32", 1, 4, F32Format.self),
        Row(1, "F16", 1, 2, F16Format.self),
        Row(2, "Q4_0", 32, 18, Q4_0Format.self),
        Row(3, "Q4_1", 32, 20, Q4_1Format.self),
        Row(6, "Q5_0", 32, 22, Q5_0Format.self),
        Row(7, "Q5_1", 32, 24, Q5_1Format.self),
        Row(8, "Q8_0", 32, 34, Q8_0Format.self),
        Row(9, "Q8_1", 32, 36, Q8_1Format.self),
        Row(10, "Q2_K", 256, 84, Q2_KFormat.self),
        Row(11, "Q3_K", 256, 110, Q3_KFormat.self),
        Row(12, "Q4_K", 256, 144, Q4_KFormat.self),
        Row(13, "Q5_K", 256, 176, Q5_KFormat.self),
        Row(14, "Q6_K", 256, 210, Q6_KFormat.self),
        Row(15, "Q8_K", 256, 292, Q8_KFormat.self),
        Row(16, "IQ2_XXS", 256, 66, IQ2_XXSFormat.self),
        Row(17, "IQ2_XS", 256, 74, IQ2_XSFormat.self),
        Row(18, "IQ3_XXS", 256, 98, IQ3_XXSFormat.self),
        Row(19, "IQ1_S", 256, 50, IQ1_SFormat.self),
        Row(20, "IQ4_NL", 32, 18, IQ4_NLFormat.self),
        Row(21, "IQ3_S", 256, 110, IQ3_SFormat.self),
        Row(22, "IQ2_S", 256, 82, IQ2_SFormat.self),
        Row(23, "IQ4_XS", 256, 136, IQ4_XSFormat.self),
        Row(24, "I8", 1, 1, I8Format.self),
        Row(25, "I16", 1, 2, I16Format.self),
        Row(26, "I32", 1, 4, I32Format.self),
        Row(27, "I64", 1, 8, I64Format.self),
        Row(28, "F64", 1, 8, F64Format.self),
        Row(29, "IQ1_M", 256, 56, IQ1_MFormat.self),
        Row(30, "BF16", 1, 2, BF16Format.self),
        Row(34, "TQ1_0", 256, 54, TQ1_0Format.self),
        Row(35, "TQ2_0", 256, 66, TQ2_0Format.self),
        Row(39, "MXFP4", 32, 17, MXFP4Format.self),
        Row(40, "NVFP4", 64, 36, NVFP4Format.self),
        Row(41, "Q1_0", 128, 18, Q1_0Format.self),
        Row(42, "Q2_0", 64, 18, Q2_0Format.self),
    ]

    /// Types whose numbers older files may carry. Their layouts were dropped from ggml.
    static let removed: [UInt32: String] = [
        4: "Q4_2", 5: "Q4_3",
        31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8",
        36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8",
    ]
}

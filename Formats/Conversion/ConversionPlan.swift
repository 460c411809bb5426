import TensorTypes

/// What a conversion will do, tensor by tensor: what `--dry-run` prints.
public struct ConversionPlan: Sendable {
    public enum Direction: String, Sendable { case toGGUF = "GGUF", toHuggingFace = "Hugging Face" }

    public struct Tensor: Sendable {
        /// In the result.
        public let name: String
        /// What it is made of, by the source's names; empty when it is computed.
        public let origins: [String]
        /// As the source stores it: "BF16", "GPTQ, 4 bit".
        public let storedAs: String
        public let type: TensorType
        /// In the order of the result's format: ggml's for GGUF, PyTorch's for a folder.
        public let dimensions: [Int]
        /// Rows rearranged, transposed or shifted.
        public let isTransformed: Bool
        public let sourceBytes: Int
        public let bytes: Int
    }

    public struct File: Sendable {
        public let name: String
        public let bytes: Int
    }

    public let direction: Direction
    public let source: String
    /// GGUF's name.
    public let architecture: String
    /// transformers' name.
    public let modelClass: String
    public let tensors: [Tensor]
    /// What will be written. Sizes of small files are exact, those of large ones too.
    public let files: [File]
    public let parameterCount: Int
    /// Bytes of memory at most, besides what the system maps and can take back.
    public let peakMemory: Int
    /// What the user should know, a sentence each.
    public let warnings: [String]

    /// Bytes of all tensors of the result.
    public var tensorBytes: Int { tensors.reduce(0) { $0 + $1.bytes } }
    public var sourceBytes: Int { tensors.reduce(0) { $0 + $1.sourceBytes } }
    public var fileBytes: Int { files.reduce(0) { $0 + $1.bytes } }
    /// Bits of a value of the result, on average.
    public var bitsPerValue: Double { Double(tensorBytes * 8) / Double(max(1, parameterCount)) }
}

/// One tensor to be written.
struct PlannedTensor: Sendable {
    let name: String
    let stream: RowStream
    let type: TensorType
    let dimensions: [Int]
    let origins: [String]
    let byteCount: Int

    /// - Precondition: rows are whole blocks of `type`.
    init(name: String, stream: RowStream, type: TensorType, dimensions: [Int], origins: [String]) {
        self.name = name
        self.stream = stream
        self.type = type
        self.dimensions = dimensions
        self.origins = origins
        guard let count = type.byteCount(elements: dimensions.reduce(1, *)) else {
            preconditionFailure("\(name): \(dimensions) is no whole number of \(type.name) blocks")
        }
        byteCount = count
    }

    var row: ConversionPlan.Tensor {
        ConversionPlan.Tensor(
            name: name, origins: origins, storedAs: stream.parts[0].weight.storedAs, type: type, dimensions: dimensions,
            isTransformed: stream.transform != .copy, sourceBytes: stream.storedBytes, bytes: byteCount)
    }
}

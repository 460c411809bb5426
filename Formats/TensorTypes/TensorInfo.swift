/// A tensor as a file lists it: its name, type and shape, and where its bytes lie.
public struct TensorInfo: Sendable, Hashable {
    public let name: String
    public let type: TensorType
    /// In ggml's order: `[0]` is the contiguous dimension, the length of a row. Empty for a scalar.
    public let dimensions: [Int]
    /// Bytes from the start of its file.
    public let fileOffset: Int
    public let byteCount: Int
    public let elementCount: Int
    /// Which file of a model in several parts holds the bytes, from 0.
    public let part: Int

    public init(
        name: String, type: TensorType, dimensions: [Int], fileOffset: Int, byteCount: Int, elementCount: Int,
        part: Int = 0
    ) {
        self.name = name
        self.type = type
        self.dimensions = dimensions
        self.fileOffset = fileOffset
        self.byteCount = byteCount
        self.elementCount = elementCount
        self.part = part
    }

    /// Values in a row.
    public var rowLength: Int { dimensions.first ?? 1 }
    /// All dimensions but the first multiplied.
    public var rowCount: Int { rowLength == 0 ? 0 : elementCount / rowLength }
    /// The dimensions in ggml's order, as in "576x49152".
    public var shapeText: String { dimensions.isEmpty ? "1" : dimensions.map(String.init).joined(separator: "x") }
}

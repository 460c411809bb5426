import ByteIO
import TensorTypes

/// One file of a model: the only one, or a part of a split one.
public struct GGUFPart: Sendable {
    /// The mapping that metadata and tensors refer to.
    public let file: MappedFile
    public let version: Int
    /// Whether numbers are stored with their highest byte first.
    public let isBigEndian: Bool
    /// Tensor data starts at multiples of this many bytes.
    public let alignment: Int
    /// Bytes from the start of the file to the tensor data.
    public let dataOffset: Int
    /// Bytes from the start of the file to the end of the last tensor, padding included; may lie behind the file's end
    /// when the last padding is missing.
    public let dataEnd: Int
    /// This file's own pairs.
    public let metadata: GGUFMetadata
    /// Nil for a file that is a whole model.
    public let split: GGUFSplit?
    /// This file's own tensors, in its order.
    public let tensors: [TensorInfo]
    let warnings: [String]
    let index: [ExactString: Int]
    /// Bytes of the header up to its padding.
    let headerEnd: Int

    /// Reads and checks a header. `number` goes into `TensorInfo.part`.
    init(file: MappedFile, number: Int = 0) throws(GGUFError) {
        var parser = GGUFParser(file: file, part: number)
        let header = try parser.parse()
        self.file = file
        version = header.version
        isBigEndian = header.isBigEndian
        alignment = header.alignment
        dataOffset = header.dataOffset
        dataEnd = header.dataEnd
        metadata = header.metadata
        split = header.split
        tensors = header.tensors
        warnings = header.warnings
        index = header.index
        headerEnd = header.headerEnd
    }
}

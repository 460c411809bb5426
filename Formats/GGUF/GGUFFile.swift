import ByteIO
import TensorTypes

/// A GGUF file opened for reading.
///
/// Opening maps the file and checks the whole header: every count, length, type, shape and range is compared with the
/// file before it is used. No tensor data is touched. Memory used is in proportion to the header.
///
/// Read are versions 1, 2 and 3 in little endian order. What other readers refuse but is harmless here is reported in
/// ``warnings``: holes between tensors, tensors listed out of order, missing final padding, trailing bytes.
///
///     let file = try GGUFFile(path: "model.gguf")
///     let layers = try file.metadata.int("llama.block_count")
public final class GGUFFile: Sendable {
    /// The path as given.
    public let path: String
    public let version: Int
    /// Tensor data starts at multiples of this many bytes.
    public let alignment: Int
    /// Bytes from the start of the file to the tensor data.
    public let dataOffset: Int
    public let metadata: GGUFMetadata
    /// In the file's order.
    public let tensors: [TensorInfo]
    /// What is unusual about the file, a sentence each.
    public let warnings: [String]
    /// The mapping that everything above refers to.
    public let file: MappedFile

    private let index: [ExactString: Int]

    /// Opens the file at `path`.
    /// - Throws: ``GGUFError``, or ``ByteIO/ByteIOError`` when the file cannot be mapped.
    public convenience init(path: String) throws {
        try self.init(file: MappedFile(path: path))
    }

    /// Reads a file that is held in memory.
    /// - Parameter name: stands for the path in errors.
    public convenience init(bytes: [UInt8], name: String = "memory") throws {
        try self.init(file: MappedFile(bytes: bytes, name: name))
    }

    public init(file: MappedFile) throws(GGUFError) {
        var parser = GGUFParser(file: file)
        let header = try parser.parse()
        self.file = file
        path = file.path
        version = header.version
        alignment = header.alignment
        dataOffset = header.dataOffset
        metadata = header.metadata
        tensors = header.tensors
        warnings = header.warnings
        index = header.index
    }

    /// The tensor of this name, or nil.
    public func tensor(named name: String) -> TensorInfo? { index[ExactString(name)].map { tensors[$0] } }

    /// The tensor of this name.
    /// - Throws: ``GGUFError`` of code `missingTensor`.
    public func requireTensor(named name: String) throws(GGUFError) -> TensorInfo {
        guard let tensor = tensor(named: name) else {
            throw GGUFError(
                .missingTensor, "tensor \(name) is missing; the file is incomplete or of another architecture",
                path: path, tensor: name)
        }
        return tensor
    }

    /// The bytes of one of this file's tensors. Valid while the file object lives.
    public func bytes(of tensor: TensorInfo) -> UnsafeRawBufferPointer {
        precondition(
            tensor.fileOffset >= 0 && tensor.byteCount >= 0 && tensor.fileOffset <= file.count
                && tensor.byteCount <= file.count - tensor.fileOffset, "\(tensor.name) is no tensor of this file")
        return UnsafeRawBufferPointer(
            rebasing: file.unsafeBytes[tensor.fileOffset..<tensor.fileOffset + tensor.byteCount])
    }

    /// The values of one of this file's tensors as floats, in a new array.
    /// - Throws: ``TensorTypes/TensorTypeError`` when the type is not decodable.
    public func floats(of tensor: TensorInfo) throws -> [Float] {
        try tensor.type.requireDecodable(tensor: tensor.name)
        return try tensor.type.decoded(bytes(of: tensor))
    }
}

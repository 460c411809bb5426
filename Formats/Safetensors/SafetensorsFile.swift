import ByteIO
import TensorTypes

/// A safetensors file opened for reading.
///
///     0      header length N   u64
///     8      header            JSON: name -> {"dtype", "shape", "data_offsets"}, and "__metadata__": {string: string}
///     8 + N  data              tensors without holes
///
/// The whole header is checked as the reference implementation does, and stricter: every name that occurs twice is
/// refused, also within the metadata. No tensor data is touched.
///
///     let file = try SafetensorsFile(path: "adapter_model.safetensors")
///     let values = try file.floats(of: file.requireTensor(named: "prompt_embeddings"))
public final class SafetensorsFile: Sendable {
    /// Longest header the format allows, in bytes.
    public static let headerLimit = 100_000_000

    /// The path as given.
    public let path: String
    /// The `__metadata__` of the header, in the header's order; nil when there is none.
    public let metadata: [(key: String, value: String)]?
    /// In the order of their data.
    public let tensors: [SafetensorsTensor]
    /// Bytes from the start of the file to the data.
    public let dataOffset: Int
    public let file: MappedFile

    private let index: [ExactString: Int]

    /// Opens the file at `path`.
    /// - Throws: ``SafetensorsError``, or `ByteIOError` when the file cannot be mapped.
    public convenience init(path: String) throws {
        try self.init(file: MappedFile(path: path))
    }

    /// Reads a file that is held in memory.
    /// - Parameters:
    ///   - bytes: the whole file; copied.
    ///   - name: stands for the path in errors.
    public convenience init(bytes: [UInt8], name: String = "memory") throws {
        try self.init(file: MappedFile(bytes: bytes, name: name))
    }

    public init(file: MappedFile) throws(SafetensorsError) {
        let header = try SafetensorsHeader(file: file)
        self.file = file
        path = file.path
        metadata = header.metadata
        tensors = header.tensors
        dataOffset = header.dataOffset
        index = header.index
    }

    /// The value under a key of the metadata.
    public func metadataValue(_ key: String) -> String? {
        metadata?.first { ExactString.equal($0.key, key) }?.value
    }

    public func tensor(named name: String) -> SafetensorsTensor? { index[ExactString(name)].map { tensors[$0] } }

    /// The tensor of this name.
    /// - Throws: ``SafetensorsError`` of code `missingTensor` that lists what there is.
    public func requireTensor(named name: String) throws(SafetensorsError) -> SafetensorsTensor {
        if let tensor = tensor(named: name) { return tensor }
        throw SafetensorsError(
            .missingTensor,
            "tensor \(name.quotedForMessage) is missing; the file has \(Self.listing(tensors.map(\.name), limit: 5))",
            path: path, tensor: name)
    }

    /// The bytes of one of this file's tensors. Valid while the file object lives.
    public func bytes(of tensor: SafetensorsTensor) -> UnsafeRawBufferPointer {
        let range = tensor.dataOffsets
        precondition(range.upperBound <= file.count - dataOffset, "\(tensor.name) is no tensor of this file")
        return UnsafeRawBufferPointer(
            rebasing: file.unsafeBytes[dataOffset + range.lowerBound..<dataOffset + range.upperBound])
    }

    /// The values of a tensor as floats. F64 and wide integers are rounded, small floats are exact, BOOL is 0 or 1.
    /// - Throws: ``SafetensorsError`` of code `unexpectedType` for complex numbers.
    public func floats(of tensor: SafetensorsTensor) throws -> [Float] {
        guard tensor.type.isDecodable else {
            throw SafetensorsError(
                .unexpectedType,
                "tensor \(tensor.name.quotedForMessage) is \(tensor.type), which cannot be read as real numbers; "
                    + "save it as F32, F16 or BF16", path: path, tensor: tensor.name)
        }
        return [Float](unsafeUninitializedCapacity: tensor.elementCount) { buffer, count in
            tensor.type.decode(bytes(of: tensor), into: buffer)
            count = tensor.elementCount
        }
    }

    /// "a, b, … (12 in all)": names for an error message.
    static func listing(_ names: [String], limit: Int) -> String {
        guard !names.isEmpty else { return "none" }
        let shown = names.prefix(limit).map(\.quotedForMessage).joined(separator: ", ")
        return names.count > limit ? "\(shown), … (\(names.count) in all)" : shown
    }
}

import ByteIO
import TensorTypes

/// A model in GGUF form opened for reading: one file, or all parts of a split one.
///
/// Opening maps the file and checks the whole header: every count, length, type, shape and range is compared with the
/// file before it is used. No tensor data is touched. Memory used is in proportion to the header.
///
/// Read are versions 1, 2 and 3 in either byte order. What other readers refuse but is harmless here is reported in
/// ``warnings``: holes between tensors, tensors listed out of order, missing final padding, trailing bytes.
///
/// The path of the first part of a split model opens all of them; they appear as one model with the metadata of the
/// first. Tensors of a big-endian file are turned round when they are first asked for, and kept in memory.
///
///     let file = try GGUFFile(path: "model.gguf")
///     let layers = try file.metadata.int("llama.block_count")
public final class GGUFFile: Sendable {
    /// What to do with the first part of a split model.
    public enum SplitReading: Sendable {
        /// Open all parts.
        case whole
        /// Open just this file, whichever part it is.
        case partAlone
    }

    /// The path as given.
    public let path: String
    /// The file, or the parts in order.
    public let parts: [GGUFPart]
    /// Those of all parts, in the files' order.
    public let tensors: [TensorInfo]
    /// What is unusual about the file, a sentence each.
    public let warnings: [String]
    /// Those of the first part.
    public let metadata: GGUFMetadata

    private let index: [ExactString: Int]
    private let swapped: [SwappedTensors?]

    /// Opens the file at `path`.
    /// - Parameters:
    ///   - path: the file, or the first part of a split model.
    ///   - reading: whether the other parts are opened too.
    /// - Throws: ``GGUFError``, or `ByteIOError` when the file cannot be mapped.
    public convenience init(path: String, split reading: SplitReading = .whole) throws {
        let file = try MappedFile(path: path)
        let first: GGUFPart
        do throws(GGUFError) {
            first = try GGUFPart(file: file)
        } catch {
            guard let advice = GGUFSplit.rawPieceAdvice(path: path) else { throw error }
            throw GGUFError(.rawPiece, advice, path: path)
        }
        if reading == .whole, let split = first.split {
            try self.init(parts: GGUFSplit.openAll(first: first, split: split))
        } else {
            try self.init(parts: [first])
        }
    }

    /// Reads a file that is held in memory, alone.
    /// - Parameters:
    ///   - bytes: the whole file; copied.
    ///   - name: stands for the path in errors.
    public convenience init(bytes: [UInt8], name: String = "memory") throws {
        try self.init(file: MappedFile(bytes: bytes, name: name))
    }

    /// Reads one mapped file, alone.
    public convenience init(file: MappedFile) throws(GGUFError) {
        try self.init(parts: [GGUFPart(file: file)])
    }

    private init(parts: [GGUFPart], metadata: GGUFMetadata? = nil) throws(GGUFError) {
        path = parts[0].file.path
        self.parts = parts
        self.metadata = metadata ?? parts[0].metadata
        swapped = parts.map { $0.isBigEndian ? SwappedTensors() : nil }
        warnings =
            parts.count == 1
            ? parts[0].warnings
            : parts.enumerated().flatMap { number, part in part.warnings.map { "part \(number + 1): \($0)" } }
        guard parts.count > 1 else {
            tensors = parts[0].tensors
            index = parts[0].index
            return
        }
        var tensors: [TensorInfo] = []
        var index: [ExactString: Int] = [:]
        for part in parts {
            for tensor in part.tensors {
                if let other = index.updateValue(tensors.count, forKey: ExactString(tensor.name)) {
                    throw GGUFError(
                        .brokenSplit,
                        "tensor \(tensor.name.quotedForMessage) is in this part and in "
                            + "\(parts[tensors[other].part].file.path); the parts are not of one model",
                        path: part.file.path, tensor: tensor.name)
                }
                tensors.append(tensor)
            }
        }
        self.tensors = tensors
        self.index = index
    }

    /// The same tensors under other metadata: what the file would be after an edit.
    public func replacing(metadata: GGUFMetadata) -> GGUFFile { GGUFFile(self, metadata: metadata) }

    private init(_ other: GGUFFile, metadata: GGUFMetadata) {
        path = other.path
        parts = other.parts
        tensors = other.tensors
        warnings = other.warnings
        index = other.index
        swapped = other.swapped
        self.metadata = metadata
    }

    /// The file, or the first part.
    public var file: MappedFile { parts[0].file }
    public var version: Int { parts[0].version }
    public var isBigEndian: Bool { parts[0].isBigEndian }
    /// Tensor data of the (first) file starts at multiples of this many bytes.
    public var alignment: Int { parts[0].alignment }
    /// Bytes from the start of the (first) file to its tensor data.
    public var dataOffset: Int { parts[0].dataOffset }
    /// Bytes of all parts together.
    public var fileByteCount: Int { parts.reduce(0) { $0 + $1.file.count } }
    /// Bytes of all tensors together.
    public var tensorByteCount: Int { tensors.reduce(0) { $0 + $1.byteCount } }

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

    /// The bytes of one of this file's tensors, in little-endian order. Valid while the file object lives.
    public func bytes(of tensor: TensorInfo) -> UnsafeRawBufferPointer {
        precondition(parts.indices.contains(tensor.part), "\(tensor.name) is no tensor of this file")
        let file = parts[tensor.part].file
        precondition(
            tensor.fileOffset >= 0 && tensor.byteCount >= 0 && tensor.fileOffset <= file.count
                && tensor.byteCount <= file.count - tensor.fileOffset, "\(tensor.name) is no tensor of this file")
        if let swapped = swapped[tensor.part] { return swapped.bytes(of: tensor, in: file) }
        return UnsafeRawBufferPointer(
            rebasing: file.unsafeBytes[tensor.fileOffset..<tensor.fileOffset + tensor.byteCount])
    }

    /// Tells the system that a part of a tensor, or all of it, will not be read again soon (`MappedFile.release`).
    public func releasePages(of tensor: TensorInfo, _ range: Range<Int>) {
        guard parts.indices.contains(tensor.part), swapped[tensor.part] == nil else { return }
        let part = range.clamped(to: 0..<tensor.byteCount)
        parts[tensor.part].file.release(tensor.fileOffset + part.lowerBound..<tensor.fileOffset + part.upperBound)
    }

    /// The values of one of this file's tensors as floats, in a new array.
    /// - Throws: `TensorTypeError` when the type is not decodable.
    public func floats(of tensor: TensorInfo) throws -> [Float] {
        try tensor.type.requireDecodable(tensor: tensor.name)
        return try tensor.type.decoded(bytes(of: tensor))
    }
}

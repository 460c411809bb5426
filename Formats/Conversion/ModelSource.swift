import ByteIO
import GGUF
import TensorTypes

/// A model whose tensors can be read in their canonical form, whatever the container: GGUF's names, layout and metadata.
///
/// A GGUF file is one as it is; a Hugging Face folder is one through its architecture's mapping (renamed, permuted,
/// transposed, norms shifted). Fingerprints, quantization, verification and comparison read models through this, so that
/// each works on every container.
public protocol ModelSource: Sendable {
    /// The file or folder, as given.
    var path: String { get }
    /// Complete GGUF metadata: architecture, hyperparameters, tokenizer.
    var metadata: GGUFMetadata { get }
    /// In the order in which a file made from this source lists them.
    var tensors: [SourceTensor] { get }

    /// Lends the bytes of one tensor in its canonical layout and type.
    ///
    /// Tensors that need no change are lent from the mapped file; others are built in memory for the duration of the
    /// call, so that no more than one tensor a caller is held at a time. May be called from several threads at once.
    /// - Throws: what reading throws, and what `body` throws.
    func withBytes<R>(of tensor: SourceTensor, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R

    /// Lends the bytes of one tensor in order, in pieces of whole rows: what is built needs a few megabytes, however
    /// large the tensor. By default the whole is one piece.
    func withPieces(of tensor: SourceTensor, _ body: (UnsafeRawBufferPointer) throws -> Void) throws

    /// The files that decide the content, in order, by which results can be cached.
    var files: [SourceFile] { get }
}

/// A file of a model and its state when it was opened.
public struct SourceFile: Sendable {
    public let path: String
    /// Nil for what is in memory.
    public let identity: FileIdentity?

    public init(path: String, identity: FileIdentity?) {
        self.path = path
        self.identity = identity
    }
}

extension ModelSource {
    public func withPieces(of tensor: SourceTensor, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        try withBytes(of: tensor, body)
    }
}

/// A tensor that a ``ModelSource`` can produce.
public struct SourceTensor: Sendable, Hashable {
    /// GGUF's name.
    public let name: String
    /// The type of the bytes that ``ModelSource/withBytes(of:_:)`` lends.
    public let type: TensorType
    /// In ggml's order: `[0]` is the contiguous dimension.
    public let dimensions: [Int]
    public let elementCount: Int
    public let byteCount: Int

    /// - Precondition: rows are whole blocks of `type` and the size does not overflow; readers have checked that.
    public init(name: String, type: TensorType, dimensions: [Int]) {
        self.name = name
        self.type = type
        self.dimensions = dimensions
        elementCount = dimensions.reduce(1, *)
        guard let byteCount = type.byteCount(elements: elementCount) else {
            preconditionFailure("\(name): \(dimensions) is no whole number of \(type.name) blocks")
        }
        self.byteCount = byteCount
    }

    /// Values in a row.
    public var rowLength: Int { dimensions.first ?? 1 }
    /// All dimensions but the first multiplied.
    public var rowCount: Int { rowLength == 0 ? 0 : elementCount / rowLength }
}

/// A GGUF file as a ``ModelSource``: its tensors as they are.
public struct GGUFSource: ModelSource {
    public let file: GGUFFile
    public let tensors: [SourceTensor]
    private let places: [String: TensorInfo]

    public init(_ file: GGUFFile) {
        self.file = file
        tensors = file.tensors.map { SourceTensor(name: $0.name, type: $0.type, dimensions: $0.dimensions) }
        places = Dictionary(file.tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    public var path: String { file.path }
    public var metadata: GGUFMetadata { file.metadata }
    public var files: [SourceFile] { file.parts.map { SourceFile(path: $0.file.path, identity: $0.file.identity) } }

    public func withBytes<R>(of tensor: SourceTensor, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
        guard let place = places[tensor.name] else { preconditionFailure("\(tensor.name) is no tensor of \(path)") }
        return try withExtendedLifetime(file) {
            let bytes = file.bytes(of: place)
            defer { forget(bytes, of: place) }
            return try body(bytes)
        }
    }

    public func withPieces(of tensor: SourceTensor, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        guard let place = places[tensor.name] else { preconditionFailure("\(tensor.name) is no tensor of \(path)") }
        try withExtendedLifetime(file) {
            let bytes = file.bytes(of: place)
            let rowBytes = max(1, bytes.count / max(1, tensor.rowCount))
            let step = max(1, PieceSize.bytes / rowBytes) * rowBytes
            var forgotten = 0
            for start in stride(from: 0, to: bytes.count, by: step) {
                let end = min(start + step, bytes.count)
                try body(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
                if end - forgotten >= PieceSize.bytes * PieceSize.piecesInMemory || end == bytes.count {
                    forget(UnsafeRawBufferPointer(rebasing: bytes[forgotten..<end]), of: place)
                    forgotten = end
                }
            }
        }
    }

    /// Gives mapped pages back, so that a file larger than memory passes through a small part of it.
    private func forget(_ bytes: UnsafeRawBufferPointer, of place: TensorInfo) {
        if bytes.count >= 1 << 20, !file.isBigEndian { file.parts[place.part].file.release(bytes) }
    }
}

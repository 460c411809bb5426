import ByteIO
import TensorTypes

/// Writes GGUF files (version 3, little endian).
///
/// Tensors are added with their shape and a way to produce their bytes; ``write(to:existing:shouldContinue:)`` then streams header and data
/// into a temporary file that takes the final name when all is well. At no time is more than one tensor's bytes in
/// memory, and not even that when the source writes in pieces. ``writeParts(prefix:limits:existing:shouldContinue:)``
/// writes a split model.
///
/// The layout is the reference's: pairs and tensors in the order given, each tensor at the next multiple of the
/// alignment, zeros between and after them. A file that has this layout is copied byte for byte.
///
///     var writer = try GGUFWriter(metadata: ["general.architecture": .text("llama")])
///     try writer.add(name: "token_embd.weight", type: .f32, dimensions: [64, 256], floats: values)
///     try writer.write(to: "tiny.gguf")
public struct GGUFWriter {
    /// Writes exactly the announced bytes of one tensor.
    public typealias Source = (inout AtomicFile.Writer) throws -> Void

    struct Tensor {
        var name: String
        var type: TensorType
        var dimensions: [Int]
        var byteCount: Int
        var source: Source
    }

    public private(set) var metadata: GGUFMetadata
    public let alignment: Int
    private(set) var tensors: [Tensor] = []
    private var names: Set<ExactString> = []

    /// - Parameters:
    ///   - metadata: in the order in which it is written.
    ///   - alignment: a power of two up to 1 MiB. Nil takes `general.alignment` of the metadata, else 32. A value that
    ///     is not 32 is recorded under that key.
    public init(metadata: GGUFMetadata = GGUFMetadata(), alignment: Int? = nil) throws(GGUFError) {
        self.metadata = metadata
        let recorded = metadata[GGUFLimits.alignmentKey]
        var chosen = alignment ?? GGUFLimits.defaultAlignment
        if alignment == nil, let recorded {
            guard case .uint32(let value) = recorded else {
                throw GGUFError(.invalidContent, "\(GGUFLimits.alignmentKey) must be a u32")
            }
            chosen = Int(value)
        }
        guard chosen > 0, chosen.nonzeroBitCount == 1, chosen <= Int(GGUFLimits.largestAlignment) else {
            throw GGUFError(
                .invalidContent, "alignment \(chosen) is not a power of two up to \(GGUFLimits.largestAlignment)")
        }
        self.alignment = chosen
        if recorded != nil || chosen != GGUFLimits.defaultAlignment {
            self.metadata[GGUFLimits.alignmentKey] = .uint32(UInt32(chosen))
        }
        for entry in metadata.entries {
            guard !entry.key.isEmpty, entry.key.utf8.count <= GGUFLimits.keyLength else {
                throw GGUFError(.invalidContent, "a metadata key has \(entry.key.utf8.count) bytes", key: entry.key)
            }
        }
    }

    /// A writer of everything that is in a file, in the same order and with the same alignment.
    ///
    /// All parts of a split model become one: the keys that number parts are left out then.
    /// - Parameters:
    ///   - file: the model; it is kept open.
    ///   - metadata: written instead of the file's own.
    public init(copying file: GGUFFile, metadata: GGUFMetadata? = nil) throws(GGUFError) {
        var kept = metadata ?? file.metadata
        if file.parts.count > 1 { for key in GGUFSplit.keys { kept[key] = nil } }
        try self.init(metadata: kept, alignment: file.alignment)
        for tensor in file.tensors {
            let part = file.parts[tensor.part]
            try add(name: tensor.name, type: tensor.type, dimensions: tensor.dimensions) { output in
                if part.isBigEndian {
                    try output.write(file.bytes(of: tensor))
                } else {
                    try output.copy(tensor.fileOffset..<tensor.fileOffset + tensor.byteCount, of: part.file)
                }
            }
        }
    }

    /// Adds a tensor whose bytes `source` writes when the file is written.
    /// - Parameters:
    ///   - name: at most 63 bytes, not used before.
    ///   - type: of the bytes that are written.
    ///   - dimensions: ggml's order, 0 to 4 of them, `[0]` contiguous.
    ///   - source: called once for each writing.
    public mutating func add(
        name: String, type: TensorType, dimensions: [Int], source: @escaping Source
    ) throws(GGUFError) {
        func refuse(_ reason: String) -> GGUFError {
            GGUFError(.invalidContent, "tensor \(name.quotedForMessage) \(reason)", tensor: name)
        }
        guard name.utf8.count <= GGUFLimits.tensorNameLength else {
            throw refuse("has a name of \(name.utf8.count) bytes (limit \(GGUFLimits.tensorNameLength))")
        }
        guard dimensions.count <= Int(GGUFLimits.dimensions), dimensions.allSatisfy({ $0 >= 1 }) else {
            throw refuse("has the dimensions \(dimensions); 0 to 4 positive ones are possible")
        }
        var elementCount = 1
        for dimension in dimensions {
            let (product, overflow) = elementCount.multipliedReportingOverflow(by: dimension)
            guard !overflow else { throw refuse("is too large") }
            elementCount = product
        }
        guard (dimensions.first ?? 1) % type.blockSize == 0, let byteCount = type.byteCount(elements: elementCount)
        else {
            throw refuse("has rows of \(dimensions.first ?? 1) values, which are not whole \(type.name) blocks")
        }
        guard names.insert(ExactString(name)).inserted else { throw refuse("is added twice") }
        tensors.append(
            Tensor(name: name, type: type, dimensions: dimensions, byteCount: byteCount, source: source))
    }

    /// Adds a tensor whose bytes are at hand.
    public mutating func add(
        name: String, type: TensorType, dimensions: [Int], bytes: [UInt8]
    ) throws(GGUFError) {
        try add(name: name, type: type, dimensions: dimensions) { output in try output.write(bytes) }
        guard tensors[tensors.count - 1].byteCount == bytes.count else {
            let expected = tensors.removeLast().byteCount
            names.remove(ExactString(name))
            throw GGUFError(
                .invalidContent,
                "tensor \(name.quotedForMessage) has \(bytes.count) bytes; its shape needs \(expected)",
                tensor: name)
        }
    }

    /// Adds a tensor of floats, encoded as `type`.
    public mutating func add(name: String, type: TensorType = .f32, dimensions: [Int], floats: [Float]) throws {
        try add(name: name, type: type, dimensions: dimensions, bytes: type.encoded(floats))
    }

    /// Bytes of the file that ``write(to:existing:shouldContinue:)`` makes.
    public var fileByteCount: Int {
        Layout(metadata: metadata, tensors: tensors[...], alignment: alignment).fileByteCount
    }

    /// Writes the file.
    /// - Parameters:
    ///   - path: where.
    ///   - existing: whether a file that is there is replaced.
    ///   - shouldContinue: asked now and then with the bytes written so far; false stops and leaves nothing behind.
    public func write(
        to path: String, existing: AtomicFile.Existing = .replace, shouldContinue: ((_ written: Int) -> Bool)? = nil
    ) throws {
        try AtomicFile.write(to: path, existing: existing, expectedSize: fileByteCount) { output in
            output.shouldContinue = shouldContinue
            try write(tensors[...], metadata: metadata, into: &output)
        }
    }

    /// The whole file in memory.
    public func serialized() throws -> [UInt8] {
        try AtomicFile.Writer.collecting { output in try write(tensors[...], metadata: metadata, into: &output) }
    }

    /// Writes one file with some of the tensors.
    func write(
        _ tensors: ArraySlice<Tensor>, metadata: GGUFMetadata, into output: inout AtomicFile.Writer
    ) throws {
        let layout = Layout(metadata: metadata, tensors: tensors, alignment: alignment)
        try output.write(try layout.header())
        for tensor in tensors {
            try output.pad(to: alignment)
            let start = output.position
            try tensor.source(&output)
            guard output.position - start == tensor.byteCount else {
                throw GGUFError(
                    .invalidContent,
                    "the source of tensor \(tensor.name.quotedForMessage) wrote \(output.position - start) bytes instead of "
                        + "\(tensor.byteCount)", tensor: tensor.name)
            }
        }
        // The reference pads after the header even when no tensor follows, and after the last tensor.
        try output.pad(to: alignment)
    }
}

// MARK: - The layout of one file

extension GGUFWriter {
    /// Where everything of one file goes.
    struct Layout {
        let metadata: GGUFMetadata
        let tensors: ArraySlice<Tensor>
        let alignment: Int

        /// The header without its padding.
        func header() throws(GGUFError) -> [UInt8] {
            var infos: [GGUFEncoding.Tensor] = []
            infos.reserveCapacity(tensors.count)
            var offset = 0
            for tensor in tensors {
                infos.append(.init(name: tensor.name, type: tensor.type, dimensions: tensor.dimensions, offset: offset))
                let (padded, overflow) = tensor.byteCount.addingReportingOverflow(alignment - 1)
                let (next, overflowToo) = offset.addingReportingOverflow(padded / alignment * alignment)
                guard !overflow, !overflowToo else {
                    throw GGUFError(.invalidContent, "the tensors together are too large", tensor: tensor.name)
                }
                offset = next
            }
            return GGUFEncoding.header(metadata: metadata, tensors: infos)
        }

        /// Size of the whole file, padding included; `Int.max` when it cannot be counted.
        var fileByteCount: Int {
            var size = 24 + metadata.entries.reduce(0) { $0 + GGUFEncoding.byteCount(of: $1) }
            size += tensors.reduce(0) { $0 + GGUFEncoding.byteCount(name: $1.name, dimensions: $1.dimensions.count) }
            size = GGUFWriter.padded(size, to: alignment)
            for tensor in tensors {
                let (sum, overflow) = size.addingReportingOverflow(GGUFWriter.padded(tensor.byteCount, to: alignment))
                guard !overflow else { return .max }
                size = sum
            }
            return size
        }
    }

    /// The next multiple of the alignment; `Int.max` when it cannot be counted.
    static func padded(_ size: Int, to alignment: Int) -> Int {
        let (sum, overflow) = size.addingReportingOverflow(alignment - 1)
        return overflow ? .max : sum / alignment * alignment
    }
}

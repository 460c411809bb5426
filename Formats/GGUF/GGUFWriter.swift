import ByteIO
import TensorTypes

/// Writes GGUF files (version 3, little endian).
///
/// Tensors are added with their shape and a way to produce their bytes; ``write(to:)`` then streams header and data
/// into a temporary file that takes the final name when all is well. At no time is more than one tensor's bytes in
/// memory, and not even that when the source writes in pieces.
///
///     var writer = try GGUFWriter(metadata: ["general.architecture": .text("llama")])
///     try writer.add(name: "token_embd.weight", type: .f32, dimensions: [64, 256], floats: values)
///     try writer.write(to: "tiny.gguf")
public struct GGUFWriter {
    /// Writes exactly the announced bytes of one tensor.
    public typealias Source = (inout AtomicFile.Writer) throws -> Void

    private struct Tensor {
        var name: String
        var type: TensorType
        var dimensions: [Int]
        var byteCount: Int
        var source: Source
    }

    public private(set) var metadata: GGUFMetadata
    public let alignment: Int
    private var tensors: [Tensor] = []
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
    public init(copying file: GGUFFile) throws(GGUFError) {
        try self.init(metadata: file.metadata, alignment: file.alignment)
        for tensor in file.tensors {
            try add(name: tensor.name, type: tensor.type, dimensions: tensor.dimensions) { output in
                try output.write(file.bytes(of: tensor))
            }
        }
    }

    /// Adds a tensor whose bytes `source` writes when the file is written.
    /// - Parameter dimensions: ggml's order, 0 to 4 of them, `[0]` contiguous.
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

    /// Writes the file, replacing one that exists.
    public func write(to path: String) throws {
        try AtomicFile.write(to: path) { output in try write(into: &output) }
    }

    /// The whole file in memory.
    public func serialized() throws -> [UInt8] {
        try AtomicFile.Writer.collecting { output in try write(into: &output) }
    }

    private func write(into output: inout AtomicFile.Writer) throws {
        try output.write(try header())
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

    private func header() throws(GGUFError) -> [UInt8] {
        var header = ByteWriter()
        header.write(bytes: GGUFLimits.magic)
        header.write(UInt32(3))
        header.write(UInt64(tensors.count))
        header.write(UInt64(metadata.count))
        for entry in metadata.entries {
            header.write(string: Array(entry.key.utf8))
            header.write(entry.value.type.rawValue)
            header.write(value: entry.value)
        }
        var offset = 0
        for tensor in tensors {
            header.write(string: Array(tensor.name.utf8))
            header.write(UInt32(tensor.dimensions.count))
            for dimension in tensor.dimensions { header.write(UInt64(dimension)) }
            header.write(tensor.type.id)
            header.write(UInt64(offset))
            let (padded, overflow) = tensor.byteCount.addingReportingOverflow(alignment - 1)
            let (next, overflowToo) = offset.addingReportingOverflow(padded / alignment * alignment)
            guard !overflow, !overflowToo else {
                throw GGUFError(.invalidContent, "the tensors together are too large", tensor: tensor.name)
            }
            offset = next
        }
        return header.bytes
    }
}

extension ByteWriter {
    fileprivate mutating func write(string bytes: [UInt8]) {
        write(UInt64(bytes.count))
        write(bytes: bytes)
    }

    fileprivate mutating func write(value: GGUFValue) {
        switch value {
        case .uint8(let value): write(value)
        case .int8(let value): write(value)
        case .uint16(let value): write(value)
        case .int16(let value): write(value)
        case .uint32(let value): write(value)
        case .int32(let value): write(value)
        case .float32(let value): write(value)
        case .bool(let value): write(UInt8(value ? 1 : 0))
        case .string(let value): write(string: value.bytes)
        case .uint64(let value): write(value)
        case .int64(let value): write(value)
        case .float64(let value): write(value)
        case .array(let array):
            write(array.elementType.rawValue)
            write(UInt64(array.count))
            array.withEncodedBytes { write(bytes: $0) }
        }
    }
}

import ByteIO
import TensorTypes

/// Writes safetensors files as the reference implementation does: the same content gives the same bytes.
///
/// Tensors are ordered by type (descending in the format's order), then by name; the header is compact JSON with
/// `__metadata__` first, padded with spaces to a multiple of 8; there are no holes.
///
///     var writer = SafetensorsWriter(metadata: [("format", "pt")])
///     try writer.add(name: "prompt_embeddings", shape: [20, 3072], floats: values)
///     let bytes = try writer.serialized()
public struct SafetensorsWriter {
    /// Writes exactly the announced bytes of one tensor.
    public typealias Source = (inout AtomicFile.Writer) throws -> Void

    private struct Tensor {
        var name: String
        var type: SafetensorsType
        var shape: [Int]
        var byteCount: Int
        var source: Source
    }

    private let metadata: [(key: String, value: String)]
    private var tensors: [Tensor] = []
    private var names: Set<ExactString> = []
    private var total = 0

    /// - Parameter metadata: written in this order; when empty no `__metadata__` is written.
    public init(metadata: [(key: String, value: String)] = []) { self.metadata = metadata }

    /// Bytes of all tensors added so far.
    public var byteCount: Int { total }

    /// Adds a tensor whose bytes `source` writes when the file is written.
    public mutating func add(
        name: String, type: SafetensorsType, shape: [Int], source: @escaping Source
    ) throws(SafetensorsError) {
        let size = try Self.byteCount(name: name, type: type, shape: shape)
        let (sum, overflow) = total.addingReportingOverflow(size)
        guard !overflow else { throw SafetensorsError(.overflow, "the tensors together are too large", tensor: name) }
        guard !ExactString.equal(name, "__metadata__"), names.insert(ExactString(name)).inserted else {
            throw SafetensorsError(
                .duplicateName, "tensor \(name.quotedForMessage) is added twice, or its name is reserved", tensor: name)
        }
        total = sum
        tensors.append(Tensor(name: name, type: type, shape: shape, byteCount: size, source: source))
    }

    /// Bytes of a tensor of this shape.
    static func byteCount(name: String, type: SafetensorsType, shape: [Int]) throws(SafetensorsError) -> Int {
        var elements = 1
        var overflow = false
        for dimension in shape {
            let (product, overflows) = elements.multipliedReportingOverflow(by: dimension)
            overflow = overflow || overflows || dimension < 0
            elements = product
        }
        let (bits, overflowsToo) = elements.multipliedReportingOverflow(by: type.bits)
        guard !overflow, !overflowsToo else {
            throw SafetensorsError(.overflow, "tensor \(name.quotedForMessage) has the shape \(shape)", tensor: name)
        }
        guard bits % 8 == 0 else {
            throw SafetensorsError(
                .misaligned, "tensor \(name.quotedForMessage) does not fill whole bytes", tensor: name)
        }
        return bits / 8
    }

    /// Adds a tensor whose bytes are at hand.
    public mutating func add(
        name: String, type: SafetensorsType, shape: [Int], bytes: [UInt8]
    ) throws(SafetensorsError) {
        let size = try Self.byteCount(name: name, type: type, shape: shape)
        guard size == bytes.count else {
            throw SafetensorsError(
                .wrongSize, "tensor \(name.quotedForMessage) has \(bytes.count) bytes; its shape needs \(size)",
                tensor: name)
        }
        try add(name: name, type: type, shape: shape) { output in try output.write(bytes) }
    }

    /// Adds a tensor of floats, written as F32, F16 or BF16.
    public mutating func add(name: String, type: SafetensorsType = .f32, shape: [Int], floats: [Float]) throws {
        let bytes = try Self.encoded(floats, as: type, name: name, shape: shape)
        try add(name: name, type: type, shape: shape, bytes: bytes)
    }

    /// Floats as bytes of a type, checked against the shape.
    static func encoded(_ floats: [Float], as type: SafetensorsType, name: String, shape: [Int]) throws -> [UInt8] {
        guard let tensorType = type.tensorType, tensorType.isEncodable else {
            throw SafetensorsError(.unexpectedType, "floats cannot be written as \(type)", tensor: name)
        }
        let bytes = try tensorType.encoded(floats)
        let size = try byteCount(name: name, type: type, shape: shape)
        guard size == bytes.count else {
            throw SafetensorsError(
                .wrongSize, "tensor \(name.quotedForMessage) has \(bytes.count) bytes; its shape needs \(size)",
                tensor: name)
        }
        return bytes
    }

    /// Writes the file by way of a temporary file.
    /// - Parameters:
    ///   - path: where.
    ///   - existing: whether a file that is there is replaced.
    ///   - shouldContinue: asked now and then with the bytes written so far; false stops and leaves nothing behind.
    public func write(
        to path: String, existing: AtomicFile.Existing = .replace, shouldContinue: ((_ written: Int) -> Bool)? = nil
    ) throws {
        try AtomicFile.write(to: path, existing: existing, expectedSize: total) { output in
            output.shouldContinue = shouldContinue
            try write(into: &output)
        }
    }

    /// The whole file in memory.
    public func serialized() throws -> [UInt8] {
        try AtomicFile.Writer.collecting { output in try write(into: &output) }
    }

    func write(into output: inout AtomicFile.Writer) throws {
        let ordered = tensors.sorted { left, right in
            left.type == right.type ? ExactString(left.name) < ExactString(right.name) : left.type > right.type
        }
        var header = JSONObject()
        if !metadata.isEmpty {
            var object = JSONObject()
            for (key, value) in metadata {
                guard object.append(key, .string(value)) else {
                    throw SafetensorsError(.duplicateName, "metadata key \(key.quotedForMessage) occurs twice")
                }
            }
            _ = header.append("__metadata__", .object(object))
        }
        var end = 0
        for tensor in ordered {
            let (next, overflow) = end.addingReportingOverflow(tensor.byteCount)
            guard !overflow else { throw SafetensorsError(.overflow, "the tensors together are too large") }
            let entry: JSONValue = [
                "dtype": .string(tensor.type.name), "shape": .array(tensor.shape.map { JSONValue($0) }),
                "data_offsets": [JSONValue(end), JSONValue(next)],
            ]
            _ = header.append(tensor.name, entry)
            end = next
        }
        var json = JSONValue.object(header).compactBytes()
        json.append(contentsOf: repeatElement(0x20, count: (8 - json.count % 8) % 8))
        guard json.count <= SafetensorsFile.headerLimit else {
            throw SafetensorsError(
                .headerTooLarge,
                "the header of \(tensors.count) tensors would have \(json.count) bytes; the format allows "
                    + "\(SafetensorsFile.headerLimit) (100 MB): write the model in several files")
        }
        try output.write(withUnsafeBytes(of: UInt64(json.count).littleEndian) { Array($0) })
        try output.write(json)
        for tensor in ordered {
            let start = output.position
            try tensor.source(&output)
            guard output.position - start == tensor.byteCount else {
                throw SafetensorsError(
                    .wrongSize,
                    "the source of tensor \(tensor.name.quotedForMessage) wrote \(output.position - start) bytes instead of "
                        + "\(tensor.byteCount)", tensor: tensor.name)
            }
        }
    }
}

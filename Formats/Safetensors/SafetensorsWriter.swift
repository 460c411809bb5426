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

    /// - Parameter metadata: written in this order; when empty no `__metadata__` is written.
    public init(metadata: [(key: String, value: String)] = []) { self.metadata = metadata }

    /// Adds a tensor whose bytes `source` writes when the file is written.
    public mutating func add(
        name: String, type: SafetensorsType, shape: [Int], source: @escaping Source
    ) throws(SafetensorsError) {
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
        guard name != "__metadata__", names.insert(ExactString(name)).inserted else {
            throw SafetensorsError(
                .duplicateName, "tensor \(name.quotedForMessage) is added twice, or its name is reserved", tensor: name)
        }
        tensors.append(Tensor(name: name, type: type, shape: shape, byteCount: bits / 8, source: source))
    }

    /// Adds a tensor whose bytes are at hand.
    public mutating func add(
        name: String, type: SafetensorsType, shape: [Int], bytes: [UInt8]
    ) throws(SafetensorsError) {
        try add(name: name, type: type, shape: shape) { output in try output.write(bytes) }
        guard let added = tensors.last, added.byteCount == bytes.count else {
            let expected = tensors.removeLast().byteCount
            names.remove(ExactString(name))
            throw SafetensorsError(
                .wrongSize, "tensor \(name.quotedForMessage) has \(bytes.count) bytes; its shape needs \(expected)",
                tensor: name)
        }
    }

    /// Adds a tensor of floats, written as F32, F16 or BF16.
    public mutating func add(name: String, type: SafetensorsType = .f32, shape: [Int], floats: [Float]) throws {
        guard let tensorType = type.tensorType, tensorType.isEncodable else {
            throw SafetensorsError(.unexpectedType, "floats cannot be written as \(type)", tensor: name)
        }
        try add(name: name, type: type, shape: shape, bytes: tensorType.encoded(floats))
    }

    /// Writes the file, replacing one that exists, by way of a temporary file.
    public func write(to path: String) throws {
        try AtomicFile.write(to: path) { output in try write(into: &output) }
    }

    /// The whole file in memory.
    public func serialized() throws -> [UInt8] {
        try AtomicFile.Writer.collecting { output in try write(into: &output) }
    }

    private func write(into output: inout AtomicFile.Writer) throws {
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
                "the header would have \(json.count) bytes; the format allows \(SafetensorsFile.headerLimit)")
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

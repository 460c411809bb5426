import Conversion
import GGUF
import Kernels
import Layers
import TensorTypes

/// Takes tensors out of a model's file or folder with the checks every architecture needs: present, of the expected shape,
/// decodable.
///
/// It remembers what was taken, so that a model with tensors that the architecture does not compute is refused.
public final class TensorLoading {
    public let source: any ModelSource
    public var path: String { source.path }
    private let places: [String: SourceTensor]
    private var taken: Set<String> = []

    public init(_ source: any ModelSource) {
        self.source = source
        places = Dictionary(source.tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// The tensor `name`, which must have `dimensions` (columns first).
    public func tensor(_ name: String, _ dimensions: [Int]) throws -> SourceTensor {
        guard let info = places[name] else {
            throw ModelError(.invalidTensor, "tensor \(name) is missing", path: path)
        }
        taken.insert(name)
        func trimmed(_ values: [Int]) -> [Int] {
            var values = values
            while values.count > 1, values.last == 1 { values.removeLast() }
            return values
        }
        guard trimmed(info.dimensions) == trimmed(dimensions) else {
            func text(_ values: [Int]) -> String { values.map(String.init).joined(separator: "×") }
            throw ModelError(
                .invalidTensor,
                "tensor \(name) has shape \(text(info.dimensions)); the hyperparameters ask for \(text(dimensions))",
                path: path)
        }
        guard info.type.isDecodable else {
            throw ModelError(
                .invalidTensor, "tensor \(name) has type \(info.type.name), which cannot be computed with", path: path)
        }
        return info
    }

    /// Whether the model has the tensor `name`.
    public func has(_ name: String) -> Bool { places[name] != nil }

    /// The dimensions of a tensor, nil when the model has none of that name.
    public func dimensions(of name: String) -> [Int]? { places[name]?.dimensions }

    /// A tensor's blocks: where a GGUF file mapped them, or a copy when another container has to make them.
    private func blocks(of tensor: SourceTensor) throws -> (bytes: UnsafeRawBufferPointer, owner: TensorMemory?) {
        if let gguf = source as? GGUFSource, let info = gguf.file.tensor(named: tensor.name) {
            return (gguf.file.bytes(of: info), nil)
        }
        let memory = try source.withBytes(of: tensor) { TensorMemory(copying: $0) }
        return (memory.bytes, memory)
    }

    /// A small tensor (a norm's weights) as floats.
    ///
    /// - Parameter dimensions: its shape when that is not one row of `count`.
    public func floats(_ name: String, count: Int, dimensions: [Int]? = nil) throws -> [Float] {
        let info = try tensor(name, dimensions ?? [count])
        let (bytes, owner) = try blocks(of: info)
        return withExtendedLifetime(owner) {
            [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
                info.type.decode(
                    bytes, into: UnsafeMutableBufferPointer(start: buffer.baseAddress, count: count))
                initialized = count
            }
        }
    }

    /// A weight matrix of `rows` outputs and `columns` inputs.
    public func matrix(_ name: String, rows: Int, columns: Int) throws -> FrozenTensor {
        let info = try tensor(name, [columns, rows])
        let (bytes, owner) = try blocks(of: info)
        return FrozenTensor(type: info.type, bytes: bytes, rows: rows, columns: columns, owner: owner)
    }

    /// The weights of a norm, and its bias where the file has one.
    func normalization(
        _ name: String, _ kind: Normalization.Kind, epsilon: Float, count: Int, dimensions: [Int]? = nil
    ) throws -> Normalization {
        let bias = kind == .layer && has(name + ".bias")
        return Normalization(
            kind, epsilon: epsilon, weight: try floats(name + ".weight", count: count, dimensions: dimensions),
            bias: bias ? try floats(name + ".bias", count: count, dimensions: dimensions) : nil)
    }

    /// A matrix with its bias, where the file has one.
    func projection(_ name: String, rows: Int, columns: Int, requiresBias: Bool = false) throws -> Projection {
        let weight = try matrix(name + ".weight", rows: rows, columns: columns)
        guard requiresBias || has(name + ".bias") else { return Projection(weight: weight, bias: nil) }
        return Projection(weight: weight, bias: FloatBuffer(try floats(name + ".bias", count: rows)))
    }

    /// Matrices that lie one behind the other in one tensor of three dimensions.
    func stack(_ name: String, count: Int, rows: Int, columns: Int) throws -> [Projection] {
        let info = try tensor(name + ".weight", [columns, rows, count])
        let (bytes, owner) = try blocks(of: info)
        let all = FrozenTensor(type: info.type, bytes: bytes, rows: rows * count, columns: columns, owner: owner)
        return (0..<count).map { Projection(weight: all.slice($0 * rows..<($0 + 1) * rows), bias: nil) }
    }

    /// Refuses a file with tensors of layers that nothing was made of: what they would add is missing in the results.
    ///
    /// - Throws: `ModelError.invalidTensor` naming the first one.
    func checkThatAllLayerTensorsWereTaken(architecture: String) throws {
        // Frequencies that old files repeat in every layer; they follow from the hyperparameters.
        let ignored = [".attn_rot_embd.weight", ".rope_freqs.weight"]
        for tensor in source.tensors where tensor.name.hasPrefix("blk.") && !taken.contains(tensor.name) {
            if ignored.contains(where: tensor.name.hasSuffix) { continue }
            throw ModelError(
                .invalidTensor,
                "tensor \(tensor.name) is none that \(architecture) has; computing without it would give other numbers",
                path: path)
        }
    }
}

/// Blocks that no file holds in this form.
final class TensorMemory: Sendable {
    // Sendable: written in `init` only.
    nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

    init(copying source: UnsafeRawBufferPointer) {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(source.count, 64), alignment: 64)
        memory.copyMemory(from: source)
        bytes = UnsafeRawBufferPointer(rebasing: memory[..<source.count])
    }

    deinit { UnsafeMutableRawBufferPointer(mutating: bytes).deallocate() }
}

/// A weight matrix where the file mapped it, or in memory of its own.
public struct FrozenTensor: Sendable {
    public let type: TensorType
    // Sendable: read-only memory that the model keeps alive, through its file or through `owner`.
    nonisolated(unsafe) public let bytes: UnsafeRawBufferPointer
    public let rows: Int
    public let columns: Int
    let owner: TensorMemory?

    /// A run of the rows.
    func slice(_ range: Range<Int>) -> FrozenTensor {
        let rowBytes = rowByteCount
        return FrozenTensor(
            type: type,
            bytes: UnsafeRawBufferPointer(
                rebasing: bytes[range.lowerBound * rowBytes..<range.upperBound * rowBytes]),
            rows: range.count, columns: columns, owner: owner)
    }

    /// Repacked for the integer kernels.
    public func packed(pool: ThreadPool) throws -> PackedMatrix {
        try PackedMatrix(type: type, rows: rows, columns: columns, bytes: bytes, pool: pool, keepAlive: owner)
    }

    /// One row as floats.
    func decodeRow(_ row: Int, into destination: UnsafeMutablePointer<Float>) {
        let rowBytes = rowByteCount
        type.decode(
            UnsafeRawBufferPointer(rebasing: bytes[row * rowBytes..<(row + 1) * rowBytes]),
            into: UnsafeMutableBufferPointer(start: destination, count: columns))
    }

    /// Bytes of one row.
    var rowByteCount: Int { columns / type.blockSize * type.bytesPerBlock }
}

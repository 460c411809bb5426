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

    /// A small tensor (a norm's weights) as floats.
    ///
    /// - Parameter dimensions: its shape when that is not one row of `count`.
    public func floats(_ name: String, count: Int, dimensions: [Int]? = nil) throws -> [Float] {
        let info = try tensor(name, dimensions ?? [count])
        return try TensorBlocks(source, info).withBytes { bytes in
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
        return FrozenTensor(TensorBlocks(source, info), rows: rows, columns: columns)
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
        let all = FrozenTensor(TensorBlocks(source, info), rows: rows * count, columns: columns)
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

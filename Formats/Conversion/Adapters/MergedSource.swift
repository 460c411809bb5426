import GGUF
import TensorTypes

/// A model with adapters merged into its weights, as a ``ModelSource``: what an adapter changes is F32, W + Σ scale ·
/// B·A summed in double precision; the rest is lent as it is.
public struct MergedSource: ModelSource {
    public let metadata: GGUFMetadata
    public let tensors: [SourceTensor]
    private let source: any ModelSource
    private let originals: [String: SourceTensor]
    private let adapters: [ScaledAdapter]

    public init(_ source: any ModelSource, adapters: [ScaledAdapter]) {
        self.source = source
        self.adapters = adapters
        metadata = source.metadata
        let changed = Set(adapters.flatMap { $0.adapter.pairs.keys })
        tensors = source.tensors.map {
            changed.contains($0.name) ? SourceTensor(name: $0.name, type: .f32, dimensions: $0.dimensions) : $0
        }
        originals = Dictionary(source.tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    public var path: String { source.path }
    /// Without identities: what was computed of the unmerged files must not be taken for this.
    public var files: [SourceFile] { source.files.map { SourceFile(path: $0.path, identity: nil) } }

    public func withBytes<R>(of tensor: SourceTensor, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
        guard let original = originals[tensor.name] else {
            preconditionFailure("\(tensor.name) is no tensor of \(path)")
        }
        guard let pair = ScaledAdapter.stacked(adapters, for: tensor.name) else {
            return try source.withBytes(of: original, body)
        }
        var values = [Float](repeating: 0, count: original.elementCount)
        try source.withBytes(of: original) { bytes in
            values.withUnsafeMutableBufferPointer { original.type.decode(bytes, into: $0) }
        }
        var change = [Double](repeating: 0, count: pair.inputs)
        for row in 0..<pair.outputs {
            for index in change.indices { change[index] = 0 }
            for rank in 0..<pair.rank {
                let factor = Double(pair.up[row * pair.rank + rank])
                if factor == 0 { continue }
                let from = rank * pair.inputs
                for index in change.indices { change[index] += factor * Double(pair.down[from + index]) }
            }
            let at = row * pair.inputs
            for index in change.indices { values[at + index] = Float(Double(values[at + index]) + change[index]) }
        }
        return try values.withUnsafeBytes { try body($0) }
    }
}

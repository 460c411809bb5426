/// The index map of a prompt of gated rows: `(virtualTokenCount, layerCount * (hiddenSize + 1))`.
///
/// For each layer a row as wide as the residual stream, which the layer's own projections turn into a key and a value, and
/// behind it, in the first virtual token, the layer's gate; 0 in the others (LLaMA-Adapter, arXiv 2303.16199). Layers below
/// the adapted ones hold zeros.
public struct AdaptionLayout: Hashable, Sendable {
    public let layerCount: Int
    public let hiddenSize: Int

    public init(_ shape: ModelShape) {
        layerCount = shape.layerCount
        hiddenSize = shape.hiddenSize
    }

    /// Floats of one layer in a virtual token: the row and the gate.
    public var layerColumns: Int { hiddenSize + 1 }
    /// Floats of a virtual token.
    public var columns: Int { layerCount * layerColumns }

    /// Columns of a layer's row.
    public func row(ofLayer layer: Int) -> Range<Int> { layer * layerColumns..<layer * layerColumns + hiddenSize }
    /// Column of a layer's gate.
    public func gate(ofLayer layer: Int) -> Int { layer * layerColumns + hiddenSize }

    /// The lowest layer that holds anything; the highest layer when all is zero.
    public func firstAdaptedLayer(_ values: [Float]) -> Int {
        for layer in 0..<layerCount - 1 {
            let span = layer * layerColumns..<(layer + 1) * layerColumns
            for start in stride(from: 0, to: values.count, by: columns)
            where values[start + span.lowerBound..<start + span.upperBound].contains(where: { $0 != 0 }) {
                return layer
            }
        }
        return layerCount - 1
    }
}

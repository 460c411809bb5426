import Conversion
import Kernels
import Layers

/// What adapters add to one projection: y += B·(A·x), in F32, with all adapters' ranks side by side.
struct LowRankUpdate: Sendable {
    private let down, up: PackedMatrix

    /// - Parameter rows: the projection's rows of a tensor that holds several.
    init(_ pair: LowRankAdapter.Pair, rows: Range<Int>, pool: ThreadPool) throws {
        func matrix(_ values: ArraySlice<Float>, rows: Int, columns: Int) throws -> PackedMatrix {
            try values.withUnsafeBytes {
                try PackedMatrix(type: .f32, rows: rows, columns: columns, bytes: $0, pool: pool)
            }
        }
        down = try matrix(pair.down[...], rows: pair.rank, columns: pair.inputs)
        up = try matrix(
            pair.up[rows.lowerBound * pair.rank..<rows.upperBound * pair.rank], rows: rows.count, columns: pair.rank)
    }

    /// Adds to the products of `input`; a row's result does not depend on the others.
    func apply(
        to input: Activations, rows: Int, into output: UnsafeMutablePointer<Float>, stride: Int,
        workspace: InferenceWorkspace, pool: ThreadPool
    ) {
        let rank = down.rows
        let reduced = workspace.reduced.reserve(rows * rank)
        MatrixProduct.run(
            [ProductJob(down, into: reduced, stride: rank)], input, tokens: rows, rowByRow: true, pool: pool)
        workspace.reducedInput.set(tokens: rows, columns: rank, pool: pool) { row, floats in
            floats.update(from: reduced + row * rank, count: rank)
        }
        MatrixProduct.run(
            [ProductJob(up, into: output, stride: stride, accumulate: true)], workspace.reducedInput, tokens: rows,
            rowByRow: true, pool: pool)
    }
}

/// The updates of one layer.
struct LayerUpdates: Sendable {
    var queries, keys, values, attentionOutput, gate, up, down: LowRankUpdate?

    /// Nil when no adapter changes the layer.
    init?(_ index: Int, _ c: DecoderConfiguration, _ adapters: [ScaledAdapter], pool: ThreadPool) throws {
        var isEmpty = true
        func update(_ part: DecoderTensorNames.Part, _ rows: Range<Int>? = nil) throws -> LowRankUpdate? {
            let name = DecoderTensorNames.layer(index, part) + ".weight"
            guard let pair = ScaledAdapter.stacked(adapters, for: name) else { return nil }
            isEmpty = false
            return try LowRankUpdate(pair, rows: rows ?? 0..<pair.outputs, pool: pool)
        }
        if c.fusesAttention {
            queries = try update(.queriesKeysValues, 0..<c.queryWidth)
            keys = try update(.queriesKeysValues, c.queryWidth..<c.queryWidth + c.keyWidth)
            values = try update(
                .queriesKeysValues, c.queryWidth + c.keyWidth..<c.queryWidth + 2 * c.keyWidth)
        } else {
            queries = try update(.queries)
            keys = try update(.keys)
            values = try update(.values)
        }
        attentionOutput = try update(.attentionOutput)
        if c.gating == .fused {
            gate = try update(.up, 0..<c.feedForwardSize)
            up = try update(.up, c.feedForwardSize..<2 * c.feedForwardSize)
        } else {
            gate = try update(.gate)
            up = try update(.up)
        }
        down = try update(.down)
        if isEmpty { return nil }
    }

    /// The base tensors that updates of a whole model can change.
    static func names(_ c: DecoderConfiguration) -> Set<String> {
        let parts: [DecoderTensorNames.Part] = [
            .queries, .keys, .values, .queriesKeysValues, .attentionOutput, .gate, .up, .down,
        ]
        let layers = (0..<c.layerCount).flatMap { index in
            parts.map { DecoderTensorNames.layer(index, $0) + ".weight" }
        }
        return Set(layers + [DecoderTensorNames.output])
    }
}

import Kernels
import Layers

// The pieces of a layer that rows share, whatever sequence they are of.
extension DecoderModel {
    /// The norm of every row as left sides of products; the rows themselves without a norm.
    func normalize(
        _ x: UnsafePointer<Float>, _ norm: Normalization?, count: Int, refines: Bool = false,
        into activations: Activations
    ) {
        let width = configuration.hiddenSize
        if let norm, norm.kind == .rms {
            activations.setRMSNorm(
                of: x, stride: width, weight: norm.weight.pointer, epsilon: norm.epsilon, tokens: count,
                columns: width, refines: refines, pool: pool)
            return
        }
        activations.set(tokens: count, columns: width, refines: refines, pool: pool) { token, row in
            if let norm {
                norm.forward(x + token * width, into: row, columns: width)
            } else {
                row.update(from: x + token * width, count: width)
            }
        }
    }

    /// x += norm(W·a + b) · residualScale for each row.
    ///
    /// - Parameter waits: leave x as it is and return what is to be added.
    func addBranch(
        _ a: Activations, _ matrix: PackedMatrix, _ update: LowRankUpdate?, _ projection: Projection,
        _ norm: Normalization?,
        to x: UnsafeMutablePointer<Float>, rows: Int, waits: Bool, workspace: InferenceWorkspace
    ) -> UnsafePointer<Float>? {
        let width = configuration.hiddenSize, scale = configuration.residualScale
        if norm == nil, scale == 1, !waits {
            MatrixProduct.run(
                [ProductJob(matrix, into: x, stride: width, accumulate: true)], a, tokens: rows, pool: pool)
            update?.apply(to: a, rows: rows, into: x, stride: width, workspace: workspace, pool: pool)
            if projection.bias != nil { for row in 0..<rows { projection.addBias(x + row * width) } }
            return nil
        }
        let branch = waits ? workspace.waiting.reserve(rows * width) : workspace.branch.reserve(rows * width)
        MatrixProduct.run([ProductJob(matrix, into: branch, stride: width)], a, tokens: rows, pool: pool)
        update?.apply(to: a, rows: rows, into: branch, stride: width, workspace: workspace, pool: pool)
        for row in 0..<rows {
            let line = branch + row * width
            projection.addBias(line)
            norm?.forward(line, into: line, columns: width)
            if scale != 1 { VectorMath.scale(line, by: scale, count: width) }
            if !waits { VectorMath.add(line, into: x + row * width, count: width) }
        }
        return waits ? UnsafePointer(branch) : nil
    }

    /// The activated products of a feed-forward network, in `workspace.feedForward`.
    func runNetwork(
        _ network: FeedForward, _ weights: PackedFeedForward, _ update: LayerUpdates?, _ input: Activations, rows: Int,
        workspace: InferenceWorkspace
    ) {
        let inner = network.innerSize
        let up = workspace.up.reserve(rows * inner)
        guard let gateMatrix = weights.gate, let gateProjection = network.gate else {
            MatrixProduct.run([ProductJob(weights.up, into: up, stride: inner)], input, tokens: rows, pool: pool)
            update?.up?.apply(to: input, rows: rows, into: up, stride: inner, workspace: workspace, pool: pool)
            workspace.feedForward.set(tokens: rows, columns: inner, pool: pool) { token, row in
                network.activate(up + token * inner, into: row)
            }
            return
        }
        let gate = workspace.gate.reserve(rows * inner)
        MatrixProduct.run(
            [
                ProductJob(gateMatrix, into: gate, stride: inner),
                ProductJob(weights.up, into: up, stride: inner),
            ], input, tokens: rows, pool: pool)
        update?.gate?.apply(to: input, rows: rows, into: gate, stride: inner, workspace: workspace, pool: pool)
        update?.up?.apply(to: input, rows: rows, into: up, stride: inner, workspace: workspace, pool: pool)
        if network.activation == .silu, gateProjection.bias == nil, network.up.bias == nil {
            workspace.feedForward.setSwiGLU(
                gate: gate, up: up, stride: inner, tokens: rows, columns: inner, pool: pool)
            return
        }
        workspace.feedForward.set(tokens: rows, columns: inner, pool: pool) { token, row in
            gateProjection.addBias(gate + token * inner)
            network.up.addBias(up + token * inner)
            network.activation.forward(gate: gate + token * inner, up: up + token * inner, into: row, count: inner)
        }
    }
}

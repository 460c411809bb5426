import Kernels
import Layers

// The forward pass of `DecoderGraph`, which keeps what the backward pass needs.
extension DecoderGraph {
    /// - Parameter end: the first layer that is left out; nil runs them all, the last for rows that carry loss only.
    func forwardLayers(_ batch: PackedBatch, _ prompt: PromptView, to end: Int? = nil) {
        let rows = batch.rowCount, width = c.hiddenSize
        let x = scratch.hidden.reserve(rows * width)
        if batch.firstLayer > 0 {
            var row = 0
            for rows in batch.activations {
                rows.withUnsafeBufferPointer { (x + row * width).update(from: $0.baseAddress!, count: rows.count) }
                row += rows.count / width
            }
        } else {
            enterTokens(batch, prompt, x)
        }
        for index in batch.firstLayer..<(end ?? c.layerCount) {
            forwardAttention(index, batch, prompt, x)
            forwardFeedForward(index, count: index == c.layerCount - 1 ? batch.lossRows.count : rows, x)
        }
    }

    /// Embeddings of virtual tokens and tokens, as the first layer takes them.
    private func enterTokens(_ batch: PackedBatch, _ prompt: PromptView, _ x: UnsafeMutablePointer<Float>) {
        let rows = batch.rowCount, width = c.hiddenSize
        if case .embeddings(let values, let count) = prompt { x.update(from: values, count: count * width) }
        let model = self.model
        forRows(batch.tokens.count) { row in
            model.embedding(of: batch.tokens[row], into: x + (batch.virtualRows + row) * width)
        }
        if model.changesInput {
            let width = self.c.hiddenSize
            let positions = scratch.normed.reserve(rows * width)
            forRows(rows) { row in
                model.enter(x + row * width, position: batch.positions[row], scratch: positions + row * width)
            }
        }
    }

    /// x += attention(norm(x)); in the last layer x shrinks to the rows that carry loss.
    private func forwardAttention(
        _ index: Int, _ batch: PackedBatch, _ prompt: PromptView, _ x: UnsafeMutablePointer<Float>
    ) {
        let isLast = index == c.layerCount - 1
        let rows = batch.rowCount, width = c.hiddenSize, d = c.headDimension
        let layer = model.layers[index], matrices = weights[index]
        let plan = isLast ? batch.lastPlan : batch.plan
        let queryWidth = self.queryWidth, keyWidth = self.keyWidth
        let input = saved[index].input.reserve(rows * width)
        input.update(from: x, count: rows * width)
        let normed = scratch.normed.reserve(rows * width)
        normalize(input, layer.attentionNorm, count: rows, into: normed)
        observe(
            index, c.fusesAttention ? [.queriesKeysValues] : [.queries, .keys, .values], normed, count: rows,
            columns: width)
        let projectedWidth = queryWidth + 2 * keyWidth
        let projected = scratch.projected.reserve(rows * projectedWidth)
        let q = saved[index].queries.reserve(plan.queryCount * queryWidth)
        let k = saved[index].keys.reserve(rows * keyWidth)
        let v = saved[index].values.reserve(rows * keyWidth)
        let plainQueries = layer.queryNorm.map { _ in saved[index].plainQueries.reserve(plan.queryCount * queryWidth) }
        let plainKeys = layer.keyNorm.map { _ in saved[index].plainKeys.reserve(rows * keyWidth) }
        let firstKeyRow = queryWidth
        if isLast {
            let lossNormed = scratch.activated.reserve(max(plan.queryCount, 1) * width)
            for (target, row) in batch.lossRows.enumerated() {
                (lossNormed + target * width).update(from: normed + row * width, count: width)
            }
            let lossQueries = scratch.attendedRows.reserve(plan.queryCount * queryWidth)
            matrices.queriesKeysValues.forward(
                lossNormed, count: plan.queryCount, rows: 0..<firstKeyRow, into: lossQueries, yStride: queryWidth,
                scratch: &scratch.weights, pool: pool)
            matrices.queriesKeysValues.forward(
                normed, count: rows, rows: firstKeyRow..<projectedWidth, into: projected + firstKeyRow,
                yStride: projectedWidth, scratch: &scratch.weights, pool: pool)
            forRows(plan.queryCount) { [self] row in
                placeQueries(
                    lossQueries + row * queryWidth, layer: index, row: row, of: plan.queryCount,
                    position: batch.positions[batch.lossRows[row]], plain: plainQueries, into: q)
            }
        } else {
            let packed = model.packed[index]
            let isDone = integerProducts(
                normed, count: rows, columns: width,
                [
                    ProductJob(packed.queries, into: projected, stride: projectedWidth),
                    ProductJob(packed.keys, into: projected + queryWidth, stride: projectedWidth),
                    ProductJob(packed.values, into: projected + queryWidth + keyWidth, stride: projectedWidth),
                ])
            if !isDone {
                matrices.queriesKeysValues.forward(
                    normed, count: rows, into: projected, yStride: projectedWidth, scratch: &scratch.weights, pool: pool
                )
            }
            forRows(rows) { [self] row in
                placeQueries(
                    projected + row * projectedWidth, layer: index, row: row, of: rows,
                    position: batch.positions[row], plain: plainQueries, into: q)
            }
        }
        let heads = c.keyValueHeadCount, rotary = rotation(of: index)
        forRows(rows) { row in
            let keyRow = projected + row * projectedWidth + firstKeyRow
            layer.keys.addBias(keyRow)
            layer.values.addBias(keyRow + keyWidth)
            if let plainKeys { (plainKeys + row * keyWidth).update(from: keyRow, count: keyWidth) }
            layer.keyNorm?.forward(keyRow)
            rotary?.forward(keyRow, heads: heads, headDimension: d, position: batch.positions[row])
            for head in 0..<heads {
                (k + (head * rows + row) * d).update(from: keyRow + head * d, count: d)
                (v + (head * rows + row) * d).update(from: keyRow + keyWidth + head * d, count: d)
            }
        }
        let attended = scratch.attended.reserve(plan.queryCount * queryWidth)
        let weightCount = heads * plan.weightsPerHead
        attention.forward(
            plan, queries: q, keys: k, values: v,
            prefix: prefix(of: prompt, layer: index, keys: k, values: v, rows: rows), window: c.windows[index],
            weights: saved[index].attention.reserve(weightCount),
            slopes: c.attentionSoftCap > 0 ? saved[index].slopes.reserve(weightCount) : nil, output: attended,
            pool: pool)
        forwardGated(index, plan, prompt, queries: q, into: attended)
        let attendedRows = scratch.attendedRows.reserve(plan.queryCount * queryWidth)
        let group = attention.group
        forRows(plan.queryCount) { row in
            for head in 0..<heads {
                (attendedRows + row * queryWidth + head * group * d).update(
                    from: attended + (head * plan.queryCount + row) * group * d, count: group * d)
            }
        }
        observe(index, [.attentionOutput], attendedRows, count: plan.queryCount, columns: queryWidth)
        let added = scratch.activated.reserve(plan.queryCount * width)
        let isProjected = integerProducts(
            attendedRows, count: plan.queryCount, columns: queryWidth,
            [ProductJob(model.packed[index].attentionOutput, into: added, stride: width)])
        if !isProjected {
            matrices.attentionOutput.forward(
                attendedRows, count: plan.queryCount, into: added, yStride: width, scratch: &scratch.weights, pool: pool
            )
        }
        let unnormed = layer.postAttentionNorm.map { _ in
            saved[index].attentionBranch.reserve(plan.queryCount * width)
        }
        let middle = saved[index].middle.reserve(plan.queryCount * width)
        forRows(plan.queryCount) { [self] row in
            let source = input + (isLast ? batch.lossRows[row] : row) * width
            (middle + row * width).update(from: source, count: width)
            (x + row * width).update(from: source, count: width)
            layer.attentionOutput.addBias(added + row * width)
            finishBranch(added + row * width, layer.postAttentionNorm, unnormed: unnormed.map { $0 + row * width })
            VectorMath.add(added + row * width, into: x + row * width, count: width)
            // A parallel feed-forward reads the layer's input.
            if !layer.isParallel { (middle + row * width).update(from: x + row * width, count: width) }
        }
    }

    /// Norm and scale of what a branch adds, keeping what the norm's gradient needs.
    func finishBranch(
        _ row: UnsafeMutablePointer<Float>, _ norm: Normalization?, unnormed: UnsafeMutablePointer<Float>?
    ) {
        let width = c.hiddenSize
        if let norm, let unnormed {
            unnormed.update(from: row, count: width)
            norm.forward(unnormed, into: row, columns: width)
        }
        if c.residualScale != 1 { VectorMath.scale(row, by: c.residualScale, count: width) }
    }

    /// The norm of every row, or the rows themselves without one.
    func normalize(
        _ x: UnsafePointer<Float>, _ norm: Normalization?, count: Int, into out: UnsafeMutablePointer<Float>
    ) {
        let width = c.hiddenSize
        guard let norm else {
            out.update(from: x, count: count * width)
            return
        }
        forRows(count) { row in norm.forward(x + row * width, into: out + row * width, columns: width) }
    }

    /// The rotation of a layer, nil in layers without positions.
    func rotation(of layer: Int) -> RotaryEmbedding? { c.layerRotations[layer].map { tables[$0] } }

    /// Bias, norm and rotation of one row of queries, then spread over `(keyValueHead, row, groupHead, headDimension)`.
    private func placeQueries(
        _ source: UnsafeMutablePointer<Float>, layer index: Int, row: Int, of count: Int, position: Int,
        plain: UnsafeMutablePointer<Float>?, into q: UnsafeMutablePointer<Float>
    ) {
        let d = c.headDimension, group = attention.group
        let layer = model.layers[index]
        layer.queries.addBias(source)
        if let plain { (plain + row * queryWidth).update(from: source, count: queryWidth) }
        layer.queryNorm?.forward(source)
        rotation(of: index)?.forward(source, heads: c.headCount, headDimension: d, position: position)
        for head in 0..<c.keyValueHeadCount {
            (q + (head * count + row) * group * d).update(from: source + head * group * d, count: group * d)
        }
    }

    /// Shows an observer, if there is one, what enters the products with some of a layer's weights.
    func observe(
        _ layer: Int, _ parts: [DecoderTensorNames.Part], expert: (index: Int, count: Int) = (0, 1),
        _ rows: UnsafePointer<Float>, count: Int, columns: Int
    ) {
        guard let activationObserver else { return }
        activationObserver.observe(
            parts.map { DecoderTensorNames.layer(layer, $0) + ".weight" }, matrix: expert, rows, count: count,
            columns: columns)
    }

    /// Products on the integer path, where that is asked for; false leaves the work to the float path.
    func integerProducts(
        _ x: UnsafePointer<Float>, count: Int, columns: Int, _ jobs: [ProductJob]
    ) -> Bool {
        guard precision.hasIntegerForward, count > 0, !jobs.isEmpty else { return false }
        activations.reserve(tokens: count, columns: columns)
        activations.floats.update(from: x, count: count * columns)
        activations.quantize(tokens: count, columns: columns, pool: pool)
        MatrixProduct.run(jobs, activations, tokens: count, pool: pool)
        return true
    }

    /// Where the shared prefix's keys and values of a layer lie.
    func prefix(
        of prompt: PromptView, layer: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>, rows: Int
    ) -> PackedAttention.Prefix? {
        switch prompt {
        case .none, .adaptionPrompt: return nil
        case .embeddings:
            return .init(keys: keys, values: values, headStride: rows * c.headDimension)
        case .keysAndValues(let base, let count):
            let plane = c.keyValueHeadCount * count * c.headDimension
            return .init(
                keys: base + 2 * layer * plane, values: base + (2 * layer + 1) * plane,
                headStride: count * c.headDimension)
        }
    }
}

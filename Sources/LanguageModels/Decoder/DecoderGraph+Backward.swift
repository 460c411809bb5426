import Kernels
import Layers

// The backward pass, layer by layer from the last: the mirror of `DecoderGraph`'s forward pass.
extension DecoderGraph {
    /// Propagates `scratch.lossGradient` down to the prompt; overwrites `gradient`.
    func backwardLayers(_ batch: PackedBatch, _ prompt: PromptView, _ gradient: UnsafeMutablePointer<Float>) {
        let rows = batch.rowCount, width = c.hiddenSize
        if case .keysAndValues(_, let count) = prompt {
            gradient.update(repeating: 0, count: count * shape.keyValueElementsPerToken)
        }
        if case .adaptionPrompt(_, let count) = prompt {
            gradient.update(repeating: 0, count: count * shape.valuesPerVirtualToken(.adaptionPrompt))
        }
        // dX: gradient at the output of the layer at hand, for the rows it has.
        let dX = scratch.gradient.reserve(rows * width)
        let lossGradient = scratch.lossGradient.pointer
        for index in stride(from: c.layerCount - 1, through: batch.firstLayer, by: -1) {
            let isLast = index == c.layerCount - 1
            let current = isLast ? lossGradient : dX
            let count = isLast ? batch.lossRows.count : rows
            backwardFeedForward(index, count: count, current)
            backwardAttention(index, batch, prompt, current, dX, gradient)
        }
        if case .embeddings(_, let count) = prompt {
            gradient.update(from: dX, count: count * width)
            if c.inputScale != 1 { VectorMath.scale(gradient, by: c.inputScale, count: count * width) }
        }
    }

    /// From the gradient after attention (`current`, one row per query) to the gradient at the layer's input (`dX`, every
    /// row), adding to the prefix's gradient on the way.
    private func backwardAttention(
        _ index: Int, _ batch: PackedBatch, _ prompt: PromptView, _ current: UnsafeMutablePointer<Float>,
        _ dX: UnsafeMutablePointer<Float>, _ gradient: UnsafeMutablePointer<Float>
    ) {
        let isLast = index == c.layerCount - 1
        let rows = batch.rowCount, width = c.hiddenSize, d = c.headDimension
        let layer = model.layers[index]
        let plan = isLast ? batch.lastPlan : batch.plan
        let queryCount = plan.queryCount, heads = c.keyValueHeadCount, group = attention.group
        let matrices = weights[index]
        let queryWidth = self.queryWidth, keyWidth = self.keyWidth
        var dBranch = UnsafePointer(current)
        if layer.postAttentionNorm != nil || c.residualScale != 1 {
            dBranch = UnsafePointer(
                backwardBranch(
                    current, layer.postAttentionNorm, unnormed: saved[index].attentionBranch.pointer,
                    count: queryCount))
        }
        let dAttendedRows = scratch.attendedRows.reserve(queryCount * queryWidth)
        matrices.attentionOutput.backward(
            dBranch, count: queryCount, dYStride: width, into: dAttendedRows, accumulate: false,
            integers: gradientIntegers,
            scratch: &scratch.weights, pool: pool)
        let dAttended = scratch.attended.reserve(queryCount * queryWidth)
        forRows(queryCount) { row in
            for head in 0..<heads {
                (dAttended + (head * queryCount + row) * group * d).update(
                    from: dAttendedRows + row * queryWidth + head * group * d, count: group * d)
            }
        }
        let q = saved[index].queries.pointer, k = saved[index].keys.pointer, v = saved[index].values.pointer
        let dQ = scratch.dQueries.reserve(queryCount * queryWidth)
        let dK = scratch.dKeys.reserve(rows * keyWidth)
        let dV = scratch.dValues.reserve(rows * keyWidth)
        let prefixGradient: PackedAttention.PrefixGradient? =
            switch prompt {
            case .none, .adaptionPrompt: nil
            case .embeddings: .init(keys: dK, values: dV, headStride: rows * d)
            case .keysAndValues(_, let count):
                .init(
                    keys: gradient + 2 * index * heads * count * d,
                    values: gradient + (2 * index + 1) * heads * count * d,
                    headStride: count * d)
            }
        attention.backward(
            plan, queries: q, keys: k, values: v,
            prefix: prefix(of: prompt, layer: index, keys: k, values: v, rows: rows),
            weights: saved[index].attention.pointer,
            slopes: c.attentionSoftCap > 0 ? UnsafePointer(saved[index].slopes.pointer) : nil, dOutput: dAttended,
            dWeights: scratch.dAttention.reserve(heads * plan.weightsPerHead), dQueries: dQ, dKeys: dK, dValues: dV,
            prefixGradient: prefixGradient, pool: pool)
        backwardGated(index, plan, prompt, queries: q, dOutput: dAttended, dQueries: dQ, gradient)

        // Rows of the input whose gradient anyone needs: below the first layer only trained embeddings lie.
        let needed = index == batch.firstLayer ? batch.virtualRows : rows
        if needed == 0 { return }
        let projectedWidth = queryWidth + 2 * keyWidth
        let dProjected = scratch.projected.reserve(max(rows, queryCount) * projectedWidth)
        // A row's worth for each row: the gradient before a norm of queries or keys needs a copy.
        let copies = scratch.dHeads.reserve(max(rows, queryCount) * queryWidth)
        let rotary = rotation(of: index), headCount = c.headCount
        let plainQueries = saved[index].plainQueries.pointer, plainKeys = saved[index].plainKeys.pointer
        forRows(needed) { row in
            let keyRow = dProjected + row * projectedWidth + queryWidth
            for head in 0..<heads {
                (keyRow + head * d).update(from: dK + (head * rows + row) * d, count: d)
                (keyRow + keyWidth + head * d).update(from: dV + (head * rows + row) * d, count: d)
            }
            rotary?.backward(keyRow, heads: heads, headDimension: d, position: batch.positions[row])
            layer.keyNorm?.backward(plainKeys + row * keyWidth, gradient: keyRow, scratch: copies + row * queryWidth)
        }
        /// Collects the query gradient of one row and turns it back.
        func collectQueries(_ row: Int, position: Int, into target: UnsafeMutablePointer<Float>) {
            for head in 0..<heads {
                (target + head * group * d).update(
                    from: dQ + (head * queryCount + row) * group * d, count: group * d)
            }
            rotary?.backward(target, heads: headCount, headDimension: d, position: position)
            layer.queryNorm?.backward(
                plainQueries + row * queryWidth, gradient: target, scratch: copies + row * queryWidth)
        }
        let dNormed = scratch.normed.reserve(rows * width)
        let dParallel = layer.isParallel ? UnsafePointer(scratch.dParallel.pointer) : nil
        if isLast {
            matrices.queriesKeysValues.backward(
                dProjected + queryWidth, count: needed, dYStride: projectedWidth, rows: queryWidth..<projectedWidth,
                into: dNormed, accumulate: false, integers: gradientIntegers, scratch: &scratch.weights, pool: pool)
            let lossQueries = dAttendedRows
            forRows(queryCount) { row in
                collectQueries(
                    row, position: batch.positions[batch.lossRows[row]], into: lossQueries + row * queryWidth)
            }
            let lossNormed = scratch.activated.reserve(queryCount * width)
            matrices.queriesKeysValues.backward(
                lossQueries, count: queryCount, dYStride: queryWidth, rows: 0..<queryWidth, into: lossNormed,
                accumulate: false, integers: gradientIntegers, scratch: &scratch.weights, pool: pool)
            // The residual path and the queries reach only the rows that carry loss; a row may do so more than once.
            dX.update(repeating: 0, count: needed * width)
            for (source, row) in batch.lossRows.enumerated() where row < needed {
                VectorMath.add(lossNormed + source * width, into: dNormed + row * width, count: width)
                VectorMath.add(current + source * width, into: dX + row * width, count: width)
                if let dParallel { VectorMath.add(dParallel + source * width, into: dX + row * width, count: width) }
            }
        } else {
            forRows(needed) { row in
                collectQueries(row, position: batch.positions[row], into: dProjected + row * projectedWidth)
            }
            matrices.queriesKeysValues.backward(
                dProjected, count: needed, dYStride: projectedWidth, into: dNormed, accumulate: false,
                integers: gradientIntegers,
                scratch: &scratch.weights, pool: pool)
            if let dParallel { VectorMath.add(dParallel, into: dX, count: needed * width) }
        }
        backwardNormalization(saved[index].input.pointer, layer.attentionNorm, dNormed, count: needed, into: dX)
    }
}

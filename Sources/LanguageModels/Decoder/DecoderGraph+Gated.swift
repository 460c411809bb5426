import Kernels
import Layers

// Adaption prompts in training: a second attention over the prompt's own keys and values, and its gradient.
extension DecoderGraph {
    /// What the backward pass needs of a layer's second attention.
    struct SavedGated {
        /// Keys before their norm, `(token, keyWidth)`.
        var plainKeys = GrowableBuffer()
        /// `(head, token, headDimension)`.
        var keys = GrowableBuffer()
        var values = GrowableBuffer()
        var weights = GrowableBuffer()
        var slopes = GrowableBuffer()
        /// Before the gate, in the queries' layout.
        var output = GrowableBuffer()
    }

    /// Memory that lives within a layer only.
    struct GatedScratch {
        var rows = GrowableBuffer()
        var projected = GrowableBuffer()
        var dOutput = GrowableBuffer()
        var dWeights = GrowableBuffer()
        var dQueries = GrowableBuffer()
        var dKeys = GrowableBuffer()
        var dValues = GrowableBuffer()
        var copy = GrowableBuffer()
    }

    /// output += gate · attention over the prompt's rows of this layer; queries and output as `PackedAttention` has them.
    func forwardGated(
        _ index: Int, _ plan: AttentionPlan, _ prompt: PromptView, queries: UnsafePointer<Float>,
        into output: UnsafeMutablePointer<Float>
    ) {
        guard case .adaptionPrompt(let values, let count) = prompt else { return }
        let width = c.hiddenSize, keyWidth = self.keyWidth, d = c.headDimension
        let rows = gatedScratch.rows.reserve(count * width)
        for token in 0..<count {
            (rows + token * width).update(from: values + gatedColumn(index, token), count: width)
        }
        let projected = gatedScratch.projected.reserve(count * 2 * keyWidth)
        if precision.hasIntegerForward {
            model.projectGated(index, rows, count: count, into: projected, activations: activations, nil)
        } else {
            weights[index].queriesKeysValues.forward(
                rows, count: count, rows: queryWidth..<queryWidth + 2 * keyWidth, into: projected,
                yStride: 2 * keyWidth, scratch: &scratch.weights, pool: pool)
        }
        let plain = gated[index].plainKeys.reserve(count * keyWidth)
        let k = gated[index].keys.reserve(count * keyWidth), v = gated[index].values.reserve(count * keyWidth)
        model.placeGated(index, projected, count: count, keys: k, values: v, plain: plain)
        let own = AttentionPlan(of: plan, seeingOnly: count, group: attention.group)
        let weightCount = c.keyValueHeadCount * own.weightsPerHead
        let added = gated[index].output.reserve(plan.queryCount * queryWidth)
        attention.forward(
            own, queries: queries, keys: UnsafePointer(k), values: UnsafePointer(v),
            prefix: .init(keys: k, values: v, headStride: count * d),
            weights: gated[index].weights.reserve(weightCount),
            slopes: c.attentionSoftCap > 0 ? gated[index].slopes.reserve(weightCount) : nil, output: added, pool: pool)
        VectorMath.axpy(
            values[gatedColumn(index, 0) + width], added, into: output, count: plan.queryCount * queryWidth)
    }

    /// Adds to the queries' gradient and sets the layer's part of the prompt's.
    func backwardGated(
        _ index: Int, _ plan: AttentionPlan, _ prompt: PromptView, queries: UnsafePointer<Float>,
        dOutput: UnsafePointer<Float>, dQueries: UnsafeMutablePointer<Float>, _ gradient: UnsafeMutablePointer<Float>
    ) {
        guard case .adaptionPrompt(let values, let count) = prompt else { return }
        let width = c.hiddenSize, keyWidth = self.keyWidth, d = c.headDimension
        let elements = plan.queryCount * queryWidth
        let gate = values[gatedColumn(index, 0) + width]
        let dGate = VectorMath.dot(dOutput, gated[index].output.pointer, count: elements)
        let dO = gatedScratch.dOutput.reserve(elements)
        dO.update(from: dOutput, count: elements)
        VectorMath.scale(dO, by: gate, count: elements)
        let own = AttentionPlan(of: plan, seeingOnly: count, group: attention.group)
        let k = gated[index].keys.pointer, v = gated[index].values.pointer
        let dK = gatedScratch.dKeys.reserve(count * keyWidth), dV = gatedScratch.dValues.reserve(count * keyWidth)
        dK.update(repeating: 0, count: count * keyWidth)
        dV.update(repeating: 0, count: count * keyWidth)
        let dQ = gatedScratch.dQueries.reserve(elements)
        attention.backward(
            own, queries: queries, keys: UnsafePointer(k), values: UnsafePointer(v),
            prefix: .init(keys: k, values: v, headStride: count * d), weights: gated[index].weights.pointer,
            slopes: c.attentionSoftCap > 0 ? UnsafePointer(gated[index].slopes.pointer) : nil, dOutput: dO,
            dWeights: gatedScratch.dWeights.reserve(c.keyValueHeadCount * own.weightsPerHead), dQueries: dQ, dKeys: dK,
            dValues: dV, prefixGradient: .init(keys: dK, values: dV, headStride: count * d), pool: pool)
        VectorMath.add(dQ, into: dQueries, count: elements)
        let dProjected = gatedScratch.projected.reserve(count * 2 * keyWidth)
        let copy = gatedScratch.copy.reserve(keyWidth)
        for token in 0..<count {
            let row = dProjected + token * 2 * keyWidth
            for head in 0..<c.keyValueHeadCount {
                (row + head * d).update(from: dK + (head * count + token) * d, count: d)
                (row + keyWidth + head * d).update(from: dV + (head * count + token) * d, count: d)
            }
            model.layers[index].keyNorm?.backward(
                gated[index].plainKeys.pointer + token * keyWidth, gradient: row, scratch: copy)
        }
        let dRows = gatedScratch.rows.reserve(count * width)
        weights[index].queriesKeysValues.backward(
            dProjected, count: count, dYStride: 2 * keyWidth, rows: queryWidth..<queryWidth + 2 * keyWidth, into: dRows,
            accumulate: false, integers: gradientIntegers, scratch: &scratch.weights, pool: pool)
        for token in 0..<count {
            let target = gradient + gatedColumn(index, token)
            target.update(from: dRows + token * width, count: width)
            target[width] = token == 0 ? dGate : 0
        }
    }

    /// Where a layer's row of a virtual token begins.
    private func gatedColumn(_ layer: Int, _ token: Int) -> Int {
        (token * c.layerCount + layer) * (c.hiddenSize + 1)
    }
}

import Kernels
import Layers

/// The differentiable form of a llama-family model: F32 activations, frozen weights, gradients for the prompt only.
///
/// What is spent and what is not (the whole point of a trainer for soft prompts):
/// - virtual tokens are computed once a step, not once an example (`PackedBatch`);
/// - examples are packed without padding;
/// - logits exist only where there is loss, and so do the last layer's queries and feed-forward;
/// - no gradient is formed for any weight, so neither normalised inputs nor feed-forward products are kept;
/// - the first layer's input gradient is formed for virtual rows only, and not at all for prefix tuning.
/// Nothing of it is an approximation.
final class LlamaGraph: ObservableModel {
    /// A layer's weights as stacked float matrices.
    struct Weights {
        let queriesKeysValues, attentionOutput, gateUp, down: FrozenMatrix
    }

    /// What a layer's backward pass needs of its forward pass.
    struct Saved {
        var input = GrowableBuffer()
        var queries = GrowableBuffer()
        var keys = GrowableBuffer()
        var values = GrowableBuffer()
        var attention = GrowableBuffer()
        var middle = GrowableBuffer()
        var gateUp = GrowableBuffer()
    }

    /// Memory that lives within a layer only.
    struct Scratch {
        var hidden = GrowableBuffer()
        var gradient = GrowableBuffer()
        var lossGradient = GrowableBuffer()
        var normed = GrowableBuffer()
        var projected = GrowableBuffer()
        var attended = GrowableBuffer()
        var attendedRows = GrowableBuffer()
        var activated = GrowableBuffer()
        var dGateUp = GrowableBuffer()
        var dQueries = GrowableBuffer()
        var dKeys = GrowableBuffer()
        var dValues = GrowableBuffer()
        var dAttention = GrowableBuffer()
        var logits = GrowableBuffer()
        var weights = GrowableBuffer()
        var rowLoss = GrowableBuffer()
    }

    let model: LlamaModel
    let c: LlamaConfiguration
    let pool: ThreadPool
    let weights: [Weights]
    let output: FrozenMatrix
    let attention: PackedAttention
    var saved: [Saved]
    var scratch = Scratch()
    let keepsFloats: Bool
    var forwardPrecision = ForwardPrecision.float
    var activationObserver: (any ActivationObserver)?
    /// Left sides of integer products.
    private let activations = Activations()

    var shape: DecoderShape { model.shape }
    var queryWidth: Int { c.headCount * c.headDimension }
    var keyWidth: Int { c.keyValueHeadCount * c.headDimension }

    init(_ model: LlamaModel, weightsMemory: WeightsMemory) {
        self.model = model
        c = model.configuration
        pool = model.pool
        let width = c.hiddenSize
        let pool = self.pool
        let layerElements = model.layers.reduce(model.outputTensor.rows * width) { total, layer in
            [layer.queries, layer.keys, layer.values, layer.attentionOutput, layer.gate, layer.up, layer.down]
                .reduce(total) { $0 + $1.rows * $1.columns }
        }
        let keep =
            switch weightsMemory {
            case .float: true
            case .tiles: false
            case .auto: layerElements * MemoryLayout<Float>.stride <= SystemMemory.available / 2
            }
        keepsFloats = keep
        func part(_ tensor: FrozenTensor) -> FrozenMatrix.Part {
            FrozenMatrix.Part(type: tensor.info.type, rows: tensor.rows, bytes: tensor.bytes)
        }
        func matrix(_ tensors: FrozenTensor...) -> FrozenMatrix {
            FrozenMatrix(parts: tensors.map(part), columns: tensors[0].columns, keepFloats: keep, pool: pool)
        }
        weights = model.layers.map { layer in
            Weights(
                queriesKeysValues: matrix(layer.queries, layer.keys, layer.values),
                attentionOutput: matrix(layer.attentionOutput), gateUp: matrix(layer.gate, layer.up),
                down: matrix(layer.down))
        }
        output = matrix(model.outputTensor)
        attention = PackedAttention(
            keyValueHeadCount: c.keyValueHeadCount, group: c.headCount / c.keyValueHeadCount,
            headDimension: c.headDimension, scale: c.attentionScale)
        saved = Array(repeating: Saved(), count: c.layerCount)
    }

    var residentByteCount: Int {
        guard keepsFloats else { return 0 }
        return weights.reduce(output.floatByteCount) {
            $0 + $1.queriesKeysValues.floatByteCount + $1.attentionOutput.floatByteCount + $1.gateUp.floatByteCount
                + $1.down.floatByteCount
        }
    }

    func loss(
        of batch: TrainingBatch, prompt: PromptView, gradient: UnsafeMutablePointer<Float>?
    ) throws -> BatchLoss {
        let packed = try PackedBatch(
            batch, prompt: prompt, group: attention.group, vocabularySize: c.vocabularySize)
        model.rotary.prepare(positions: (packed.positions.max() ?? 0) + 1)
        forwardLayers(packed, prompt)
        let loss = head(packed, wantsGradient: gradient != nil)
        if let gradient { backwardLayers(packed, prompt, gradient) }
        return BatchLoss(loss: loss / Double(packed.targets.count), targetCount: packed.targets.count)
    }

    // MARK: - Forward

    private func forwardLayers(_ batch: PackedBatch, _ prompt: PromptView) {
        let rows = batch.rowCount, width = c.hiddenSize
        let x = scratch.hidden.reserve(rows * width)
        if case .embeddings(let rows, let count) = prompt { x.update(from: rows, count: count * width) }
        let model = self.model
        forRows(batch.tokens.count) { row in
            model.embedding(of: batch.tokens[row], into: x + (batch.virtualRows + row) * width)
        }
        for index in 0..<c.layerCount {
            forwardAttention(index, batch, prompt, x)
            forwardFeedForward(index, count: index == c.layerCount - 1 ? batch.lossRows.count : rows, x)
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
        let norm = UnsafePointer(layer.attentionNorm.pointer), epsilon = c.epsilon
        forRows(rows) { row in
            VectorMath.rmsNorm(
                input + row * width, weight: norm, epsilon: epsilon, into: normed + row * width, columns: width)
        }
        observe(index, [.queries, .keys, .values], normed, count: rows, columns: width)
        let projectedWidth = queryWidth + 2 * keyWidth
        let projected = scratch.projected.reserve(rows * projectedWidth)
        let q = saved[index].queries.reserve(plan.queryCount * queryWidth)
        let k = saved[index].keys.reserve(rows * keyWidth)
        let v = saved[index].values.reserve(rows * keyWidth)
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
                    lossQueries + row * queryWidth, row: row, of: plan.queryCount,
                    position: batch.positions[batch.lossRows[row]], into: q)
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
                    projected + row * projectedWidth, row: row, of: rows, position: batch.positions[row], into: q)
            }
        }
        let heads = c.keyValueHeadCount, rotary = model.rotary
        forRows(rows) { row in
            let keyRow = projected + row * projectedWidth + firstKeyRow
            rotary.forward(keyRow, heads: heads, headDimension: d, position: batch.positions[row])
            for head in 0..<heads {
                (k + (head * rows + row) * d).update(from: keyRow + head * d, count: d)
                (v + (head * rows + row) * d).update(from: keyRow + keyWidth + head * d, count: d)
            }
        }
        let attended = scratch.attended.reserve(plan.queryCount * queryWidth)
        attention.forward(
            plan, queries: q, keys: k, values: v,
            prefix: prefix(of: prompt, layer: index, keys: k, values: v, rows: rows),
            weights: saved[index].attention.reserve(heads * plan.weightsPerHead), output: attended, pool: pool)
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
        let middle = saved[index].middle.reserve(plan.queryCount * width)
        forRows(plan.queryCount) { row in
            let source = input + (isLast ? batch.lossRows[row] : row) * width
            (middle + row * width).update(from: source, count: width)
            VectorMath.add(added + row * width, into: middle + row * width, count: width)
            (x + row * width).update(from: middle + row * width, count: width)
        }
    }

    /// Rotates one row of queries and spreads it over `(keyValueHead, row, groupHead, headDimension)`.
    private func placeQueries(
        _ source: UnsafeMutablePointer<Float>, row: Int, of count: Int, position: Int,
        into q: UnsafeMutablePointer<Float>
    ) {
        let d = c.headDimension, group = attention.group
        model.rotary.forward(source, heads: c.headCount, headDimension: d, position: position)
        for head in 0..<c.keyValueHeadCount {
            (q + (head * count + row) * group * d).update(from: source + head * group * d, count: group * d)
        }
    }

    /// x += down(silu(gate(norm(x))) ∘ up(norm(x))).
    private func forwardFeedForward(_ index: Int, count: Int, _ x: UnsafeMutablePointer<Float>) {
        let width = c.hiddenSize, inner = c.feedForwardSize
        let matrices = weights[index]
        let middle = saved[index].middle.pointer
        let normed = scratch.normed.reserve(count * width)
        let norm = UnsafePointer(model.layers[index].feedForwardNorm.pointer), epsilon = c.epsilon
        forRows(count) { row in
            VectorMath.rmsNorm(
                middle + row * width, weight: norm, epsilon: epsilon, into: normed + row * width, columns: width)
        }
        observe(index, [.gate, .up], normed, count: count, columns: width)
        let gateUp = saved[index].gateUp.reserve(count * 2 * inner)
        let packed = model.packed[index]
        let isDone = integerProducts(
            normed, count: count, columns: width,
            [
                ProductJob(packed.gate, into: gateUp, stride: 2 * inner),
                ProductJob(packed.up, into: gateUp + inner, stride: 2 * inner),
            ])
        if !isDone {
            matrices.gateUp.forward(
                normed, count: count, into: gateUp, yStride: 2 * inner, scratch: &scratch.weights, pool: pool)
        }
        let activated = scratch.activated.reserve(count * inner)
        forRows(count) { row in
            let gate = gateUp + row * 2 * inner
            VectorMath.swiGLU(gate: gate, up: gate + inner, into: activated + row * inner, count: inner)
        }
        observe(index, [.down], activated, count: count, columns: inner)
        let isProjected = integerProducts(
            activated, count: count, columns: inner, [ProductJob(packed.down, into: normed, stride: width)])
        if !isProjected {
            matrices.down.forward(
                activated, count: count, into: normed, yStride: width, scratch: &scratch.weights, pool: pool)
        }
        forRows(count) { row in VectorMath.add(normed + row * width, into: x + row * width, count: width) }
    }

    /// Shows an observer, if there is one, what enters the products with some of a layer's weights.
    private func observe(
        _ layer: Int, _ parts: [LlamaTensorNames.Part], _ rows: UnsafePointer<Float>, count: Int, columns: Int
    ) {
        guard let activationObserver else { return }
        activationObserver.observe(
            parts.map { LlamaTensorNames.layer(layer, $0) }, rows, count: count, columns: columns)
    }

    /// Products on the integer path, where that is asked for; false leaves the work to the float path.
    private func integerProducts(
        _ x: UnsafePointer<Float>, count: Int, columns: Int, _ jobs: [ProductJob]
    ) -> Bool {
        guard forwardPrecision == .int8, count > 0 else { return false }
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
        case .none: return nil
        case .embeddings:
            return .init(keys: keys, values: values, headStride: rows * c.headDimension)
        case .keysAndValues(let base, let count):
            let plane = c.keyValueHeadCount * count * c.headDimension
            return .init(
                keys: base + 2 * layer * plane, values: base + (2 * layer + 1) * plane,
                headStride: count * c.headDimension)
        }
    }

    /// Final norm, logits, loss; leaves the gradient at the last layer's output in `scratch.lossGradient`.
    private func head(_ batch: PackedBatch, wantsGradient: Bool) -> Double {
        let count = batch.lossRows.count, width = c.hiddenSize, vocabulary = c.vocabularySize
        let x = scratch.hidden.pointer
        let normed = scratch.normed.reserve(count * width)
        let norm = UnsafePointer(model.outputNorm.pointer), epsilon = c.epsilon
        forRows(count) { row in
            VectorMath.rmsNorm(
                x + row * width, weight: norm, epsilon: epsilon, into: normed + row * width, columns: width)
        }
        activationObserver?.observe([LlamaTensorNames.output], normed, count: count, columns: width)
        let dNormed = scratch.dQueries.reserve(count * width)
        let slice = min(count, max(64, (16 << 20) / vocabulary))
        let logits = scratch.logits.reserve(slice * vocabulary)
        let losses = scratch.rowLoss.reserve(count)
        let scale = 1 / Float(count)
        var start = 0
        while start < count {
            let size = min(slice, count - start)
            output.forward(
                normed + start * width, count: size, into: logits, yStride: vocabulary, scratch: &scratch.weights,
                pool: pool)
            let first = start
            pool.parallelFor(size) { row in
                let line = logits + row * vocabulary
                let target = batch.targets[first + row]
                losses[first + row] =
                    wantsGradient
                    ? CrossEntropy.backward(line, count: vocabulary, target: target, scale: scale)
                    : CrossEntropy.forward(line, count: vocabulary, target: target)
            }
            if wantsGradient {
                output.backward(
                    logits, count: size, dYStride: vocabulary, into: dNormed + start * width, accumulate: false,
                    scratch: &scratch.weights, pool: pool)
            }
            start += size
        }
        if wantsGradient {
            let gradient = scratch.lossGradient.reserve(count * width)
            gradient.update(repeating: 0, count: count * width)
            forRows(count) { row in
                VectorMath.rmsNormBackward(
                    x + row * width, weight: norm, epsilon: epsilon, dOut: dNormed + row * width,
                    accumulatingInto: gradient + row * width,
                    columns: width)
            }
        }
        return (0..<count).reduce(0) { $0 + Double(losses[$1]) }
    }

    /// Runs `body` for every row, in groups that keep the cost of scheduling small.
    func forRows(_ count: Int, _ body: (Int) -> Void) {
        let group = 8
        pool.parallelFor((count + group - 1) / group) { task in
            for row in task * group..<min((task + 1) * group, count) { body(row) }
        }
    }
}

import Kernels
import Layers

// Rows of several sequences go through norms and products together; only rotation, cache and attention know which
// sequence a row belongs to.
extension DecoderModel {
    /// The rows of one sequence in one pass.
    struct Slice {
        let cache: KVCache
        /// First row of the pass, and how many.
        var first, count: Int
        /// Positions in front of the first row.
        var past: Int
        /// Its last rows that give logits.
        let wanted: Int
        let usesTiles: Bool
        /// For each entry of `rotations` the table that its length asks for.
        let tables: [RotaryEmbedding]
    }

    func forward(_ steps: [SequenceStep], workspace: InferenceWorkspace) throws -> UnsafeBufferPointer<Float> {
        for step in steps { try check(step) }
        guard Set(steps.map { ObjectIdentifier($0.cache) }).count == steps.count else {
            throw ModelError(.invalidInput, "a sequence appears twice in one step")
        }
        let vocabulary = configuration.vocabularySize
        let logitRows = steps.reduce(0) { $0 + $1.logitCount }
        let logits = workspace.logits.reserve(max(logitRows, 1) * vocabulary)
        for step in steps { step.cache.reserve(step.cache.count + step.input.count) }
        let tables = steps.map { step in rotations.map { $0.table(length: step.finalLength) } }

        var done = 0  // rows of logits
        var index = 0, offset = 0  // the next row: which step, and how far into it
        while index < steps.count {
            let hidden = workspace.hidden.reserve(Self.chunk * configuration.hiddenSize)
            var slices: [Slice] = []
            var rows = 0
            while index < steps.count, rows < Self.chunk {
                let step = steps[index], count = step.input.count
                let size = min(count - offset, Self.chunk - rows)
                if size > 0 {
                    enter(step, from: offset, count: size, into: hidden + rows * configuration.hiddenSize, workspace)
                    let wanted = max(0, min(size, offset + size - (count - step.logitCount)))
                    slices.append(
                        Slice(
                            cache: step.cache, first: rows, count: size, past: step.cache.count, wanted: wanted,
                            usesTiles: step.usesTiles, tables: tables[index]))
                }
                rows += size
                offset += size
                if offset == count { (index, offset) = (index + 1, 0) }
            }
            if rows == 0 { break }
            runLayers(hidden, rows: rows, slices, workspace, logits: logits + done * vocabulary)
            done += slices.reduce(0) { $0 + $1.wanted }
        }
        return UnsafeBufferPointer(start: logits, count: logitRows * vocabulary)
    }

    private func check(_ step: SequenceStep) throws {
        let count = step.input.count, width = configuration.hiddenSize
        guard step.logitCount >= 0, step.logitCount <= count else {
            throw ModelError(.invalidInput, "\(step.logitCount) rows of logits were asked of \(count) positions")
        }
        switch step.input {
        case .tokens(let ids):
            if let bad = ids.first(where: { $0 < 0 || $0 >= configuration.vocabularySize }) {
                throw ModelError(
                    .invalidInput, "token \(bad) is outside the vocabulary of \(configuration.vocabularySize)")
            }
        case .embeddings(let rows, let count):
            guard rows.count == count * width else {
                throw ModelError(
                    .invalidInput, "\(rows.count) floats are not \(count) rows of \(width), this model's hidden size")
            }
        }
        let cache = step.cache
        guard
            cache.layerCount == configuration.layerCount, cache.headCount == configuration.keyValueHeadCount,
            cache.headDimension == configuration.headDimension
        else {
            throw ModelError(.invalidInput, "the cache was made for a model of other dimensions")
        }
        try checkLength(cache.count + count)
    }

    /// Rows `offset` … of a step's input as the first layer reads them.
    private func enter(
        _ step: SequenceStep, from offset: Int, count: Int, into hidden: UnsafeMutablePointer<Float>,
        _ workspace: InferenceWorkspace
    ) {
        let width = configuration.hiddenSize
        switch step.input {
        case .tokens(let ids):
            for index in 0..<count { embedding(of: ids[offset + index], into: hidden + index * width) }
        case .embeddings(let rows, _):
            rows.withUnsafeBufferPointer { rows in
                guard let base = rows.baseAddress else { return }
                hidden.update(from: base + offset * width, count: count * width)
            }
        }
        guard changesInput else { return }
        let scratch = workspace.branch.reserve(width)
        for index in 0..<count {
            enter(hidden + index * width, position: step.cache.count + index, scratch: scratch)
        }
    }

    /// All layers over the rows of one pass; logits for the wanted rows of each slice, in order.
    private func runLayers(
        _ x: UnsafeMutablePointer<Float>, rows: Int, _ slices: [Slice], _ workspace: InferenceWorkspace,
        logits: UnsafeMutablePointer<Float>
    ) {
        let c = configuration
        let (width, queryWidth, keyWidth) = (c.hiddenSize, c.queryWidth, c.keyWidth)
        let q = workspace.queries.reserve(rows * queryWidth)
        let k = workspace.keys.reserve(rows * keyWidth)
        let v = workspace.values.reserve(rows * keyWidth)
        let normed = workspace.normed, attended = workspace.attended
        var slices = slices
        var rows = rows
        let sliceOfRow = slices.indices.flatMap { [Int](repeating: $0, count: slices[$0].count) }
        for (index, layer) in layers.enumerated() {
            let weights = packed[index]
            // Values enter the residual stream linearly, so their rounding weighs most: a quarter of the model's whole
            // distance from exact activations, for 3 % of the arithmetic.
            normalize(x, layer.attentionNorm, count: rows, refines: true, into: normed)
            MatrixProduct.run(
                [
                    ProductJob(weights.queries, into: q, stride: queryWidth),
                    ProductJob(weights.keys, into: k, stride: keyWidth),
                    ProductJob(weights.values, into: v, stride: keyWidth, isRefined: true),
                ], normed, tokens: rows, pool: pool)
            let update = updates[index]
            if let update {
                for (part, output, stride) in [
                    (update.queries, q, queryWidth), (update.keys, k, keyWidth), (update.values, v, keyWidth),
                ] {
                    part?.apply(to: normed, rows: rows, into: output, stride: stride, workspace: workspace, pool: pool)
                }
            }
            rotateAndStore(q: q, k: k, v: v, slices, sliceOfRow, layer: index)
            if index == c.layerCount - 1 {
                // After the last layer only the wanted rows matter: their queries, and everything after attention.
                rows = gather(&slices, x, q)
                if rows == 0 { break }
            }
            attended.reserve(tokens: rows, columns: queryWidth)
            AttentionKernel.run(
                slices.map { slice in
                    AttentionCall(
                        queries: q + slice.first * queryWidth, pages: slice.cache.layers[index], tokens: slice.count,
                        past: slice.past, usesTiles: slice.usesTiles,
                        into: attended.floats + slice.first * queryWidth)
                }, attentionShapes[index], pool: pool)
            for slice in slices {
                slice.cache.gated?.attend(
                    layer: index, queries: q + slice.first * queryWidth, rows: slice.count, headCount: c.headCount,
                    keyValueHeadCount: c.keyValueHeadCount, headDimension: c.headDimension, scale: c.attentionScale,
                    softCap: c.attentionSoftCap, into: attended.floats + slice.first * queryWidth, pool: pool)
            }
            attended.quantize(tokens: rows, columns: queryWidth, pool: pool)
            let waiting = addBranch(
                attended, weights.attentionOutput, update?.attentionOutput, layer.attentionOutput,
                layer.postAttentionNorm, to: x, rows: rows, waits: layer.isParallel, workspace: workspace)
            normalize(x, layer.feedForwardNorm, count: rows, into: normed)
            if let experts = layer.experts, let packedExperts = weights.experts {
                runExperts(experts, packedExperts, x, rows: rows, workspace: workspace)
            } else if let network = layer.feedForward, let packedNetwork = weights.feedForward {
                runNetwork(network, packedNetwork, update, normed, rows: rows, workspace: workspace)
                _ = addBranch(
                    workspace.feedForward, packedNetwork.down, update?.down, network.down, layer.postFeedForwardNorm,
                    to: x, rows: rows, waits: false, workspace: workspace)
            }
            if let waiting { VectorMath.add(waiting, into: x, count: rows * width) }
        }
        for slice in slices { slice.cache.advance(by: slice.past + slice.count - slice.cache.count) }
        guard rows > 0 else { return }
        normalize(x, outputNorm, count: rows, into: normed)
        MatrixProduct.run(
            [ProductJob(output, into: logits, stride: c.vocabularySize)], normed, tokens: rows, pool: pool)
        outputUpdate?.apply(
            to: normed, rows: rows, into: logits, stride: c.vocabularySize, workspace: workspace, pool: pool)
        if c.logitScale != 1 { VectorMath.scale(logits, by: c.logitScale, count: rows * c.vocabularySize) }
        if c.logitSoftCap > 0 { VectorMath.softCap(logits, cap: c.logitSoftCap, count: rows * c.vocabularySize) }
    }

    /// Moves the wanted rows of all slices to the front and returns how many there are.
    private func gather(_ slices: inout [Slice], _ x: UnsafeMutablePointer<Float>, _ q: UnsafeMutablePointer<Float>)
        -> Int
    {
        let (width, queryWidth) = (configuration.hiddenSize, configuration.queryWidth)
        var rows = 0
        for index in slices.indices {
            let slice = slices[index], skipped = slice.count - slice.wanted
            let from = slice.first + skipped
            if from != rows, slice.wanted > 0 {  // towards the front, in order: nothing is overwritten before it moved
                (x + rows * width).update(from: x + from * width, count: slice.wanted * width)
                (q + rows * queryWidth).update(from: q + from * queryWidth, count: slice.wanted * queryWidth)
            }
            slices[index].first = rows
            slices[index].past += skipped
            slices[index].count = slice.wanted
            rows += slice.wanted
        }
        return rows
    }

    /// Biases, norms and RoPE on queries and keys, then keys and values into the caches.
    private func rotateAndStore(
        q: UnsafeMutablePointer<Float>, k: UnsafeMutablePointer<Float>, v: UnsafeMutablePointer<Float>,
        _ slices: [Slice], _ sliceOfRow: [Int], layer index: Int
    ) {
        let c = configuration
        let (queryWidth, keyWidth) = (c.queryWidth, c.keyWidth)
        let layer = layers[index], rotation = c.layerRotations[index]
        let count = sliceOfRow.count
        let group = max(1, min(16, count / (2 * pool.threadCount)))
        nonisolated(unsafe) let (q, k, v) = (q, k, v)  // tasks write disjoint rows
        pool.parallelFor((count + group - 1) / group) { task in
            for row in task * group..<min((task + 1) * group, count) {
                let slice = slices[sliceOfRow[row]]
                let position = slice.past + row - slice.first
                let query = q + row * queryWidth, key = k + row * keyWidth, value = v + row * keyWidth
                layer.queries.addBias(query)
                layer.keys.addBias(key)
                layer.values.addBias(value)
                layer.queryNorm?.forward(query)
                layer.keyNorm?.forward(key)
                if let rotation {
                    let rotary = slice.tables[rotation]
                    rotary.forward(query, heads: c.headCount, headDimension: c.headDimension, position: position)
                    rotary.forward(key, heads: c.keyValueHeadCount, headDimension: c.headDimension, position: position)
                }
                slice.cache.store(layer: index, slot: position, keyRow: key, valueRow: value)
            }
        }
    }

    // MARK: - Shifting

    func shift(_ cache: KVCache, forgetting gone: Range<Int>) throws {
        if positionTable != nil {
            throw ModelError(
                .invalidInput, "this model has learned its positions; what it has read cannot be moved to others",
                path: source.path)
        }
        if let limit = rotations.filter({ $0.long != nil }).map(\.limit).min(), cache.count > limit {
            throw ModelError(
                .invalidInput,
                "beyond \(limit) positions this model rotates by other angles; what it has read cannot be moved",
                path: source.path)
        }
        cache.shift(
            forgetting: gone,
            rotations: configuration.layerRotations.map { $0.map { rotations[$0].table(length: cache.count) } })
    }
}

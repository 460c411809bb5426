import Kernels
import Layers

// Adaption prompts: rows that each layer's own projections turn into keys and values.
extension DecoderModel {
    func gatedPrompt(_ values: [Float], count: Int) throws -> GatedPrompt {
        let c = configuration, width = c.hiddenSize, keyWidth = c.keyWidth
        let columns = shape.valuesPerVirtualToken(.adaptionPrompt)
        guard count > 0, values.count == count * columns else {
            throw ModelError(
                .invalidInput,
                "\(values.count) numbers are no \(count) adaption rows of \(c.layerCount) layers of \(width) and a gate"
            )
        }
        let workspace = InferenceWorkspace()
        let rows = FloatBuffer(count: count * width)
        let projected = FloatBuffer(count: count * 2 * keyWidth)
        let layers = values.withUnsafeBufferPointer { values in
            (0..<c.layerCount).map { index -> GatedPrompt.Layer? in
                guard let base = values.baseAddress else { return nil }
                let gate = base[index * (width + 1) + width]
                if gate == 0 { return nil }
                for token in 0..<count {
                    (rows.pointer + token * width).update(
                        from: base + token * columns + index * (width + 1), count: width)
                }
                projectGated(
                    index, rows.pointer, count: count, into: projected.pointer, activations: workspace.normed, workspace
                )
                let keys = FloatBuffer(count: count * keyWidth), values = FloatBuffer(count: count * keyWidth)
                placeGated(index, projected.pointer, count: count, keys: keys.pointer, values: values.pointer)
                return GatedPrompt.Layer(gate: gate, keys: keys, values: values)
            }
        }
        return GatedPrompt(count: count, layers: layers)
    }

    /// A layer's rows through its projections of keys and values, without biases: `(count, key | value)`. Both int8 forms of
    /// the rows are used: 15 bits of them.
    func projectGated(
        _ index: Int, _ rows: UnsafePointer<Float>, count: Int, into projected: UnsafeMutablePointer<Float>,
        activations: Activations, _ workspace: InferenceWorkspace?
    ) {
        let width = configuration.hiddenSize, keyWidth = configuration.keyWidth
        nonisolated(unsafe) let rows = rows  // read only
        activations.set(tokens: count, columns: width, refines: true, pool: pool) { token, row in
            row.update(from: rows + token * width, count: width)
        }
        MatrixProduct.run(
            [
                ProductJob(packed[index].keys, into: projected, stride: 2 * keyWidth, isRefined: true),
                ProductJob(packed[index].values, into: projected + keyWidth, stride: 2 * keyWidth, isRefined: true),
            ], activations, tokens: count, pool: pool)
        if let update = updates[index], let workspace {
            for (part, output) in [(update.keys, projected), (update.values, projected + keyWidth)] {
                part?.apply(
                    to: activations, rows: count, into: output, stride: 2 * keyWidth, workspace: workspace, pool: pool)
            }
        }
    }

    /// Biases and norm of keys on projected rows, then keys and values apart by heads: `(head, count, headDimension)` each.
    ///
    /// - Parameter plain: gets the keys before their norm, `(count, keyWidth)`.
    func placeGated(
        _ index: Int, _ projected: UnsafeMutablePointer<Float>, count: Int, keys: UnsafeMutablePointer<Float>,
        values: UnsafeMutablePointer<Float>, plain: UnsafeMutablePointer<Float>? = nil
    ) {
        let keyWidth = configuration.keyWidth, d = configuration.headDimension, layer = layers[index]
        for token in 0..<count {
            let row = projected + token * 2 * keyWidth
            layer.keys.addBias(row)
            layer.values.addBias(row + keyWidth)
            if let plain { (plain + token * keyWidth).update(from: row, count: keyWidth) }
            layer.keyNorm?.forward(row)
            for head in 0..<configuration.keyValueHeadCount {
                (keys + (head * count + token) * d).update(from: row + head * d, count: d)
                (values + (head * count + token) * d).update(from: row + keyWidth + head * d, count: d)
            }
        }
    }
}

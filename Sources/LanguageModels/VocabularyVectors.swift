import Kernels
import Layers

extension DifferentiableModel {
    /// What the first layer makes of tokens as values, `(token, keyValueHeads · headDimension)`: the space in which a
    /// prefix's values of that layer can be compared with words. Values are not rotated, so positions do not matter.
    ///
    /// - Throws: `ModelError.unsupportedArchitecture` for a model that cannot be watched.
    public func firstLayerValues(of tokens: [Int]) throws -> [Float] {
        guard let graph = self as? DecoderGraph else {
            throw ModelError(.unsupportedArchitecture, "the values of this model cannot be watched")
        }
        return graph.firstValues(tokens)
    }
}

extension DecoderGraph {
    func firstValues(_ tokens: [Int]) -> [Float] {
        let width = c.hiddenSize, values = queryWidth + keyWidth..<queryWidth + 2 * keyWidth
        let layer = model.layers[0]
        var result = [Float](repeating: 0, count: tokens.count * keyWidth)
        result.withUnsafeMutableBufferPointer { buffer in
            guard let out = buffer.baseAddress else { return }
            for start in stride(from: 0, to: tokens.count, by: 1024) {
                let count = min(1024, tokens.count - start)
                let x = scratch.hidden.reserve(count * width), positions = scratch.projected.reserve(count * width)
                let normed = scratch.normed.reserve(count * width)
                forRows(count) { row in
                    model.embedding(of: tokens[start + row], into: x + row * width)
                    if model.changesInput {
                        model.enter(x + row * width, position: 0, scratch: positions + row * width)
                    }
                }
                normalize(x, layer.attentionNorm, count: count, into: normed)
                weights[0].queriesKeysValues.forward(
                    normed, count: count, rows: values, into: out + start * keyWidth, yStride: keyWidth,
                    scratch: &scratch.weights, pool: pool)
                forRows(count) { row in layer.values.addBias(out + (start + row) * keyWidth) }
            }
        }
        return result
    }
}

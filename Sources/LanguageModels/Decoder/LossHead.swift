import Kernels
import Layers

/// Final norm, logits and losses of the rows that carry loss, and the gradient back to those rows.
///
/// Logits exist for a slice of rows at a time, so that their memory does not grow with the batch.
final class LossHead {
    private let graph: DecoderGraph
    private let batch: PackedBatch
    private let count: Int
    private let normed: UnsafeMutablePointer<Float>
    /// The likeliest token of each row, once losses were computed without gradient.
    private(set) var predictions: [Int] = []

    /// - Parameter graph: its `scratch.hidden` holds the rows that carry loss, after the last layer.
    init(graph: DecoderGraph, batch: PackedBatch) {
        self.graph = graph
        self.batch = batch
        count = batch.lossRows.count
        let width = graph.c.hiddenSize
        let x = graph.scratch.hidden.pointer
        let normed = graph.scratch.normed.reserve(count * width)
        let norm = graph.model.outputNorm
        graph.forRows(count) { row in norm.forward(x + row * width, into: normed + row * width, columns: width) }
        graph.activationObserver?.observe([DecoderTensorNames.output], normed, count: count, columns: width)
        self.normed = normed
    }

    /// The loss of each row, and its likeliest token.
    func losses() -> [Float] {
        let vocabulary = graph.c.vocabularySize
        let losses = graph.scratch.rowLoss.reserve(count)
        var predicted = [Int](repeating: 0, count: count)
        predicted.withUnsafeMutableBufferPointer { predicted in
            forEachSlice { first, size, logits, _ in
                graph.pool.parallelFor(size) { row in
                    let line = logits + row * vocabulary
                    losses[first + row] = CrossEntropy.loss(
                        line, count: vocabulary, target: self.batch.targets[first + row])
                    predicted[first + row] = VectorMath.argmax(line, count: vocabulary)
                }
            }
        }
        predictions = predicted
        return (0..<count).map { losses[$0] }
    }

    /// The loss of each row; leaves the gradient of Σ factor · loss at the last layer's output in
    /// `scratch.lossGradient`.
    func backward(factors: [Float]) -> [Float] {
        let vocabulary = graph.c.vocabularySize, width = graph.c.hiddenSize
        let logitScale = graph.c.logitScale
        let losses = graph.scratch.rowLoss.reserve(count)
        let dNormed = graph.scratch.dQueries.reserve(count * width)
        forEachSlice { first, size, logits, slopes in
            graph.pool.parallelFor(size) { row in
                let line = logits + row * vocabulary
                losses[first + row] = CrossEntropy.backward(
                    line, count: vocabulary, target: self.batch.targets[first + row], scale: factors[first + row])
                if let slopes {
                    let slope = slopes + row * vocabulary
                    for column in 0..<vocabulary { line[column] *= slope[column] }
                }
                if logitScale != 1 { VectorMath.scale(line, by: logitScale, count: vocabulary) }
            }
            graph.output.backward(
                logits, count: size, dYStride: vocabulary, into: dNormed + first * width, accumulate: false,
                scratch: &graph.scratch.weights, pool: graph.pool)
        }
        let gradient = graph.scratch.lossGradient.reserve(count * width)
        gradient.update(repeating: 0, count: count * width)
        let x = graph.scratch.hidden.pointer
        let norm = graph.model.outputNorm
        graph.forRows(count) { row in
            norm.backward(
                x + row * width, dOut: dNormed + row * width, accumulatingInto: gradient + row * width, columns: width)
        }
        return (0..<count).map { losses[$0] }
    }

    /// Computes logits slice by slice, scaled and capped as the model does.
    private func forEachSlice(
        _ body: (
            _ first: Int, _ size: Int, _ logits: UnsafeMutablePointer<Float>, _ slopes: UnsafeMutablePointer<Float>?
        ) -> Void
    ) {
        let vocabulary = graph.c.vocabularySize, width = graph.c.hiddenSize
        let slice = min(count, max(64, (16 << 20) / vocabulary))
        let logits = graph.scratch.logits.reserve(slice * vocabulary)
        let logitScale = graph.c.logitScale, softCap = graph.c.logitSoftCap
        let slopes = softCap > 0 ? graph.scratch.logitSlopes.reserve(slice * vocabulary) : nil
        var start = 0
        while start < count {
            let size = min(slice, count - start)
            graph.output.forward(
                normed + start * width, count: size, into: logits, yStride: vocabulary, scratch: &graph.scratch.weights,
                pool: graph.pool)
            if logitScale != 1 || softCap > 0 {
                graph.pool.parallelFor(size) { row in
                    let line = logits + row * vocabulary
                    if logitScale != 1 { VectorMath.scale(line, by: logitScale, count: vocabulary) }
                    if softCap > 0 {
                        VectorMath.softCap(
                            line, cap: softCap, slope: slopes.map { $0 + row * vocabulary }, count: vocabulary)
                    }
                }
            }
            body(start, size, logits, slopes)
            start += size
        }
    }
}

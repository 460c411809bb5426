import Kernels

/// A prompt that every position of a sequence attends to apart from the context: keys and values of its own in some layers,
/// a softmax of its own over them, and the result times a gate added to the layer's attention (LLaMA-Adapter, Zhang and
/// others 2023, arXiv 2303.16199).
///
/// It takes no positions and no cache slots. Any number of sequences share one.
public final class GatedPrompt: Sendable {
    public struct Layer: Sendable {
        /// What the result is multiplied by.
        public let gate: Float
        /// `(head, token, headDimension)`, not rotated.
        public let keys, values: FloatBuffer

        public init(gate: Float, keys: FloatBuffer, values: FloatBuffer) {
            self.gate = gate
            self.keys = keys
            self.values = values
        }
    }

    /// Virtual tokens.
    public let count: Int
    /// For each layer what it adds; nil: nothing.
    public let layers: [Layer?]

    public init(count: Int, layers: [Layer?]) {
        self.count = count
        self.layers = layers
    }

    /// Bytes of keys and values.
    public var byteCount: Int {
        layers.reduce(0) { $0 + (($1?.keys.count ?? 0) + ($1?.values.count ?? 0)) * MemoryLayout<Float>.stride }
    }

    /// output[row] += gate · softmax(scale · q·kᵀ)·v, head by head; a row's result depends on that row alone.
    ///
    /// - Parameters:
    ///   - queries: `(rows, headCount * headDimension)`, rotated; `output` has the same shape.
    ///   - softCap: scores become cap · tanh(score / cap); 0 leaves them.
    public func attend(
        layer index: Int, queries: UnsafePointer<Float>, rows: Int, headCount: Int, keyValueHeadCount: Int,
        headDimension d: Int, scale: Float, softCap: Float, into output: UnsafeMutablePointer<Float>, pool: ThreadPool
    ) {
        guard rows > 0, let layer = layers[index], layer.gate != 0 else { return }
        let stride = headCount * d, group = headCount / keyValueHeadCount, count = self.count
        let chunk = 64
        nonisolated(unsafe) let (queries, output) = (queries, output)  // tasks write disjoint parts of the output
        pool.parallelFor(headCount * ((rows + chunk - 1) / chunk)) { task in
            let head = task % headCount, first = task / headCount * chunk
            let size = min(chunk, rows - first)
            let q = queries + first * stride + head * d
            let plane = head / group * count * d
            withUnsafeTemporaryAllocation(of: Float.self, capacity: size * count) { scores in
                guard let scores = scores.baseAddress else { return }
                FloatProduct.sgemm(
                    false, true, size, count, d, scale, q, stride, layer.keys.pointer + plane, d, 0, scores, count)
                for row in 0..<size {
                    let line = scores + row * count
                    if softCap > 0 { VectorMath.softCap(line, cap: softCap, count: count) }
                    VectorMath.softmax(line, count: count)
                }
                FloatProduct.sgemm(
                    false, false, size, d, count, layer.gate, scores, count, layer.values.pointer + plane, d, 1,
                    output + first * stride + head * d, stride)
            }
        }
    }
}

import Kernels

/// A normalisation of rows with its learned weights: RMSNorm or LayerNorm, over a whole row or over each head alone.
public struct Normalization: Sendable {
    public enum Kind: Sendable, Hashable {
        /// x / sqrt(mean(x²) + ε) · weight (Zhang and Sennrich 2019).
        case rms
        /// (x − mean) / sqrt(variance + ε) · weight + bias (Ba et al. 2016).
        case layer
    }

    public let kind: Kind
    public let epsilon: Float
    public let weight: FloatBuffer
    public let bias: FloatBuffer?

    public init(_ kind: Kind, epsilon: Float, weight: [Float], bias: [Float]? = nil) {
        self.kind = kind
        self.epsilon = epsilon
        self.weight = FloatBuffer(weight)
        self.bias = bias.map { FloatBuffer($0) }
    }

    /// Normalises one row of `columns` elements; may be in place. `offset` is the first weight used.
    public func forward(
        _ x: UnsafePointer<Float>, into out: UnsafeMutablePointer<Float>, columns: Int, offset: Int = 0
    ) {
        switch kind {
        case .rms:
            VectorMath.rmsNorm(x, weight: weight.pointer + offset, epsilon: epsilon, into: out, columns: columns)
        case .layer:
            VectorMath.layerNorm(
                x, weight: weight.pointer + offset, bias: bias.map { UnsafePointer($0.pointer + offset) },
                epsilon: epsilon, into: out, columns: columns)
        }
    }

    /// Adds the gradient with respect to `x` of `forward` to `dX`.
    public func backward(
        _ x: UnsafePointer<Float>, dOut: UnsafePointer<Float>, accumulatingInto dX: UnsafeMutablePointer<Float>,
        columns: Int, offset: Int = 0
    ) {
        switch kind {
        case .rms:
            VectorMath.rmsNormBackward(
                x, weight: weight.pointer + offset, epsilon: epsilon, dOut: dOut, accumulatingInto: dX,
                columns: columns)
        case .layer:
            VectorMath.layerNormBackward(
                x, weight: weight.pointer + offset, epsilon: epsilon, dOut: dOut, accumulatingInto: dX,
                columns: columns)
        }
    }
}

/// A normalisation of queries or keys before they are rotated: of each head with shared or own weights, or of all at once.
public struct HeadNormalization: Sendable {
    public let norm: Normalization
    /// Parts of a row that are normalised alone.
    public let parts: Int
    /// Elements of a part.
    public let length: Int

    /// - Parameter norm: with `length` weights, or `parts · length` where every part has its own.
    public init(_ norm: Normalization, parts: Int, length: Int) {
        precondition(norm.weight.count == length || norm.weight.count == parts * length, "weights fit no part")
        self.norm = norm
        self.parts = parts
        self.length = length
    }

    private func offset(_ part: Int) -> Int { norm.weight.count == length ? 0 : part * length }

    /// Normalises one row in place.
    public func forward(_ row: UnsafeMutablePointer<Float>) {
        for part in 0..<parts {
            let head = row + part * length
            norm.forward(head, into: head, columns: length, offset: offset(part))
        }
    }

    /// Replaces the gradient of one row's result by the gradient of the row `x`, using `scratch` of a row's length.
    public func backward(
        _ x: UnsafePointer<Float>, gradient: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>
    ) {
        scratch.update(from: gradient, count: parts * length)
        gradient.update(repeating: 0, count: parts * length)
        for part in 0..<parts {
            let first = part * length
            norm.backward(
                x + first, dOut: scratch + first, accumulatingInto: gradient + first, columns: length,
                offset: offset(part))
        }
    }
}

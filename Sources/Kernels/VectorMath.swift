import CKernels

/// Element-wise operations and reductions on contiguous F32 rows, vectorised.
///
/// Accuracy: exponentials have a relative error below 2e-7; sums are kept in several partial sums, so results differ
/// from a sequential sum by rounding. NaN in gives NaN out, except in `argmax`, which ignores NaNs. Outputs may be the
/// same row as an input unless said otherwise. Every count may be 0.
public enum VectorMath {
    private static var kernels: ck_table_row { KernelTable.current.row.pointee }

    /// out = x / sqrt(mean(x²) + epsilon) · weight.
    public static func rmsNorm(
        _ x: UnsafePointer<Float>, weight: UnsafePointer<Float>, epsilon: Float, into out: UnsafeMutablePointer<Float>,
        columns: Int
    ) { kernels.rms_norm(x, weight, epsilon, out, columns) }

    /// Adds the gradient with respect to x of `rmsNorm` to `dX`, given the gradient `dOut` of its result.
    public static func rmsNormBackward(
        _ x: UnsafePointer<Float>, weight: UnsafePointer<Float>, epsilon: Float, dOut: UnsafePointer<Float>,
        accumulatingInto dX: UnsafeMutablePointer<Float>, columns: Int
    ) { kernels.rms_norm_backward(x, weight, epsilon, dOut, dX, columns) }

    /// out = silu(gate) · up, with silu(g) = g / (1 + e^-g).
    public static func swiGLU(
        gate: UnsafePointer<Float>, up: UnsafePointer<Float>, into out: UnsafeMutablePointer<Float>, count: Int
    ) { kernels.swiglu(gate, up, out, count) }

    /// The gradients of `swiGLU` with respect to both inputs. Overwrites; may be in place.
    public static func swiGLUBackward(
        gate: UnsafePointer<Float>, up: UnsafePointer<Float>, dOut: UnsafePointer<Float>,
        dGate: UnsafeMutablePointer<Float>, dUp: UnsafeMutablePointer<Float>, count: Int
    ) { kernels.swiglu_backward(gate, up, dOut, dGate, dUp, count) }

    /// out = (x − mean(x)) / sqrt(variance(x) + epsilon) · weight + bias. Without `bias` nothing is added.
    public static func layerNorm(
        _ x: UnsafePointer<Float>, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?, epsilon: Float,
        into out: UnsafeMutablePointer<Float>, columns: Int
    ) { kernels.layer_norm(x, weight, bias, epsilon, out, columns) }

    /// Adds the gradient with respect to x of `layerNorm` to `dX`, given the gradient `dOut` of its result.
    public static func layerNormBackward(
        _ x: UnsafePointer<Float>, weight: UnsafePointer<Float>, epsilon: Float, dOut: UnsafePointer<Float>,
        accumulatingInto dX: UnsafeMutablePointer<Float>, columns: Int
    ) { kernels.layer_norm_backward(x, weight, epsilon, dOut, dX, columns) }

    /// x = cap · tanh(x / cap), in place, to 2e-7 · cap. `slope`, where given, gets the derivative.
    public static func softCap(
        _ x: UnsafeMutablePointer<Float>, cap: Float, slope: UnsafeMutablePointer<Float>? = nil, count: Int
    ) { kernels.soft_cap(cap, x, slope, count) }

    /// The softmax of a row, in place. Entries of -infinity become 0; at least one must be finite.
    public static func softmax(_ row: UnsafeMutablePointer<Float>, count: Int) { kernels.softmax(row, count) }

    /// log Σ e^row, without overflow. -infinity of an empty row; NaN when every entry is -infinity.
    public static func logSumExp(_ row: UnsafePointer<Float>, count: Int) -> Float { kernels.log_sum_exp(row, count) }

    /// dS = scale · p · (dP − Σ p · dP): through a softmax with result `p` whose input was `scale` times s.
    public static func softmaxBackward(
        p: UnsafePointer<Float>, dP: UnsafePointer<Float>, dS: UnsafeMutablePointer<Float>, count: Int,
        scale: Float = 1
    ) { kernels.softmax_backward(p, dP, dS, count, scale) }

    /// Rotates the pairs (2j, 2j + 1) of each head's first `ropeDimension` values (the layout of GGUF's llama).
    ///
    /// - Parameters:
    ///   - row: `heads` heads of `headDimension` values.
    ///   - cos, sin: `ropeDimension / 2` values each, for this position.
    ///   - inverse: rotates back; also the gradient of the rotation.
    public static func ropeInterleaved(
        _ row: UnsafeMutablePointer<Float>, heads: Int, headDimension: Int, ropeDimension: Int,
        cos: UnsafePointer<Float>, sin: UnsafePointer<Float>, inverse: Bool = false
    ) { kernels.rope_interleaved(row, heads, headDimension, ropeDimension, cos, sin, inverse) }

    /// As `ropeInterleaved` with the pairs (j, j + ropeDimension / 2) (the layout of Hugging Face, and GPT-NeoX).
    public static func ropeHalf(
        _ row: UnsafeMutablePointer<Float>, heads: Int, headDimension: Int, ropeDimension: Int,
        cos: UnsafePointer<Float>, sin: UnsafePointer<Float>, inverse: Bool = false
    ) { kernels.rope_half(row, heads, headDimension, ropeDimension, cos, sin, inverse) }

    /// Σ a · b.
    public static func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, count: Int) -> Float {
        kernels.dot(a, b, count)
    }

    /// y += factor · x.
    public static func axpy(
        _ factor: Float, _ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int
    ) { kernels.axpy(factor, x, y, count) }

    /// x *= factor.
    public static func scale(_ x: UnsafeMutablePointer<Float>, by factor: Float, count: Int) {
        kernels.scale(factor, x, count)
    }

    /// y += x.
    public static func add(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int) {
        kernels.add(x, y, count)
    }

    /// max |x|; NaN when there is one; 0 of nothing.
    public static func maxAbs(_ x: UnsafePointer<Float>, count: Int) -> Float { kernels.max_abs(x, count) }

    /// The first index of the largest value. NaNs are ignored; 0 when there is no number.
    public static func argmax(_ x: UnsafePointer<Float>, count: Int) -> Int { kernels.argmax(x, count) }

    /// IEEE halves to floats, exactly.
    public static func halfToFloat(
        _ input: UnsafePointer<UInt16>, into out: UnsafeMutablePointer<Float>, count: Int
    ) { kernels.half_to_float(input, out, count) }

    /// Floats to IEEE halves, rounded to nearest even; beyond 65519 infinity.
    public static func floatToHalf(
        _ input: UnsafePointer<Float>, into out: UnsafeMutablePointer<UInt16>, count: Int
    ) { kernels.float_to_half(input, out, count) }

    /// bfloat16 to floats, exactly.
    public static func bfloatToFloat(
        _ input: UnsafePointer<UInt16>, into out: UnsafeMutablePointer<Float>, count: Int
    ) { kernels.bfloat_to_float(input, out, count) }
}

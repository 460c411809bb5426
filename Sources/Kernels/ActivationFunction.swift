import CKernels

/// The function between the matrices of a feed-forward network, with its gradient.
///
/// Accuracy: absolute error below 3e-7 times the argument. NaN in gives NaN out.
public enum ActivationFunction: Sendable, Hashable {
    /// x / (1 + e^-x), also called swish.
    case silu
    /// x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))): the approximation that GPT-2 and Gemma use.
    case geluTanh
    /// x / 2 · (1 + erf(x / √2)): GPT-NeoX.
    case gelu

    private var kind: ck_activation {
        switch self {
        case .silu: CK_SILU
        case .geluTanh: CK_GELU_TANH
        case .gelu: CK_GELU
        }
    }

    /// out = f(gate) · up, or f(gate) without `up`. May be in place.
    public func forward(
        gate: UnsafePointer<Float>, up: UnsafePointer<Float>?, into out: UnsafeMutablePointer<Float>, count: Int
    ) {
        let kernels = KernelTable.current.row.pointee
        if self == .silu, let up {
            kernels.swiglu(gate, up, out, count)
        } else {
            kernels.activate(kind, gate, up, out, count)
        }
    }

    /// The gradients of `forward` with respect to its inputs. Overwrites; may be in place. Without `up`, `dUp` is not
    /// touched.
    public func backward(
        gate: UnsafePointer<Float>, up: UnsafePointer<Float>?, dOut: UnsafePointer<Float>,
        dGate: UnsafeMutablePointer<Float>, dUp: UnsafeMutablePointer<Float>?, count: Int
    ) {
        let kernels = KernelTable.current.row.pointee
        if self == .silu, let up, let dUp {
            kernels.swiglu_backward(gate, up, dOut, dGate, dUp, count)
        } else {
            kernels.activate_backward(kind, gate, up, dOut, dGate, dUp, count)
        }
    }
}

import Kernels

/// Softmax cross-entropy of one row of logits against one target token.
public enum CrossEntropy {
    /// Natural-log loss of `target`; the logits stay as they are.
    public static func forward(_ logits: UnsafePointer<Float>, count: Int, target: Int) -> Float {
        VectorMath.logSumExp(logits, count: count) - logits[target]
    }

    /// Loss of `target`; replaces the logits by `scale ·` the gradient of the loss, `softmax(logits) − onehot(target)`.
    public static func backward(
        _ logits: UnsafeMutablePointer<Float>, count: Int, target: Int, scale: Float
    ) -> Float {
        let loss = forward(logits, count: count, target: target)
        VectorMath.softmax(logits, count: count)
        logits[target] -= 1
        VectorMath.scale(logits, by: scale, count: count)
        return loss
    }
}

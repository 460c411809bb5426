import Foundation
import Kernels
import Layers

// The losses of one row of logits against each kind of target. All are divergences in nats; the gradient is with respect
// to the logits.
extension CrossEntropy {
    /// The loss; the logits stay as they are.
    static func loss(_ logits: UnsafePointer<Float>, count: Int, target: TrainingBatch.Target) -> Float {
        switch target {
        case .token(let id): return forward(logits, count: count, target: id)
        case .choice(let index, let among): return logSum(logits, among) - logits[among[index]]
        case .distribution(let teacher):
            return divergence(logits, logSum: VectorMath.logSumExp(logits, count: count), teacher).loss
        }
    }

    /// The loss; replaces the logits by `scale` times its gradient.
    static func backward(
        _ logits: UnsafeMutablePointer<Float>, count: Int, target: TrainingBatch.Target, scale: Float
    ) -> Float {
        switch target {
        case .token(let id): return backward(logits, count: count, target: id, scale: scale)
        case .choice(let index, let among):
            let logSum = logSum(logits, among)
            let loss = logSum - logits[among[index]]
            let shares = among.map { exp(logits[$0] - logSum) }
            logits.update(repeating: 0, count: count)
            for (place, id) in among.enumerated() {
                logits[id] += scale * (shares[place] - (place == index ? 1 : 0))
            }
            return loss
        case .distribution(let teacher):
            let logSum = VectorMath.logSumExp(logits, count: count)
            let (loss, tail) = divergence(logits, logSum: logSum, teacher)
            let own = teacher.tokens.map { exp(logits[Int($0)] - logSum) }
            // With q the model's probabilities, p the teacher's and t the tail: ∂/∂z = q − p among the listed tokens, and
            // q(1 − pₜ/qₜ) among the others.
            VectorMath.softmax(logits, count: count)
            VectorMath.scale(logits, by: scale * (1 - teacher.tail / tail), count: count)
            for (place, id) in teacher.tokens.enumerated() {
                logits[Int(id)] = scale * (own[place] - teacher.probabilities[place])
            }
            return loss
        }
    }

    private static func logSum(_ logits: UnsafePointer<Float>, _ among: [Int]) -> Float {
        let largest = among.reduce(-Float.infinity) { max($0, logits[$1]) }
        return largest + log(among.reduce(0) { $0 + exp(logits[$1] - largest) })
    }

    /// Σ p (ln p − ln q) over the listed tokens and the tail, and the model's tail, at least 10⁻⁶: single precision knows
    /// no difference from one below that.
    private static func divergence(
        _ logits: UnsafePointer<Float>, logSum: Float, _ teacher: TokenDistribution
    ) -> (loss: Float, tail: Float) {
        var loss: Float = 0
        var listed: Float = 0
        for (place, id) in teacher.tokens.enumerated() {
            let logProbability = logits[Int(id)] - logSum
            listed += exp(logProbability)
            let p = teacher.probabilities[place]
            if p > 0 { loss += p * (log(p) - logProbability) }
        }
        let tail = max(1 - listed, 1e-6)
        let p = teacher.tail
        if p > 0 { loss += p * (log(p) - log(tail)) }
        return (loss, tail)
    }
}

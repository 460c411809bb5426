import Foundation
import Kernels

/// How probable a token was, by the model alone: before any sampling step, at temperature 1.
public struct TokenProbability: Sendable, Equatable {
    public let token: Int
    /// Natural logarithm of the probability; minus infinity for a token the model rules out.
    public let logProbability: Float

    public init(token: Int, logProbability: Float) {
        self.token = token
        self.logProbability = logProbability
    }
}

/// The probability of a token drawn, and of the likeliest in its place.
public struct TokenChoice: Sendable, Equatable {
    public let chosen: TokenProbability
    /// The likeliest, in order; the one drawn need not be among them.
    public let top: [TokenProbability]

    /// - Parameters:
    ///   - token: the one drawn, an index of `logits`.
    ///   - logits: one number for each token of the vocabulary.
    ///   - count: how many of the likeliest are listed.
    public init(of token: Int, in logits: UnsafeBufferPointer<Float>, top count: Int) {
        var candidates = Candidates()
        candidates.load(logits)
        let normalizer = candidates.logNormalizer
        func probability(_ id: Int, _ logit: Float) -> TokenProbability {
            TokenProbability(token: id, logProbability: logit.isNaN ? -.infinity : logit - normalizer)
        }
        chosen = probability(token, logits.indices.contains(token) ? logits[token] : -.infinity)
        top = count > 0 ? candidates.top(count).map { probability(Int($0.id), $0.logit) } : []
    }
}

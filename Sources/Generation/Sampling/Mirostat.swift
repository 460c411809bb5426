import Foundation

/// Draws so that the text's surprise stays near a target: mirostat, in its first or second form.
///
/// μ begins at 2τ; after a draw with surprise S = −log₂ p: μ ← μ − η·(S − τ).
///
///     version 1   ŝ from the 100 likeliest (Zipf's exponent);  ε = ŝ − 1
///                 k = (ε·2^μ / (1 − N^−ε))^(1/ŝ),  N tokens in the vocabulary;  draw among the k likeliest
///     version 2   draw among tokens with −log₂ p ≤ μ, at least one
///
/// p is the probability among those drawn from. Basu and others 2020, arXiv:2007.14966.
struct Mirostat: SamplingStep {
    let version: Int
    let target, rate: Float
    private(set) var limit: Float
    var keepsLikeliest: Bool { false }
    /// Ranks from which version 1 estimates the exponent.
    private static let ranks = 100

    init(version: Int, target: Float, rate: Float) {
        self.version = version
        self.target = target
        self.rate = rate
        limit = 2 * target
    }

    mutating func apply(_ candidates: inout Candidates, _ random: inout RandomGenerator) {
        if version == 1 {
            candidates.keepTop(rankLimit(candidates))
        } else {
            let normalizer = candidates.logNormalizer
            candidates.keep(atLeast: normalizer - limit * Float(M_LN2))
        }
        guard let token = candidates.draw(random.nextUniform()) else { return }
        let normalizer = candidates.logNormalizer
        var surprise: Float = 0
        candidates.forEach { if Int($0.id) == token { surprise = (normalizer - $0.logit) / Float(M_LN2) } }
        limit -= rate * (surprise - target)
        candidates.chosen = token
    }

    /// How many of the likeliest tokens version 1 draws from.
    private func rankLimit(_ candidates: Candidates) -> Int {
        let count = candidates.count
        let top = candidates.top(Self.ranks + 1)
        var products: Float = 0
        var squares: Float = 0
        for rank in 0..<max(0, min(Self.ranks, top.count - 1)) {
            let t = log(Float(rank + 2) / Float(rank + 1))
            products += t * (top[rank].logit - top[rank + 1].logit)
            squares += t * t
        }
        guard squares > 0 else { return 1 }
        let exponent = products / squares
        let epsilon = exponent - 1
        let vocabulary = Float(candidates.vocabularyCount)
        let k = pow((epsilon * pow(2, limit)) / (1 - pow(vocabulary, -epsilon)), 1 / exponent)
        guard k < Float(count) else { return max(count, 1) }  // also for NaN
        return max(Int(k), 1)
    }
}

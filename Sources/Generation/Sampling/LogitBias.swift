/// Adds to the logits of some tokens; minus infinity forbids one. Runs before everything else.
struct LogitBias: SamplingStep {
    let bias: [Int: Float]
    var keepsLikeliest: Bool { false }

    func apply(_ candidates: inout Candidates, _ random: inout RandomGenerator) {
        candidates.edit(bias) { logit, bias in logit += bias }
    }
}

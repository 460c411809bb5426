/// Forbids tokens whose logit lies more than n standard deviations below the highest.
///
///     keep logit ≥ max − n·σ,  σ² = mean of (logit − mean)²  over tokens that are not forbidden
struct TopNSigma: SamplingStep {
    static let kind = SamplerKind(
        "top_n_sigma", formula: "keep logit ≥ highest − n·σ of the logits",
        source: "Tang and others 2024, arXiv:2411.07641"
    ) { settings, _ throws(SamplerSettingsError) in
        settings.topNSigma > 0 ? TopNSigma(deviations: settings.topNSigma) : nil
    }

    let deviations: Float
    var keepsLikeliest: Bool { true }

    func apply(_ candidates: inout Candidates, _ random: inout RandomGenerator) {
        guard candidates.count > 1 else { return }
        var sum = 0.0
        var count = 0
        candidates.forEach {
            sum += Double($0.logit)
            count += 1
        }
        guard count > 0 else { return }
        let mean = sum / Double(count)
        var squares = 0.0
        candidates.forEach {
            let distance = Double($0.logit) - mean
            squares += distance * distance
        }
        let deviation = Float((squares / Double(count)).squareRoot())
        candidates.forbid(below: candidates.highest - deviations * deviation)
    }
}

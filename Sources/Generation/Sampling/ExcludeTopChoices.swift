import Foundation

/// XTC: now and then removes the most probable tokens, all that reach a threshold but the least likely of them.
///
/// With probability `probability` a step acts; it does nothing where fewer than two tokens reach the threshold, so that
/// places with one right answer stay as they are. Off above a threshold of 0.5, where no two tokens can reach it.
struct ExcludeTopChoices: SamplingStep {
    static let kind = SamplerKind(
        "xtc", formula: "with probability q remove all tokens with p ≥ t but the least likely of them",
        source: "p-e-w 2024 (text-generation-webui #6335)"
    ) { settings, _ throws(SamplerSettingsError) in
        settings.xtcProbability > 0 && settings.xtcThreshold <= 0.5
            ? ExcludeTopChoices(probability: settings.xtcProbability, threshold: settings.xtcThreshold) : nil
    }

    let probability, threshold: Float
    var keepsLikeliest: Bool { false }

    func apply(_ candidates: inout Candidates, _ random: inout RandomGenerator) {
        guard candidates.count >= 2 else { return }
        if random.nextUniform() > Double(probability) { return }
        let normalizer = candidates.logNormalizer
        guard normalizer.isFinite else { return }
        var last: Candidates.Candidate?
        var count = 0
        candidates.forEach { item in
            guard exp(item.logit - normalizer) >= threshold else { return }
            count += 1
            if let found = last, !Candidates.Candidate.precedes(found, item) { return }
            last = item
        }
        guard count >= 2, let last else { return }
        candidates.keep { !Candidates.Candidate.precedes($0, last) }
    }
}

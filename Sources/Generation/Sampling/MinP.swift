import Foundation

/// Keeps tokens at least p times as likely as the likeliest.
struct MinP: SamplingStep {
    static let kind = SamplerKind(
        "min_p", formula: "keep logit ≥ highest logit + ln p", source: "Nguyen and others 2024, arXiv:2407.01082"
    ) { settings, _ throws(SamplerSettingsError) in settings.minP > 0 ? MinP(share: settings.minP) : nil }

    let share: Float
    var keepsLikeliest: Bool { true }

    func apply(_ candidates: inout Candidates, _ random: inout RandomGenerator) {
        candidates.keep(atLeast: candidates.highest + log(share))
    }
}

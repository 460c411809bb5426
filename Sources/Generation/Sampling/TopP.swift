/// Keeps the likeliest tokens until their probability reaches p, the one that reaches it included (nucleus sampling).
///
/// Probabilities are those of what earlier steps left. Sorts only as deep into the tail as p asks for.
struct TopP: SamplingStep {
    static let kind = SamplerKind(
        "top_p", formula: "keep the smallest set of likeliest tokens with Σ probability ≥ p",
        source: "Holtzman and others 2019, arXiv:1904.09751"
    ) { settings, _ throws(SamplerSettingsError) in settings.topP < 1 ? TopP(share: settings.topP) : nil }

    let share: Float
    var keepsLikeliest: Bool { true }

    func apply(_ candidates: inout Candidates, _ random: inout RandomGenerator) {
        let goal = Double(share)
        candidates.keepLeading(by: { -$0 }, depths: [4, 8, 12, 16], sorted: true) { $0 >= goal }
    }
}

/// Keeps the tokens whose surprise is nearest to what is to be expected, until their probability exceeds p (locally
/// typical sampling).
///
///     order by | −ln p(token) − H |,  H = −Σ p·ln p
///
/// The likeliest token may go: it can be *less* surprising than typical.
struct Typical: SamplingStep {
    static let kind = SamplerKind(
        "typ_p", aliases: ["typical", "typical_p", "typ"],
        formula: "keep tokens nearest to |−ln p − H| = 0 until Σ probability > p",
        source: "Meister and others 2022, arXiv:2202.00666"
    ) { settings, _ throws(SamplerSettingsError) in settings.typicalP < 1 ? Typical(share: settings.typicalP) : nil }

    let share: Float
    var keepsLikeliest: Bool { false }

    func apply(_ candidates: inout Candidates, _ random: inout RandomGenerator) {
        let entropy = candidates.entropy
        let goal = Double(share)
        candidates.keepLeading(by: { abs(-$0 - entropy) }, depths: [1, 2, 4, 8], sorted: false) { $0 > goal }
    }
}

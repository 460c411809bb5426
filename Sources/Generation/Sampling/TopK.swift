/// Keeps the k likeliest tokens; of equal logits those with lower ids.
struct TopK: SamplingStep {
    static let kind = SamplerKind(
        "top_k", formula: "keep the k highest logits", source: "Fan, Lewis, Dauphin 2018, arXiv:1805.04833"
    ) { settings, _ throws(SamplerSettingsError) in settings.topK > 0 ? TopK(limit: settings.topK) : nil }

    let limit: Int
    var keepsLikeliest: Bool { true }

    func apply(_ candidates: inout Candidates, _ random: inout RandomGenerator) { candidates.keepTop(limit) }
}

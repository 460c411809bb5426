/// Makes tokens of the last n less likely.
///
///     logit ← logit / r  where positive, logit · r elsewhere          repetition
///     logit ← logit − count · f − p                                   frequency, presence
///
/// The prompt's tokens count as well as the answer's.
struct Penalties: SamplingStep {
    static let kind = SamplerKind(
        "penalties", formula: "logit > 0 ? logit / r : logit · r; then − count·f − p",
        source: "Keskar and others 2019, arXiv:1909.05858 (repetition); OpenAI's API (frequency, presence)"
    ) { settings, _ throws(SamplerSettingsError) in
        let acts =
            settings.repetitionPenalty != 1 || settings.frequencyPenalty != 0 || settings.presencePenalty != 0
        guard acts, settings.penaltyWindow != 0 else { return nil }
        return Penalties(
            repetition: settings.repetitionPenalty, frequency: settings.frequencyPenalty,
            presence: settings.presencePenalty, window: settings.penaltyWindow)
    }

    let repetition, frequency, presence: Float
    /// How many of the last tokens count; nil: all.
    let window: Int?
    private var counts: [Int: Int] = [:]
    private var recent: RecentTokens
    var keepsLikeliest: Bool { false }

    init(repetition: Float, frequency: Float, presence: Float, window: Int?) {
        self.repetition = repetition
        self.frequency = frequency
        self.presence = presence
        self.window = window
        recent = RecentTokens(limit: window)
    }

    func apply(_ candidates: inout Candidates, _ random: inout RandomGenerator) {
        candidates.edit(counts) { logit, count in
            logit = logit <= 0 ? logit * repetition : logit / repetition
            logit -= Float(count) * frequency + presence
        }
    }

    mutating func accept(_ token: Int) {
        counts[token, default: 0] += 1
        guard window != nil, let old = recent.append(token), let count = counts[old] else { return }
        counts[old] = count > 1 ? count - 1 : nil
    }
}

/// The last tokens of a text, at most `limit` of them.
struct RecentTokens: Sendable {
    let limit: Int?
    private var ring: [Int] = []
    private var start = 0

    init(limit: Int?) { self.limit = limit }

    var count: Int { ring.count }

    /// Appends a token and returns the one that had to leave.
    @discardableResult
    mutating func append(_ token: Int) -> Int? {
        guard let limit else {
            ring.append(token)
            return nil
        }
        guard limit > 0 else { return token }
        if ring.count < limit {
            ring.append(token)
            return nil
        }
        let old = ring[start]
        ring[start] = token
        start = (start + 1) % limit
        return old
    }

    /// All of them, the last first.
    var reversed: [Int] { (0..<ring.count).map { ring[(start + ring.count - 1 - $0) % ring.count] } }
}

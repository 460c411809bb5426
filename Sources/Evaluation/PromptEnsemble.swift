import Generation

/// Several prompts of one task that answer together (Lester et al. 2021, section 6): they were trained from other seeds or
/// texts, err in other places, and together beat the best of them.
public struct PromptEnsemble: Sendable {
    /// How their answers become one: the label with the highest mean log-probability, or the one that most prompts choose,
    /// where the mean decides between equals.
    public var rule: SessionEnsemble.Rule

    public init(rule: SessionEnsemble.Rule) { self.rule = rule }

    /// The label for one row.
    ///
    /// - Parameter scores: log-probability of each label, one run for each prompt; at least one prompt and label.
    public func choose(_ scores: [[Double]]) -> Int {
        precondition(!scores.isEmpty && scores.allSatisfy { $0.count == scores[0].count && !$0.isEmpty })
        let labels = scores[0].indices
        let sums = labels.map { label in scores.reduce(0) { $0 + $1[label] } }
        func best(_ values: [Double]) -> Int { labels.max { values[$0] < values[$1] } ?? 0 }
        guard rule == .vote else { return best(sums) }
        var votes = [Int](repeating: 0, count: labels.count)
        for own in scores { votes[best(own)] += 1 }
        let most = votes.max() ?? 0
        return labels.filter { votes[$0] == most }.max { sums[$0] < sums[$1] } ?? 0
    }
}

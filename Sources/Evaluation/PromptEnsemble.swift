import PromptTuning

/// Several prompts of one task that answer together (Lester et al. 2021, section 6): they were trained from other seeds or
/// texts, err in other places, and together beat the best of them.
public struct PromptEnsemble: Sendable {
    /// How their answers become one.
    public enum Rule: String, Sendable, CaseIterable, Codable {
        /// The label with the highest mean log-probability.
        case mean
        /// The label that most prompts choose; the mean decides between equals.
        case vote
    }

    public var rule: Rule

    public init(rule: Rule) { self.rule = rule }

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

    /// The report of all prompts together, from the reports of each on the same rows by labels.
    ///
    /// Context and computation are sums: each prompt reads the row; times are those of one after another.
    public func report(_ reports: [TaskReport], rows: [Example], labels: [String]) -> TaskReport {
        precondition(!reports.isEmpty && reports.allSatisfy { $0.labelScores?.count == rows.count })
        let scores = reports.compactMap(\.labelScores)
        let answers = rows.indices.map { row in labels[choose(scores.map { $0[row] })] }
        let correct = zip(answers, rows).count { $0 == $1.target }
        let interval = Proportion(successes: correct, trials: rows.count).wilsonInterval()
        var result = reports[0]
        result.prompt = reports.map(\.prompt).joined(separator: " + ") + " (\(rule.rawValue))"
        result.correct = correct
        result.accuracy = Double(correct) / Double(max(rows.count, 1))
        result.accuracyLow = interval.lowerBound
        result.accuracyHigh = interval.upperBound
        result.loss = nil
        result.contextTokens = reports.reduce(0) { $0 + $1.contextTokens }
        result.computedTokens = reports.reduce(0) { $0 + $1.computedTokens }
        result.timeToFirstToken = reports.reduce(0) { $0 + $1.timeToFirstToken }
        result.seconds = reports.reduce(0) { $0 + $1.seconds }
        result.answers = answers
        result.labelScores = nil
        return result
    }
}

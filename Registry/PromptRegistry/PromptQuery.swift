import OCIArtifacts

/// Which prompts to list. All conditions hold at once.
public struct PromptQuery: Hashable, Sendable {
    /// A bound on a metric: `accuracy>=0.9`.
    public struct MetricBound: Hashable, Sendable {
        public var name: String
        public var isAtLeast: Bool
        public var value: Double

        public init(name: String, isAtLeast: Bool, value: Double) {
            self.name = name
            self.isAtLeast = isAtLeast
            self.value = value
        }

        /// Reads `name>=value` or `name<=value`; nil for anything else.
        public init?(_ text: String) {
            for (sign, isAtLeast) in [(">=", true), ("<=", false)] {
                let parts = text.split(separator: sign, omittingEmptySubsequences: false)
                guard parts.count == 2, !parts[0].isEmpty, let value = Double(parts[1]), value.isFinite else {
                    continue
                }
                self.init(name: String(parts[0]), isAtLeast: isAtLeast, value: value)
                return
            }
            return nil
        }
    }

    /// A place in a list: behind the prompt that stands there.
    public struct Position: Hashable, Sendable {
        public var name: RepositoryName
        public var digest: Digest

        public init(name: RepositoryName, digest: Digest) {
            self.name = name
            self.digest = digest
        }
    }

    public var base: Digest?
    public var repository: RepositoryName?
    public var task: String?
    public var labels: [String: String] = [:]
    public var metrics: [MetricBound] = []
    /// At most so many.
    public var limit: Int?
    /// How many to leave out at the beginning; the time it takes grows with it, unlike that of ``after``.
    public var offset = 0
    /// Go on behind this prompt of the same query, for the next page. What is stored or deleted between two pages neither
    /// repeats nor hides another prompt.
    public var after: Position?

    public init() {}

    /// Whether a record satisfies the conditions (``limit``, ``offset`` and ``after`` aside).
    public func matches(_ record: PromptRecord) -> Bool {
        if let base, record.baseFingerprint != base { return false }
        if let repository, record.name != repository { return false }
        if let task, record.annotations[AnnotationKey.task] != task { return false }
        for (key, value) in labels where record.annotations[AnnotationKey.labelPrefix + key] != value { return false }
        for bound in metrics {
            guard let value = record.metrics[bound.name].flatMap({ Double($0) }) else { return false }
            guard bound.isAtLeast ? value >= bound.value : value <= bound.value else { return false }
        }
        return true
    }
}

/// Whether a child may take its parent's place: it must be better at the new and not worse at the old.
public struct ContinuationGate: Sendable {
    /// Largest fall of the mean on the canary rows that counts as none.
    public var margin: Double
    public var seed: UInt64

    public init(margin: Double = 0.02, seed: UInt64 = 0) {
        self.margin = margin
        self.seed = seed
    }

    /// One score a row, higher is better, for parent and child on the same rows.
    public struct Pair: Sendable {
        public let parent, child: [Double]

        public init(parent: [Double], child: [Double]) {
            precondition(parent.count == child.count, "paired results must be as many")
            self.parent = parent
            self.child = child
        }

        /// Some of the rows.
        public subscript<Rows: RangeExpression<Int>>(rows: Rows) -> Pair {
            Pair(parent: Array(parent[rows]), child: Array(child[rows]))
        }
    }

    public struct Verdict: Sendable {
        public let accepted: Bool
        /// The reason, for people.
        public let reason: String
        /// Child − parent.
        public let canary: PairedComparison.Bootstrap?
        public let new: PairedComparison.Bootstrap
    }

    /// - Parameters:
    ///   - canary: nil when there are no canary rows; nothing then protects the old, and the reason says so.
    ///   - new: at least one row.
    public func judge(canary: Pair?, new: Pair) -> Verdict {
        let better = PairedComparison.bootstrap(new.parent, new.child, seed: seed)
        let kept = canary.flatMap { pair in
            pair.parent.isEmpty ? nil : PairedComparison.bootstrap(pair.parent, pair.child, seed: seed &+ 1)
        }
        func verdict(_ accepted: Bool, _ reason: String) -> Verdict {
            Verdict(accepted: accepted, reason: reason, canary: kept, new: better)
        }
        if let kept {
            if kept.difference < -margin {
                return verdict(false, "the canary rows fell by \(-kept.difference), more than the margin of \(margin)")
            }
            if kept.interval.upperBound < 0 { return verdict(false, "the canary rows fell, and not by chance") }
        }
        guard better.interval.lowerBound > 0 else {
            return verdict(false, "the new rows are not answered better beyond chance (p \(better.pValue))")
        }
        return verdict(
            true,
            kept == nil
                ? "the new rows are answered better; there were no canary rows to protect the old"
                : "the new rows are answered better and the canary rows no worse")
    }
}

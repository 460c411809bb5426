import Foundation
import PromptTuning

/// A share of successes with the range it may truly lie in.
public struct Proportion: Sendable, Hashable {
    public let successes: Int
    public let trials: Int

    public init(successes: Int, trials: Int) {
        precondition(successes >= 0 && successes <= trials, "successes must be within the trials")
        self.successes = successes
        self.trials = trials
    }

    public init(_ outcomes: [Bool]) { self.init(successes: outcomes.count { $0 }, trials: outcomes.count) }

    /// The share, 0 without trials.
    public var value: Double { trials == 0 ? 0 : Double(successes) / Double(trials) }

    /// Wilson's score interval (1927), sound also for few trials and shares near 0 or 1. `0...1` without trials.
    /// - Parameter z: the normal quantile; 1.96 for 95 %.
    public func wilsonInterval(z: Double = 1.959_963_984_540_054) -> ClosedRange<Double> {
        guard trials > 0 else { return 0...1 }
        let n = Double(trials)
        let share = value
        let denominator = 1 + z * z / n
        let centre = (share + z * z / (2 * n)) / denominator
        let half = z / denominator * (share * (1 - share) / n + z * z / (4 * n * n)).squareRoot()
        let lower = successes == 0 ? 0 : max(0, centre - half)
        let upper = successes == trials ? 1 : min(1, centre + half)
        return lower...upper
    }
}

/// Whether two systems differ on the same examples.
public enum PairedComparison {
    /// The two-sided p-value of McNemar's exact test: how likely a difference at least as large is if both are equal.
    ///
    /// Only examples that one gets right and the other wrong count. 1 if there are none.
    public static func mcNemar(_ a: [Bool], _ b: [Bool]) -> Double {
        precondition(a.count == b.count, "paired results must be as many")
        let onlyA = zip(a, b).count { $0 && !$1 }
        let onlyB = zip(a, b).count { !$0 && $1 }
        let n = onlyA + onlyB
        guard n > 0 else { return 1 }
        // Twice the tail of Binomial(n, 1/2), in logarithms: n may be large.
        let fewer = min(onlyA, onlyB)
        var tail = 0.0
        for k in 0...fewer {
            let logarithm =
                lgamma(Double(n + 1)) - lgamma(Double(k + 1)) - lgamma(Double(n - k + 1)) - Double(n) * log(2)
            tail += exp(logarithm)
        }
        return min(1, 2 * tail)
    }

    /// The difference of means (`b` − `a`) with its interval and p-value, by resampling the examples.
    public struct Bootstrap: Sendable, Hashable {
        public let difference: Double
        public let interval: ClosedRange<Double>
        /// Two-sided: twice the share of resamples on the other side of zero, at most 1 and at least 2/(resamples + 1).
        public let pValue: Double
    }

    /// The paired bootstrap over examples. The same seed gives the same numbers.
    /// - Parameters:
    ///   - confidence: the interval's, 0.95 by default.
    public static func bootstrap(
        _ a: [Double], _ b: [Double], resamples: Int = 10_000, confidence: Double = 0.95, seed: UInt64 = 0
    ) -> Bootstrap {
        precondition(a.count == b.count && !a.isEmpty, "paired results must be as many, and some")
        precondition(resamples > 0 && confidence > 0 && confidence < 1, "the bootstrap's settings are out of range")
        let differences = zip(a, b).map { $1 - $0 }
        let count = Double(differences.count)
        let mean = differences.reduce(0, +) / count
        var random = SplitMix64(seed: seed)
        var means: [Double] = []
        means.reserveCapacity(resamples)
        for _ in 0..<resamples {
            var sum = 0.0
            for _ in differences.indices { sum += differences[random.next(below: differences.count)] }
            means.append(sum / count)
        }
        let atOrBelow = means.count { $0 <= 0 }
        let atOrAbove = means.count { $0 >= 0 }
        let pValue = min(1, 2 * Double(min(atOrBelow, atOrAbove) + 1) / Double(resamples + 1))
        let tail = (1 - confidence) / 2
        let sorted = means.sorted()
        let lower = Percentile.ofSorted(sorted, tail)
        let upper = Percentile.ofSorted(sorted, 1 - tail)
        return Bootstrap(difference: mean, interval: lower...max(lower, upper), pValue: pValue)
    }
}

/// Quantiles of measured values.
public enum Percentile {
    /// The quantile at `fraction` (0…1), between neighbours in a straight line (NumPy's default); `nil` without values.
    ///
    /// Values that are not numbers are left out.
    public static func of(_ values: [Double], _ fraction: Double) -> Double? {
        let sorted = values.filter { !$0.isNaN }.sorted()
        return sorted.isEmpty ? nil : ofSorted(sorted, fraction)
    }

    /// The middle value; `nil` without values.
    public static func median(_ values: [Double]) -> Double? { of(values, 0.5) }

    static func ofSorted(_ sorted: [Double], _ fraction: Double) -> Double {
        let position = min(max(fraction, 0), 1) * Double(sorted.count - 1)
        let lower = Int(position)
        let upper = min(lower + 1, sorted.count - 1)
        return sorted[lower] + (sorted[upper] - sorted[lower]) * (position - Double(lower))
    }
}

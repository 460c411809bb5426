import Testing

@testable import Evaluation

@Suite struct StatisticsTests {
    /// The figures' own rounding.
    private let tolerance = 5e-5

    @Test(arguments: [
        // Newcombe (1998), table I, method 3: Wilson without continuity correction.
        (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718),
    ]) func `the interval is Wilson's`(_ successes: Int, _ trials: Int, _ lower: Double, _ upper: Double) {
        let interval = Proportion(successes: successes, trials: trials).wilsonInterval()
        #expect(abs(interval.lowerBound - lower) < tolerance && abs(interval.upperBound - upper) < tolerance)
    }

    @Test func `no trials and full marks are no special trouble`() {
        #expect(Proportion([]).value == 0 && Proportion([]).wilsonInterval() == 0...1)
        #expect(Proportion([true, true]).wilsonInterval().upperBound == 1)
    }

    @Test func `McNemar's test counts the examples that differ`() {
        func p(_ onlyA: Int, _ onlyB: Int, both: Int) -> Double {
            let a = [Bool](repeating: true, count: onlyA + both) + [Bool](repeating: false, count: onlyB)
            let b = [Bool](repeating: false, count: onlyA) + [Bool](repeating: true, count: both + onlyB)
            return PairedComparison.mcNemar(a, b)
        }
        #expect(p(0, 0, both: 9) == 1)
        #expect(abs(p(0, 5, both: 3) - 2.0 / 32) < 1e-12)
        #expect(abs(p(2, 8, both: 0) - 2.0 * 56 / 1024) < 1e-12)
        #expect(p(4, 4, both: 1) == 1)
        #expect(p(1000, 1200, both: 0) < 1e-4)
    }

    @Test func `the bootstrap finds a difference that is there and none that is not`() {
        let a = (0..<200).map { Double($0 % 10 < 5 ? 1 : 0) }
        let better = (0..<200).map { Double($0 % 10 < 7 ? 1 : 0) }
        let found = PairedComparison.bootstrap(a, better, resamples: 2000, seed: 1)
        #expect(abs(found.difference - 0.2) < 1e-12 && found.interval.lowerBound > 0.1 && found.pValue < 0.01)
        #expect(found == PairedComparison.bootstrap(a, better, resamples: 2000, seed: 1))
        let shifted = (0..<200).map { Double(($0 + 5) % 10 < 5 ? 1 : 0) }
        #expect(PairedComparison.bootstrap(a, shifted, resamples: 2000, seed: 1).pValue > 0.5)
        #expect(PairedComparison.bootstrap(a, a, resamples: 100).pValue == 1)
    }

    @Test func `percentiles lie between neighbours in a straight line`() {
        #expect(Percentile.median([3, 1, 2]) == 2 && Percentile.median([4, 1, 2, 3]) == 2.5)
        #expect(Percentile.of([1, 2, 3, 4, .nan], 0.9) == 3.7)
        #expect(Percentile.of([1, 2], 0) == 1 && Percentile.of([1, 2], 1) == 2 && Percentile.median([]) == nil)
    }
}

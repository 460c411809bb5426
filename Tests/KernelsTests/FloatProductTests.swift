import Testing

@testable import Kernels

@Suite struct FloatProductTests {
    /// Of the expected sum of magnitudes, a quarter per product: 600 F32 roundings in any order stay far below.
    static let tolerance = 1e-6

    @Test("Both orientations equal the naive product, plain and accumulating", arguments: [1, 2])
    func equalsNaive(threads: Int) {
        let pool = ThreadPool(threadCount: threads)
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (17, 33, 64), (330, 20, 40), (16, 400, 600), (2, 3, 0)] {
            var generator = SeededGenerator(UInt64(m * n))
            let a = randomFloats(m * k, &generator), b = randomFloats(n * k, &generator)
            let transposed = (0..<k * n).map { b[$0 % n * k + $0 / n] }  // (k, n)
            var expected = [Double](repeating: 0, count: m * n)
            for i in 0..<m {
                for j in 0..<n {
                    expected[i * n + j] = (0..<k).reduce(0.0) { $0 + Double(a[i * k + $1]) * Double(b[j * k + $1]) }
                }
            }
            let magnitudes = [Double](repeating: 1 + Double(k) / 4, count: m * n)
            for accumulate in [false, true] {
                let initial: Float = accumulate ? 2 : .nan
                var forward = [Float](repeating: initial, count: m * n), backward = forward
                FloatProduct.multiplyTransposed(
                    a, b, into: &forward, m: m, n: n, k: k, accumulate: accumulate, pool: pool)
                FloatProduct.multiply(
                    a, transposed, into: &backward, m: m, n: n, k: k, accumulate: accumulate, pool: pool)
                let wanted = accumulate ? expected.map { $0 + 2 } : expected
                expectClose(forward, wanted, magnitudes: magnitudes, tolerance: Self.tolerance, "\(m) × \(n) × \(k)")
                expectClose(backward, wanted, magnitudes: magnitudes, tolerance: Self.tolerance, "\(m) × \(n) × \(k)")
            }
        }
    }

    @Test("Every row of the table packs and multiplies alike", arguments: KernelTable.available.map(\.name))
    func rows(rowName: String) throws {
        let table = try #require(KernelTable.available.first { $0.name == rowName })
        for (m, n, k) in [(1, 1, 1), (5, 3, 9), (13, 35, 64), (40, 17, 300)] {
            var generator = SeededGenerator(UInt64(k))
            let a = randomFloats(m * k, &generator), b = randomFloats(k * n, &generator)
            let turnedA = (0..<m * k).map { a[$0 % m * k + $0 / m] },
                turnedB = (0..<k * n).map { b[$0 % k * n + $0 / k] }
            var expected = [Double](repeating: 0, count: m * n)
            for i in 0..<m {
                for j in 0..<n {
                    expected[i * n + j] = (0..<k).reduce(0.0) { $0 + Double(a[i * k + $1]) * Double(b[$1 * n + j]) }
                }
            }
            let magnitudes = [Double](repeating: 1 + Double(k) / 4, count: m * n)
            for (transposesA, transposesB) in [(false, false), (false, true), (true, false), (true, true)] {
                var c = [Float](repeating: .nan, count: m * n)
                FloatProduct.sgemm(
                    table, transposesA, transposesB, m, n, k, 1, transposesA ? turnedA : a, transposesA ? m : k,
                    transposesB ? turnedB : b, transposesB ? k : n, 0, &c, n)
                expectClose(
                    c, expected, magnitudes: magnitudes, tolerance: Self.tolerance,
                    "\(rowName) \(m) × \(n) × \(k), \(transposesA), \(transposesB)")
            }
        }
    }

    @Test("The number of threads does not change a bit")
    func threads() {
        let (m, n, k) = (288, 1000, 96)
        var generator = SeededGenerator(5)
        let a = randomFloats(m * k, &generator), b = randomFloats(n * k, &generator)
        let results = [1, 2, 5].map { threads in
            let pool = ThreadPool(threadCount: threads)
            var c = [Float](repeating: 0, count: m * n)
            FloatProduct.multiplyTransposed(a, b, into: &c, m: m, n: n, k: k, pool: pool)
            return c.map(\.bitPattern)
        }
        #expect(results[0] == results[1] && results[0] == results[2])
    }
}

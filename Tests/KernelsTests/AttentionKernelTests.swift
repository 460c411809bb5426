import Testing

@testable import Kernels

@Suite struct AttentionKernelTests {
    /// F32 sums over at most 700 keys and 128 dimensions, weights that add up to 1.
    static let tolerance = 2e-5

    struct Shape: Sendable, CustomStringConvertible {
        let heads, keyValueHeads, dimension, past, tokens: Int
        var description: String { "\(heads)/\(keyValueHeads) heads × \(dimension), \(past) + \(tokens)" }
    }
    static let shapes = [
        Shape(heads: 9, keyValueHeads: 3, dimension: 64, past: 0, tokens: 1),
        Shape(heads: 9, keyValueHeads: 3, dimension: 64, past: 0, tokens: 70),
        Shape(heads: 9, keyValueHeads: 3, dimension: 64, past: 600, tokens: 1),
        Shape(heads: 9, keyValueHeads: 3, dimension: 64, past: 255, tokens: 3),
        Shape(heads: 9, keyValueHeads: 3, dimension: 64, past: 60, tokens: 17),
        Shape(heads: 2, keyValueHeads: 2, dimension: 80, past: 5, tokens: 50),
        Shape(heads: 4, keyValueHeads: 2, dimension: 24, past: 63, tokens: 33),
        Shape(heads: 14, keyValueHeads: 2, dimension: 32, past: 1, tokens: 64),
        Shape(heads: 8, keyValueHeads: 1, dimension: 128, past: 64, tokens: 8),
        Shape(heads: 1, keyValueHeads: 1, dimension: 1, past: 2, tokens: 9),
        Shape(heads: 3, keyValueHeads: 1, dimension: 19, past: 300, tokens: 2),
    ]

    struct Problem {
        let shape: Shape, capacity: Int
        let queries, keys, values: [Float]
        let scale: Float

        init(_ shape: Shape, seed: UInt64, half: Bool) {
            var generator = SeededGenerator(seed)
            self.shape = shape
            capacity = shape.past + shape.tokens + 3
            queries = randomFloats(shape.tokens * shape.heads * shape.dimension, &generator, scale: 3)
            let count = shape.keyValueHeads * capacity * shape.dimension
            func cache(_ scale: Float) -> [Float] {
                randomFloats(count, &generator, scale: scale).map { half ? Float(Float16($0)) : $0 }
            }
            keys = cache(2)
            values = cache(1)
            scale = 1 / Float(shape.dimension).squareRoot()
        }

        func naive(window: Int = 0, softCap: Double = 0) -> [Double] {
            let d = shape.dimension, group = shape.heads / shape.keyValueHeads
            var result = [Double](repeating: 0, count: queries.count)
            for t in 0..<shape.tokens {
                for h in 0..<shape.heads {
                    let base = h / group * capacity * d, at = (t * shape.heads + h) * d
                    let first = window > 0 ? max(0, shape.past + t + 1 - window) : 0
                    let scores = (0...shape.past + t).map { s in
                        let score =
                            Double(scale)
                            * (0..<d).reduce(0.0) { $0 + Double(queries[at + $1]) * Double(keys[base + s * d + $1]) }
                        if s < first { return -Double.infinity }
                        return softCap > 0 ? softCap * Double.hyperbolicTangent(score / softCap) : score
                    }
                    let largest = scores.max()!
                    let weights = scores.map { Float64.exponential($0 - largest) }
                    let total = weights.reduce(0, +)
                    for (s, weight) in weights.enumerated() {
                        for i in 0..<d { result[at + i] += weight / total * Double(values[base + s * d + i]) }
                    }
                }
            }
            return result
        }

        func run(
            _ kernels: KernelTable, element: KVElement, threads: Int, window: Int = 0, softCap: Float = 0
        ) -> [Float] {
            let pool = ThreadPool(threadCount: threads)
            var out = [Float](repeating: .nan, count: queries.count)
            func call(_ keys: UnsafeRawPointer, _ values: UnsafeRawPointer) {
                let width = shape.heads * shape.dimension
                queries.withUnsafeBufferPointer { queries in
                    out.withUnsafeMutableBufferPointer { out in
                        AttentionKernel.run(
                            queries: queries.baseAddress!, queryStride: width, keys: keys, values: values,
                            element: element, capacity: capacity, tokens: shape.tokens, past: shape.past,
                            headCount: shape.heads, keyValueHeadCount: shape.keyValueHeads,
                            headDimension: shape.dimension, scale: scale, softCap: softCap, window: window,
                            into: out.baseAddress!, outStride: width, pool: pool, kernels: kernels)
                    }
                }
            }
            switch element {
            case .f32:
                keys.withUnsafeBytes { k in values.withUnsafeBytes { v in call(k.baseAddress!, v.baseAddress!) } }
            case .f16:
                let (k, v) = (keys.map { Float16($0) }, values.map { Float16($0) })
                k.withUnsafeBytes { k in v.withUnsafeBytes { v in call(k.baseAddress!, v.baseAddress!) } }
            }
            return out
        }
    }

    @Test("Attention equals the naive computation", arguments: shapes, MatrixProductTests.rowNames)
    func equalsNaive(shape: Shape, rowName: String) {
        for element in [KVElement.f32, .f16] {
            let problem = Problem(shape, seed: 7, half: element == .f16)
            let actual = problem.run(MatrixProductTests.table(rowName), element: element, threads: 2)
            let expected = problem.naive()
            expectClose(
                actual, expected, magnitudes: expected.map { _ in 1 }, tolerance: Self.tolerance,
                "\(shape) \(rowName) \(element)")
        }
    }

    @Test("Windows and soft caps equal the naive computation", arguments: shapes)
    func windowsAndSoftCaps(shape: Shape) {
        let problem = Problem(shape, seed: 9, half: true)
        for (window, softCap) in [(1, 0), (5, 2.5), (64, 0), (65, 2.5), (256, 0), (300, 2.5), (5000, 2.5)] {
            let expected = problem.naive(window: window, softCap: softCap)
            for rowName in MatrixProductTests.rowNames {
                let actual = problem.run(
                    MatrixProductTests.table(rowName), element: .f16, threads: 2, window: window,
                    softCap: Float(softCap))
                expectClose(
                    actual, expected, magnitudes: expected.map { _ in 1 }, tolerance: Self.tolerance,
                    "\(shape) \(rowName) window \(window) soft cap \(softCap)")
            }
        }
    }

    @Test("The number of threads does not change a bit", arguments: shapes)
    func threads(shape: Shape) {
        let problem = Problem(shape, seed: 8, half: true)
        let one = problem.run(.current, element: .f16, threads: 1)
        #expect(one.map(\.bitPattern) == problem.run(.current, element: .f16, threads: 2).map(\.bitPattern))
        #expect(one.map(\.bitPattern) == problem.run(.current, element: .f16, threads: 5).map(\.bitPattern))
    }

    @Test("Scores far apart neither overflow nor lose the winner")
    func extremeScores() {
        for row in KernelTable.available {
            let shape = Shape(heads: 1, keyValueHeads: 1, dimension: 16, past: 100, tokens: 9)
            let base = Problem(shape, seed: 9, half: false)
            var keys = base.keys, queries = base.queries
            for i in keys.indices { keys[i] = i / 16 == 40 ? 1 : -1 }
            for i in queries.indices { queries[i] = 1e4 }
            let problem = Problem(base, queries: queries, keys: keys)
            for (i, value) in problem.run(row, element: .f32, threads: 1).enumerated() {
                #expect(value == problem.values[40 * 16 + i % 16], "\(row.name)")
            }
        }
    }
}

extension AttentionKernelTests.Problem {
    init(_ other: Self, queries: [Float], keys: [Float]) {
        shape = other.shape
        capacity = other.capacity
        self.queries = queries
        self.keys = keys
        values = other.values
        scale = other.scale
    }
}

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

        init(_ shape: Shape, seed: UInt64, element: KVElement) {
            var generator = SeededGenerator(seed)
            self.shape = shape
            capacity = shape.past + shape.tokens + 3
            queries = randomFloats(shape.tokens * shape.heads * shape.dimension, &generator, scale: 3)
            let count = shape.keyValueHeads * capacity * shape.dimension
            func cache(_ scale: Float) -> [Float] {
                Self.rounded(randomFloats(count, &generator, scale: scale), element, shape.dimension)
            }
            keys = cache(2)
            values = cache(1)
            scale = 1 / Float(shape.dimension).squareRoot()
        }

        /// What a cache of `element` gives back, by the definition of the format.
        static func rounded(_ values: [Float], _ element: KVElement, _ dimension: Int) -> [Float] {
            switch element {
            case .f32: return values
            case .f16: return values.map { Float(Float16($0)) }
            case .q8_0:
                return stride(from: 0, to: values.count, by: 32).flatMap { start in
                    let block = values[start..<start + 32]
                    let largest = block.reduce(0) { max($0, abs($1)) }
                    let scale = Float(Float16(largest / 127))
                    return block.map { largest == 0 ? 0 : ($0 * (127 / largest)).rounded(.toNearestOrEven) * scale }
                }
            }
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

        /// The cache in pages; of `shared` slots the memory belongs to another table.
        func pages(_ element: KVElement, shared: Int = 0) -> KVPages {
            func table() -> KVPages {
                KVPages(headCount: shape.keyValueHeads, headDimension: shape.dimension, element: element)
            }
            func fill(_ pages: KVPages, _ slots: Range<Int>) {
                pages.reserve(slots)
                for slot in slots {
                    for head in 0..<shape.keyValueHeads {
                        let at = (head * capacity + slot) * shape.dimension
                        for (isValue, source) in [(false, keys), (true, values)] {
                            source.withUnsafeBufferPointer {
                                pages.write($0.baseAddress! + at, slot: slot, head: head, isValue: isValue)
                            }
                        }
                    }
                }
            }
            let pages = table()
            if shared > 0 {
                let first = table()
                fill(first, 0..<shared)
                pages.begin(with: first.share(shared))
            }
            fill(pages, shared..<capacity)
            return pages
        }

        func run(
            _ kernels: KernelTable, element: KVElement, threads: Int, window: Int = 0, softCap: Float = 0,
            shared: Int = 0, tiles: Bool? = nil, pieces: Int = 1
        ) -> [Float] {
            let pool = ThreadPool(threadCount: threads)
            var out = [Float](repeating: .nan, count: queries.count)
            let pages = pages(element, shared: shared)
            let width = shape.heads * shape.dimension
            let settings = AttentionShape(
                headCount: shape.heads, keyValueHeadCount: shape.keyValueHeads, headDimension: shape.dimension,
                scale: scale, softCap: softCap, window: window)
            queries.withUnsafeBufferPointer { queries in
                out.withUnsafeMutableBufferPointer { out in
                    let size = (shape.tokens + pieces - 1) / pieces
                    let calls = stride(from: 0, to: shape.tokens, by: size).map { first in
                        AttentionCall(
                            queries: queries.baseAddress! + first * width, pages: pages,
                            tokens: min(size, shape.tokens - first), past: shape.past + first,
                            usesTiles: tiles ?? (shape.tokens >= AttentionKernel.tileThreshold),
                            into: out.baseAddress! + first * width)
                    }
                    AttentionKernel.run(calls, settings, pool: pool, kernels: kernels)
                }
            }
            return out
        }
    }

    @Test("Attention equals the naive computation", arguments: shapes, MatrixProductTests.rowNames)
    func equalsNaive(shape: Shape, rowName: String) {
        for element in KVElement.allCases where element.fits(headDimension: shape.dimension) {
            let problem = Problem(shape, seed: 7, element: element)
            let actual = problem.run(MatrixProductTests.table(rowName), element: element, threads: 2)
            let expected = problem.naive()
            expectClose(
                actual, expected, magnitudes: expected.map { _ in 1 }, tolerance: Self.tolerance,
                "\(shape) \(rowName) \(element)")
        }
    }

    @Test("Windows and soft caps equal the naive computation", arguments: shapes)
    func windowsAndSoftCaps(shape: Shape) {
        let problem = Problem(shape, seed: 9, element: .f16)
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
        let problem = Problem(shape, seed: 8, element: .f16)
        let one = problem.run(.current, element: .f16, threads: 1)
        #expect(one.map(\.bitPattern) == problem.run(.current, element: .f16, threads: 2).map(\.bitPattern))
        #expect(one.map(\.bitPattern) == problem.run(.current, element: .f16, threads: 5).map(\.bitPattern))
    }

    @Test("Pages that are shared and pieces of a text give the whole's numbers", arguments: shapes)
    func pagesAndPieces(shape: Shape) {
        for element in KVElement.allCases where element.fits(headDimension: shape.dimension) {
            let problem = Problem(shape, seed: 10, element: element)
            let expected = problem.naive(window: 70)
            for row in KernelTable.available {
                for tiles in [false, true] {
                    let whole = problem.run(row, element: element, threads: 2, window: 70, shared: 1, tiles: tiles)
                    expectClose(
                        whole, expected, magnitudes: expected.map { _ in 1 }, tolerance: Self.tolerance,
                        "\(shape) \(row.name) \(element) tiles: \(tiles)")
                    let pieces = problem.run(
                        row, element: element, threads: 2, window: 70, shared: 1, tiles: tiles, pieces: 3)
                    #expect(whole.map(\.bitPattern) == pieces.map(\.bitPattern), "\(shape) \(row.name) \(element)")
                }
            }
        }
    }

    @Test("Int8 rows hold what the format says, and a broken number breaks its block")
    func int8Rows() {
        let values = (0..<64).map { Float($0 * 37 % 64) / 7 - 4 }
        for row in KernelTable.available {
            func back(_ values: [Float]) -> [Float] {
                var stored = [UInt8](repeating: 0, count: KVElement.q8_0.rowBytes(headDimension: values.count))
                var result = [Float](repeating: 0, count: values.count)
                row.row.pointee.cache_write(KVElement.q8_0.type, values, &stored, values.count)
                row.row.pointee.cache_read(KVElement.q8_0.type, stored, &result, values.count)
                return result
            }
            #expect(back(values) == Problem.rounded(values, .q8_0, 64), "\(row.name)")
            #expect(back([Float](repeating: 0, count: 32)) == [Float](repeating: 0, count: 32))
            var broken = values
            broken[40] = .infinity
            let result = back(broken)
            #expect(Array(result[..<32]) == Problem.rounded(Array(values[..<32]), .q8_0, 32))
            #expect(result[32...].allSatisfy { $0.isNaN })
        }
    }

    @Test("Scores far apart neither overflow nor lose the winner")
    func extremeScores() {
        for row in KernelTable.available {
            let shape = Shape(heads: 1, keyValueHeads: 1, dimension: 16, past: 100, tokens: 9)
            let base = Problem(shape, seed: 9, element: .f32)
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

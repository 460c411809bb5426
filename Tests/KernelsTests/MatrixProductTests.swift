import TensorTypes
import Testing

@testable import Kernels

@Suite struct MatrixProductTests {
    /// F32 sums of up to 576 products in blocks of 32: far below 600 roundings of 6e-8 each.
    static let sumTolerance = 4e-6

    /// Rows of the kernel table by name: `KernelTable` itself would make unreadable test names.
    static let rowNames = KernelTable.available.map(\.name)
    static func table(_ name: String) -> KernelTable { KernelTable.available.first { $0.name == name }! }

    struct Problem {
        let type: TensorType, rows: Int, columns: Int
        let bytes: [UInt8], matrix: PackedMatrix, weights: [Float]

        init(_ type: TensorType, rows: Int, columns: Int, pool: ThreadPool, _ generator: inout SeededGenerator) throws {
            let bytes = randomWeights(type, rows: rows, columns: columns, &generator)
            try self.init(type, rows: rows, columns: columns, bytes: bytes, pool: pool)
        }

        init(_ type: TensorType, rows: Int, columns: Int, bytes: [UInt8], pool: ThreadPool) throws {
            self.type = type
            self.rows = rows
            self.columns = columns
            self.bytes = bytes
            matrix = try bytes.withUnsafeBytes {
                try PackedMatrix(type: type, rows: rows, columns: columns, bytes: $0, pool: pool)
            }
            weights = decoded(type, bytes, count: rows * columns)
        }

        /// (expected, magnitudes) of the product with x: (tokens, columns).
        func reference(_ x: [Double], tokens: Int) -> ([Double], [Double]) {
            var values: [Double] = [], magnitudes: [Double] = []
            for t in 0..<tokens {
                for r in 0..<rows {
                    var sum = 0.0, magnitude = 0.0
                    for c in 0..<columns {
                        let product = x[t * columns + c] * Double(weights[r * columns + c])
                        sum += product
                        magnitude += abs(product)
                    }
                    values.append(sum)
                    // An affine block computes q·x and minimum·Σx apart, so cancellation counts in full.
                    magnitudes.append(magnitude * 16 + 1e-6)
                }
            }
            return (values, magnitudes)
        }
    }

    static func product(
        _ problems: [Problem], x: [Float], tokens: Int, table: KernelTable, pool: ThreadPool, initial: Float? = nil
    ) -> [[Float]] {
        let columns = problems[0].columns
        let activations = Activations(kernels: table)
        activations.reserve(tokens: tokens, columns: columns)
        activations.floats.update(from: x, count: tokens * columns)
        activations.quantize(tokens: tokens, columns: columns, pool: pool)
        var outputs = problems.map { [Float](repeating: initial ?? .nan, count: tokens * $0.rows) }
        var pending: [ProductJob] = []
        let buffers = problems.map { UnsafeMutablePointer<Float>.allocate(capacity: tokens * $0.rows) }
        defer { for buffer in buffers { buffer.deallocate() } }
        for (index, buffer) in buffers.enumerated() {
            buffer.initialize(repeating: initial ?? .nan, count: tokens * problems[index].rows)
            pending.append(
                ProductJob(
                    problems[index].matrix, into: buffer, stride: problems[index].rows, accumulate: initial != nil))
        }
        MatrixProduct.run(pending, activations, tokens: tokens, pool: pool)
        for (index, buffer) in buffers.enumerated() {
            outputs[index] = Array(UnsafeBufferPointer(start: buffer, count: tokens * problems[index].rows))
        }
        return outputs
    }

    /// 15 bits of activation leave some 10⁻⁶ of the magnitudes, 8 bits alone some 10⁻⁴: the tolerance tells them apart.
    @Test("A refined product is as good as one with float activations", arguments: quantizedTypes.map(\.name), rowNames)
    func refinedProduct(typeName: String, rowName: String) throws {
        let type = try #require(TensorType(name: typeName)), table = Self.table(rowName)
        let pool = ThreadPool(threadCount: 2)
        var generator = SeededGenerator(UInt64(type.id) + 77)
        let columns = 576 % type.blockSize == 0 ? 576 : 512, rows = 33
        let ones = [Float](repeating: 1, count: columns)
        for tokens in [1, 2, 7, 16, 37] {
            let problem = try Problem(type, rows: rows, columns: columns, pool: pool, &generator)
            let x = randomFloats(tokens * columns, &generator, scale: 3)
            let activations = Activations(kernels: table)
            let output = UnsafeMutablePointer<Float>.allocate(capacity: tokens * rows)
            defer { output.deallocate() }
            // An epsilon this large makes RMSNorm a multiplication: x / sqrt(mean(x²) + 10⁶) * 1000 is nearly x.
            let thousand = ones.map { $0 * 1000 }
            activations.setRMSNorm(
                of: x, stride: columns, weight: thousand, epsilon: 1e6, tokens: tokens, columns: columns, refines: true,
                pool: pool)
            MatrixProduct.run(
                [ProductJob(problem.matrix, into: output, stride: rows, isRefined: true)], activations, tokens: tokens,
                pool: pool)
            let seen = UnsafeBufferPointer(start: activations.floats, count: tokens * columns).map(Double.init)
            let (expected, magnitudes) = problem.reference(seen, tokens: tokens)
            let actual = Array(UnsafeBufferPointer(start: output, count: tokens * rows))
            // `magnitudes` are sixteen times the sum of magnitudes.
            expectClose(
                actual, expected, magnitudes: magnitudes, tolerance: 4e-5 / 16, "\(tokens) tokens, \(table.name)")
        }
    }

    @Test("Each quantized type equals the reference around every edge", arguments: quantizedTypes.map(\.name), rowNames)
    func quantizedProduct(typeName: String, rowName: String) throws {
        let type = try #require(TensorType(name: typeName)), table = Self.table(rowName)
        let pool = ThreadPool(threadCount: 2)
        var generator = SeededGenerator(UInt64(type.id) + 1)
        for columns in [32, 64, 96, 256, 512, 576] where columns % type.blockSize == 0 {
            for rows in [1, 15, 16, 17, 33] {
                let problem = try Problem(type, rows: rows, columns: columns, pool: pool, &generator)
                for tokens in [1, 2, 3, 7, 8, 9, 17, 35] {
                    var x = randomFloats(tokens * columns, &generator)
                    for i in 0..<32 { x[i] = 0 }  // a zero block
                    if tokens > 1 { for i in columns..<columns + 32 { x[i] *= 1e6 } }
                    let (values, magnitudes) = problem.reference(int8Form(x, columns: columns), tokens: tokens)
                    let actual = Self.product([problem], x: x, tokens: tokens, table: table, pool: pool)[0]
                    expectClose(
                        actual, values, magnitudes: magnitudes, tolerance: Self.sumTolerance,
                        "\(typeName) \(rowName) \(rows) × \(columns), \(tokens) tokens")
                }
            }
        }
    }

    @Test(
        "Each float type equals the reference, for few and for many tokens", arguments: floatTypes.map(\.name), rowNames
    )
    func floatProduct(typeName: String, rowName: String) throws {
        let type = try #require(TensorType(name: typeName)), table = Self.table(rowName)
        let pool = ThreadPool(threadCount: 2)
        var generator = SeededGenerator(UInt64(type.id) + 20)
        for columns in [1, 7, 32, 100, 576] {
            for rows in [1, 16, 33, 150] {
                let problem = try Problem(type, rows: rows, columns: columns, pool: pool, &generator)
                for tokens in [1, 3, 4, 7, 8, 17] {
                    let x = randomFloats(tokens * columns, &generator)
                    let (values, magnitudes) = problem.reference(x.map(Double.init), tokens: tokens)
                    let actual = Self.product([problem], x: x, tokens: tokens, table: table, pool: pool)[0]
                    expectClose(
                        actual, values, magnitudes: magnitudes, tolerance: Self.sumTolerance,
                        "\(typeName) \(rowName) \(rows) × \(columns), \(tokens) tokens")
                }
            }
        }
    }

    @Test(
        "Floats of 16 bits: equal largest numbers do not overflow, and other tokens change no bit", arguments: rowNames)
    func wordProduct(rowName: String) throws {
        let pool = ThreadPool(threadCount: 2), columns = 96, rows = 35, tokens = 93
        for type in [TensorType.f16, .bf16] {
            var generator = SeededGenerator(UInt64(type.id) + 31)
            // All 32 products of a block have the largest words there are, with either sign.
            let one: [UInt8] = type == .f16 ? [0x00, 0x3c] : [0x80, 0x3f]
            let largest = try Problem(
                type, rows: rows, columns: columns, bytes: (0..<rows * columns).flatMap { _ in one }, pool: pool)
            for sign: Float in [3, -3] {
                let x = [Float](repeating: sign, count: tokens * columns)
                let sums = Self.product([largest], x: x, tokens: tokens, table: Self.table(rowName), pool: pool)[0]
                #expect(sums.allSatisfy { abs($0 - sign * Float(columns)) < 1e-3 }, "\(type.name) \(sign)")
            }

            let problem = try Problem(type, rows: rows, columns: columns, pool: pool, &generator)
            var x = randomFloats(tokens * columns, &generator)
            let whole = Self.product([problem], x: x, tokens: tokens, table: Self.table(rowName), pool: pool)[0]
            let some = Self.product([problem], x: x, tokens: 71, table: Self.table(rowName), pool: pool)[0]
            #expect(some == Array(whole[..<(71 * rows)]), "\(type.name)")

            // 96 roundings of half of 1/8191 on both sides, of numbers up to 1, add up to 0.0006 or so.
            let (values, _) = problem.reference(x.map(Double.init), tokens: tokens)
            #expect(zip(whole, values).allSatisfy { abs(Double($0) - $1) < 0.003 }, "\(type.name)")

            // What is broken stays visible, in its token only.
            x[12 * columns + 40] = .infinity
            let broken = Self.product([problem], x: x, tokens: tokens, table: Self.table(rowName), pool: pool)[0]
            #expect(broken[12 * rows..<13 * rows].allSatisfy { !$0.isFinite }, "\(type.name)")
            #expect(broken[..<(12 * rows)] == whole[..<(12 * rows)] && broken[(13 * rows)...] == whole[(13 * rows)...])
        }
    }

    @Test("No row of the table is off by one in any integer")
    func rowsAgreeExactly() throws {
        let pool = ThreadPool(threadCount: 1)
        var generator = SeededGenerator(77)
        for type in quantizedTypes {
            // One block of 32 columns (of 256 with all other columns 0): a sum of few terms, exact in F32.
            let columns = type.blockSize, rows = 40, tokens = 21
            let problem = try Problem(type, rows: rows, columns: columns, pool: pool, &generator)
            var x = [Float](repeating: 0, count: tokens * columns)
            for t in 0..<tokens {
                for c in 0..<32 { x[t * columns + c] = Float(Int.random(in: -127...127, using: &generator)) }
                x[t * columns] = t % 2 == 0 ? 127 : -127  // the scale is exactly 1
            }
            let results = KernelTable.available.map {
                Self.product([problem], x: x, tokens: tokens, table: $0, pool: pool)[0]
            }
            // One integer off by one changes a sum of 32 products by 1 / (32 · 64 · 8) or more; rounding by far less.
            let (values, magnitudes) = problem.reference(x.map(Double.init), tokens: tokens)
            for (row, result) in zip(KernelTable.available, results) {
                expectClose(result, values, magnitudes: magnitudes, tolerance: 1e-6, "\(type.name) \(row.name)")
            }
        }
    }

    @Test("The largest integers do not saturate", arguments: rowNames)
    func extremes(rowName: String) throws {
        let pool = ThreadPool(threadCount: 1)
        for type in quantizedTypes {
            for fill: UInt8 in [0xff, 0x00, 0x80, 0x7f] {
                let columns = type.blockSize, rows = 16
                var bytes = [UInt8](repeating: fill, count: rows * type.bytesPerBlock)
                // All F16 fields become 1, scales of K types stay what `fill` says.
                for row in 0..<rows {
                    let base = row * type.bytesPerBlock
                    for offset in halfOffsets(type) {
                        bytes[base + offset] = 0x00
                        bytes[base + offset + 1] = 0x3c
                    }
                }
                let matrix = try bytes.withUnsafeBytes {
                    try PackedMatrix(type: type, rows: rows, columns: columns, bytes: $0, pool: pool)
                }
                let weights = decoded(type, bytes, count: rows * columns)
                guard weights.allSatisfy({ abs($0) < 1e30 }) else { continue }  // a scale that is no F16 field
                for sign: Float in [127, -127] {
                    let activations = Activations(kernels: Self.table(rowName))
                    activations.reserve(tokens: 1, columns: columns)
                    for c in 0..<columns { activations.floats[c] = sign }
                    activations.quantize(tokens: 1, columns: columns, pool: pool)
                    var out = [Float](repeating: .nan, count: rows)
                    out.withUnsafeMutableBufferPointer {
                        MatrixProduct.run(
                            [ProductJob(matrix, into: $0.baseAddress!, stride: rows)], activations, tokens: 1,
                            pool: pool)
                    }
                    let expected = (0..<columns).reduce(0.0) { $0 + Double(sign) * Double(weights[$1]) }
                    #expect(abs(Double(out[3]) - expected) <= abs(expected) * 1e-6 + 1e-3, "\(type.name) \(fill)")
                }
            }
        }
    }

    @Test(
        "Decoding a packed matrix gives the tensor type's own values",
        arguments: (quantizedTypes + floatTypes).map(\.name))
    func decode(typeName: String) throws {
        let type = try #require(TensorType(name: typeName)), pool = ThreadPool(threadCount: 2)
        var generator = SeededGenerator(UInt64(type.id) + 60)
        let problem = try Problem(type, rows: 37, columns: 512, pool: pool, &generator)
        var floats = [Float](repeating: .nan, count: 37 * 512)
        problem.matrix.decodeAll(into: &floats, pool: pool)
        for i in floats.indices where abs(floats[i] - problem.weights[i]) > 2e-7 * abs(problem.weights[i]) + 1e-6 {
            Issue.record("\(typeName) element \(i): \(floats[i]) for \(problem.weights[i])")
            return
        }
        var one = [Float](repeating: .nan, count: 512)
        problem.matrix.decode(rows: 36..<37, into: &one)
        #expect(one == Array(floats[(36 * 512)...]))
    }

    @Test("Neither threads nor other tokens change a bit of a quantized product", arguments: quantizedTypes.map(\.name))
    func independence(typeName: String) throws {
        let type = try #require(TensorType(name: typeName)), columns = 512, tokens = 43
        let two = ThreadPool(threadCount: 2), one = ThreadPool(threadCount: 1)
        var generator = SeededGenerator(11)
        let problem = try Problem(type, rows: 200, columns: columns, pool: two, &generator)
        let x = randomFloats(tokens * columns, &generator)
        let many = Self.product([problem], x: x, tokens: tokens, table: .current, pool: two)[0]
        #expect(many == Self.product([problem], x: x, tokens: tokens, table: .current, pool: one)[0])
        for t in [0, 7, 40, 42] {
            let alone = Array(x[t * columns..<(t + 1) * columns])
            let single = Self.product([problem], x: alone, tokens: 1, table: .current, pool: two)[0]
            #expect(single == Array(many[t * 200..<(t + 1) * 200]))
        }
    }

    @Test("Several jobs share one phase, and accumulate adds")
    func jobs() throws {
        let pool = ThreadPool(threadCount: 2)
        var generator = SeededGenerator(12)
        let problems = try [(TensorType.q4_1, 576), (.q5_0, 192), (.q8_0, 17), (.f16, 40)].map {
            try Problem($0.0, rows: $0.1, columns: 576, pool: pool, &generator)
        }
        for tokens in [1, 5, 30] {
            let x = randomFloats(tokens * 576, &generator)
            let together = Self.product(problems, x: x, tokens: tokens, table: .current, pool: pool)
            for (problem, result) in zip(problems, together) {
                let alone = Self.product([problem], x: x, tokens: tokens, table: .current, pool: pool)[0]
                expectClose(
                    result, alone.map(Double.init), magnitudes: alone.map { Double(abs($0)) + 1 }, tolerance: 1e-5)
                let added = Self.product([problem], x: x, tokens: tokens, table: .current, pool: pool, initial: 1)[0]
                expectClose(
                    added, alone.map { Double($0) + 1 }, magnitudes: alone.map { Double(abs($0)) + 1 }, tolerance: 1e-5)
            }
        }
    }

    @Test("A NaN or an infinity in the activations stays visible", arguments: rowNames)
    func notANumber(rowName: String) throws {
        let pool = ThreadPool(threadCount: 1)
        var generator = SeededGenerator(13)
        let problem = try Problem(.q4_0, rows: 16, columns: 64, pool: pool, &generator)
        for bad in [Float.nan, .infinity, -.infinity] {
            var x = randomFloats(3 * 64, &generator)
            x[64 + 40] = bad
            let out = Self.product([problem], x: x, tokens: 3, table: Self.table(rowName), pool: pool)[0]
            let finite = out.indices.filter { out[$0].isFinite }
            #expect(finite == Array(0..<16) + Array(32..<48))
            #expect(out[16].isNaN && out[31].isNaN)
        }
    }

    @Test("Wrong shapes and types are refused")
    func refusals() {
        let pool = ThreadPool(threadCount: 1)
        let bytes = [UInt8](repeating: 0, count: 1000)
        func code(_ type: TensorType, _ rows: Int, _ columns: Int) -> KernelsError.Code? {
            do {
                _ = try bytes.withUnsafeBytes {
                    try PackedMatrix(type: type, rows: rows, columns: columns, bytes: $0, pool: pool)
                }
                return nil
            } catch { return (error as? KernelsError)?.code }
        }
        #expect(code(.q4_0, 1, 32) == nil)
        #expect(code(.q4_0, 1, 31) == .badShape)
        #expect(code(.q4_K, 1, 32) == .badShape)
        #expect(code(.q4_0, 0, 32) == .badShape)
        #expect(code(.q4_0, 1, -32) == .badShape)
        #expect(code(.q4_0, 56, 32) == .badShape)
        #expect(code(.f32, 1 << 39, 1 << 39) == .badShape)
        #expect(code(.i8, 1, 32) == .unsupportedType)
    }
}

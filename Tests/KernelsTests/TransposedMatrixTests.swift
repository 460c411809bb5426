import Testing

@testable import Kernels

/// The transpose of 65 levels that gradients are multiplied with.
@Suite struct TransposedMatrixTests {
    private let pool = ThreadPool(threadCount: 2)

    private func transpose(_ floats: [Float], rows: Int, columns: Int, sliceRows: Int) throws -> PackedMatrix {
        try PackedMatrix(transposing: rows, by: columns, sliceRows: sliceRows, pool: pool) { range, out in
            for (index, row) in range.enumerated() {
                for column in 0..<columns { out[index * columns + column] = floats[row * columns + column] }
            }
        }
    }

    @Test(arguments: [(32, 1), (64, 16), (96, 40), (160, 33)])
    func valuesAreWithinHalfAStepOfTheSource(rows: Int, columns: Int) throws {
        var generator = SeededGenerator(5)
        let floats = (0..<rows * columns).map { _ in Float.random(in: -0.3...0.3, using: &generator) }
        let matrix = try transpose(floats, rows: rows, columns: columns, sliceRows: 32)
        #expect(matrix.rows == columns && matrix.columns == rows)
        var found = [Float](repeating: .nan, count: rows * columns)
        found.withUnsafeMutableBufferPointer { matrix.decode(rows: 0..<columns, into: $0.baseAddress!) }
        for column in 0..<columns {
            for block in 0..<rows / 32 {
                let places = (32 * block..<32 * block + 32).map { $0 * columns + column }
                let largest = places.map { abs(floats[$0]) }.max() ?? 0
                for (offset, place) in places.enumerated() {
                    // Half a step, and what rounding the scale to F16 moves the largest value by.
                    let allowed = largest / 64 * 1.01 + largest / 1024
                    #expect(abs(found[column * rows + 32 * block + offset] - floats[place]) <= allowed)
                }
            }
        }
    }

    @Test func slicesMakeTheSameMatrixAsTheWhole() throws {
        var generator = SeededGenerator(6)
        let floats = (0..<160 * 24).map { _ in Float.random(in: -2...2, using: &generator) }
        var decoded: [[Float]] = []
        for sliceRows in [1, 64, 4096] {
            let matrix = try transpose(floats, rows: 160, columns: 24, sliceRows: sliceRows)
            var values = [Float](repeating: .nan, count: 160 * 24)
            values.withUnsafeMutableBufferPointer { matrix.decode(rows: 0..<24, into: $0.baseAddress!) }
            decoded.append(values)
        }
        #expect(decoded[0] == decoded[2] && decoded[1] == decoded[2])
    }

    @Test func rowsThatAreNotWholeBlocksAreRefused() {
        #expect(throws: KernelsError.self) {
            try transpose([Float](repeating: 0, count: 48), rows: 48, columns: 1, sliceRows: 48)
        }
    }

    @Test(arguments: MatrixProductTests.rowNames) func productsAreThoseOfTheDecodedValues(name: String) throws {
        var generator = SeededGenerator(7)
        for (rows, columns, tokens) in [(32, 16, 1), (96, 40, 3), (64, 7, 2), (320, 33, 21), (64, 48, 16)] {
            let floats = (0..<rows * columns).map { _ in Float.random(in: -1...1, using: &generator) }
            let matrix = try transpose(floats, rows: rows, columns: columns, sliceRows: rows)
            var weights = [Float](repeating: .nan, count: rows * columns)
            weights.withUnsafeMutableBufferPointer { matrix.decode(rows: 0..<columns, into: $0.baseAddress!) }
            // Every block holds ±127: the largest sums that 16 bits must bear; its int8 form is exact.
            let x = (0..<tokens * rows).map { index in
                index % 32 == 0 ? 127 : Float(Int.random(in: -127...127, using: &generator) / 127 * 127)
            }
            let activations = Activations(kernels: MatrixProductTests.table(name))
            activations.set(tokens: tokens, columns: rows, pool: pool) { token, row in
                for column in 0..<rows { row[column] = x[token * rows + column] }
            }
            let out = UnsafeMutablePointer<Float>.allocate(capacity: tokens * columns)
            defer { out.deallocate() }
            MatrixProduct.run([ProductJob(matrix, into: out, stride: columns)], activations, tokens: tokens, pool: pool)
            for token in 0..<tokens {
                for column in 0..<columns {
                    var sum = 0.0, magnitude = 0.0
                    for row in 0..<rows {
                        let product = Double(x[token * rows + row]) * Double(weights[column * rows + row])
                        sum += product
                        magnitude += abs(product)
                    }
                    #expect(abs(Double(out[token * columns + column]) - sum) <= 1e-5 * magnitude + 1e-6)
                }
            }
        }
    }
}

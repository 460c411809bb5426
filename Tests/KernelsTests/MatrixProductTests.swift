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
            self.type = type
            self.rows = rows
            self.columns = columns
            bytes = randomWeights(type, rows: rows, columns: columns, &generator)
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
                ProductJob(problems[index].matrix, into: buffer, stride: problems[index].rows, accumulate: initial != nil))
        }
        MatrixProduct.run(pending, activations, tokens: tokens, pool: pool)
        for (index, buffer) in buffers.enumerated() {
            outputs[index] = Array(UnsafeBufferPointer(start: buffer, count: tokens * problems[index].rows))
        }
        return outputs
    }

    @Test("Each quantized type equals the reference around every edge", arguments: quantizedTypes.map(\.name), rowNames)
    func quantizedProduct(typeName: String, rowName: String) throws {
        let type = try #require(TensorType(name: typeName)), table = Self.table(rowName)
        let pool = ThreadPool(threadCount: 2)
        var generator = SeededGenerator(UInt64(type.id) + 1)
        for columns in type.blockSize == 256 ? [256, 512] : [32, 64, 96, 576] {
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
}

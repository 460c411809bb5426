import Kernels
import TensorTypes

/// The speed of the kernels alone, beside the limits of the machine.
enum KernelMeasurement {
    static let usage = "[--threads N]"

    static func run(_ words: [String]) throws {
        let arguments = try Arguments(words, positional: [], options: ["--threads"], flags: [])
        let pool = ThreadPool(threadCount: try arguments.int("--threads", default: CPUTopology.usableCoreCount))
        print("\(pool.threadCount) threads, kernels \(KernelTable.current.name); best of several runs\n")
        print("| what | size | speed |\n| --- | --- | ---: |")
        bandwidth(pool)
        for type in [TensorType.q4_0, .q4_1, .q5_0, .q8_0, .f16] { try product(type, pool) }
        floatProducts(pool)
        attention(pool)
    }

    private static func row(_ what: String, _ size: String, _ speed: Double, _ unit: String) {
        print("| \(what) | \(size) | \(Int(speed.rounded())) \(unit) |")
    }

    private static func best(_ repeats: Int, _ body: () throws -> Void) rethrows -> Double {
        var result = Double.infinity
        for _ in 0..<repeats { result = min(result, try seconds(body)) }
        return result
    }

    /// Sums of a buffer far larger than any cache: what decoding of a large model is bound by.
    private static func bandwidth(_ pool: ThreadPool) {
        let count = 1 << 27  // 512 MiB
        let buffer = UnsafeMutablePointer<Float>.allocate(capacity: count)
        defer { buffer.deallocate() }
        buffer.initialize(repeating: 1, count: count)
        let part = 1 << 20
        nonisolated(unsafe) let base = buffer
        let time = best(5) {
            pool.parallelFor(count / part) { _ = VectorMath.maxAbs(base + $0 * part, count: part) }
        }
        row("read", "512 MiB", Double(count) * 4 / time / 1e9, "GB/s")
    }

    /// The product of a layer's matrix with many tokens, and with one token over more weights than the caches hold.
    private static func product(_ type: TensorType, _ pool: ThreadPool) throws {
        let rows = 1536, columns = 576, tokens = 512, copies = 128
        let values = (0..<rows * columns).map { Float(($0 * 7919) % 255 - 127) / 512 }
        let bytes = UnsafeMutableRawBufferPointer.allocate(
            byteCount: rows * columns / type.blockSize * type.bytesPerBlock, alignment: 64)
        defer { bytes.deallocate() }
        try values.withUnsafeBufferPointer { try type.encode($0, into: bytes) }
        let matrices = try (0..<copies).map { _ in
            try PackedMatrix(type: type, rows: rows, columns: columns, bytes: UnsafeRawBufferPointer(bytes), pool: pool)
        }
        let activations = Activations()
        activations.reserve(tokens: tokens, columns: columns)
        for index in 0..<tokens * columns { activations.floats[index] = Float(index % 17) / 17 - 0.5 }
        let output = UnsafeMutablePointer<Float>.allocate(capacity: tokens * rows)
        defer { output.deallocate() }
        activations.quantize(tokens: tokens, columns: columns, pool: pool)
        let many = best(9) {
            MatrixProduct.run(
                [ProductJob(matrices[0], into: output, stride: rows)], activations, tokens: tokens, pool: pool)
        }
        row(
            "\(type.name) product, \(tokens) tokens", "\(rows) × \(columns)",
            2 * Double(rows * columns * tokens) / many / 1e9, "Gop/s")
        activations.quantize(tokens: 1, columns: columns, pool: pool)
        let one = best(5) {
            for matrix in matrices {
                MatrixProduct.run([ProductJob(matrix, into: output, stride: rows)], activations, tokens: 1, pool: pool)
            }
        }
        let total = matrices.reduce(0) { $0 + $1.byteCount }
        row("\(type.name) product, 1 token", "\(total >> 20) MiB of weights", Double(total) / one / 1e9, "GB/s")
    }

    private static func floatProducts(_ pool: ThreadPool) {
        let m = 288, n = 1536, k = 576
        let a = UnsafeMutablePointer<Float>.allocate(capacity: m * n)
        let b = UnsafeMutablePointer<Float>.allocate(capacity: n * k)
        let c = UnsafeMutablePointer<Float>.allocate(capacity: m * n)
        defer {
            a.deallocate()
            b.deallocate()
            c.deallocate()
        }
        for index in 0..<m * n { a[index] = Float(index % 7) - 3 }
        for index in 0..<n * k { b[index] = Float(index % 5) - 2 }
        let work = 2 * Double(m * n * k)
        let forward = best(15) { FloatProduct.multiplyTransposed(a, b, into: c, m: m, n: n, k: k, pool: pool) }
        row("F32 product, x·Wᵀ", "\(m) × \(n) × \(k)", work / forward / 1e9, "Gflop/s")
        let backward = best(15) { FloatProduct.multiply(a, b, into: c, m: m, n: k, k: n, pool: pool) }
        row("F32 product, dY·W", "\(m) × \(k) × \(n)", work / backward / 1e9, "Gflop/s")
    }

    private static func attention(_ pool: ThreadPool) {
        let heads = 9, keyValueHeads = 3, d = 64, tokens = 512, capacity = 1024
        let width = heads * d
        let queries = UnsafeMutablePointer<Float>.allocate(capacity: tokens * width)
        let output = UnsafeMutablePointer<Float>.allocate(capacity: tokens * width)
        defer {
            queries.deallocate()
            output.deallocate()
        }
        for index in 0..<tokens * width { queries[index] = Float(index % 13) / 13 - 0.5 }
        let cache = KVPages(headCount: keyValueHeads, headDimension: d, element: .f16)
        cache.reserve(0..<capacity)
        let line = (0..<keyValueHeads * d).map { 0.1 + Float($0 % 11) / 16 }
        for slot in 0..<capacity { cache.write(slot: slot, key: line, value: line) }
        let shape = AttentionShape(
            headCount: heads, keyValueHeadCount: keyValueHeads, headDimension: d, scale: 0.125)
        func run(tokens: Int, past: Int) {
            let call = AttentionCall(
                queries: queries, pages: cache, tokens: tokens, past: past,
                usesTiles: tokens >= AttentionKernel.tileThreshold, into: output)
            AttentionKernel.run([call], shape, pool: pool)
        }
        let prefill = best(9) { run(tokens: tokens, past: 0) }
        row(
            "attention, 512 tokens", "9 heads on 3 of 64",
            4 * Double(width * tokens * (tokens + 1) / 2) / prefill / 1e9, "Gflop/s")
        let decode = best(50) { run(tokens: 1, past: capacity - 1) }
        row("attention, 1 token at 1023", "9 heads on 3 of 64", decode * 1e6, "µs")
    }
}

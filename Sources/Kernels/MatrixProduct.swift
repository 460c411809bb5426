import CKernels

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// One matrix and where its product goes.
public struct ProductJob {
    let matrix: PackedMatrix
    let output: UnsafeMutablePointer<Float>
    let stride: Int
    let accumulate: Bool
    let isRefined: Bool

    /// - Parameters:
    ///   - output: (tokens, matrix.rows), rows `stride` floats apart.
    ///   - accumulate: add to what is there (a residual) instead of overwriting it.
    ///   - isRefined: use both int8 forms of the activations, which must have been made; for a quantized matrix whose
    ///     outputs need more than 8 bits. A float matrix is exact anyway.
    public init(
        _ matrix: PackedMatrix, into output: UnsafeMutablePointer<Float>, stride: Int, accumulate: Bool = false,
        isRefined: Bool = false
    ) {
        self.matrix = matrix
        self.output = output
        self.stride = stride
        self.accumulate = accumulate
        self.isRefined = isRefined
    }
}

/// Products of activations with packed weights.
public enum MatrixProduct {
    /// output[t, r] (+)= Σ_c activations[t, c] · matrix[r, c] for each job, in one parallel phase.
    ///
    /// Quantized matrices multiply with the int8 form, which must cover `tokens`; float matrices with the floats.
    /// With quantized matrices a token's result depends neither on the other tokens nor on the number of threads, bit
    /// for bit; with float matrices the way of summing changes at 8 tokens, unless `rowByRow` asks for one way, which
    /// is slower for many tokens. From 64 tokens on, F16 and BF16 weights and their activations are rounded to multiples
    /// of 1/8191 of the largest of 32, about as finely as F16 rounds activations; fewer tokens stay exact. The outputs of the jobs must not overlap.
    public static func run(
        _ jobs: [ProductJob], _ activations: Activations, tokens: Int, rowByRow: Bool = false, pool: ThreadPool
    ) {
        guard tokens > 0, !jobs.isEmpty else { return }
        let columns = activations.columns
        for job in jobs {
            require(job.matrix.columns == columns, "matrix of \(job.matrix.columns) columns, activations \(columns)")
            require(job.stride >= job.matrix.rows || tokens == 1, "output stride \(job.stride) is too small")
            if case .panels = job.matrix.storage {
                require(tokens == activations.quantizedTokens, "the int8 form of \(tokens) tokens is missing")
                require(
                    !job.isRefined || tokens == activations.refinedTokens,
                    "the second int8 form of \(tokens) tokens is missing")
            } else {
                require(tokens <= activations.tokens, "activations hold fewer than \(tokens) tokens")
            }
        }

        let usesFloatProduct = tokens >= floatProductTokens && !rowByRow
        let elements = jobs.compactMap(\.matrix.floatElement)
        let usesWords = tokens >= wordProductTokens && !rowByRow && elements.contains { $0 != CK_ELEMENT_F32 }
        let words = usesWords ? activations.makeWords(tokens: tokens, pool: pool) : nil
        // Tokens go in chunks whose integer form stays in the second-level cache; rows in units (a panel, or 16 rows).
        // Neither split affects any result.
        let chunk = tokenChunk(tokens: tokens, columns: words == nil ? columns : 2 * columns)
        let chunkCount = (tokens + chunk - 1) / chunk
        var unitCounts: [Int] = []
        unitCounts.reserveCapacity(jobs.count)
        for job in jobs { unitCounts.append((job.matrix.rows + unitRows - 1) / unitRows) }
        let units = unitCounts.reduce(0, +)
        let slices = usesFloatProduct && elements.contains { words == nil || $0 == CK_ELEMENT_F32 }
        let step = slices ? 8 : max(1, units * chunkCount / (pool.threadCount * 8))
        let tasksPerChunk = (units + step - 1) / step

        nonisolated(unsafe) let jobs = jobs  // threads write disjoint rows of the outputs
        let floats = activations.floats
        let kernels = activations.kernels.row
        withUnsafePointer(to: (activations.quantized, activations.remainder)) { forms in
            let quantized = UnsafeRawPointer(forms).assumingMemoryBound(to: ck_activations.self)
            pool.parallelFor(tasksPerChunk * chunkCount) { task in
                let firstToken = task / tasksPerChunk * chunk
                let endToken = min(tokens, firstToken + chunk)
                var unit = task % tasksPerChunk * step
                let end = min(units, unit + step)
                var job = 0
                var base = 0  // the job's first unit
                while unit < end {
                    while unit >= base + unitCounts[job] {
                        base += unitCounts[job]
                        job += 1
                    }
                    let last = min(end, base + unitCounts[job])
                    multiply(
                        jobs[job], units: unit - base..<last - base, tokens: firstToken..<endToken, floats: floats,
                        columns: columns, usesFloatProduct: usesFloatProduct, words: words, quantized: quantized,
                        kernels: kernels)
                    unit = last
                }
            }
        }
    }

    /// Rows of one unit of work: a panel.
    private static let unitRows = Int(CK_PANEL_ROWS)
    /// From this many tokens on, float matrices are decoded by slices and go through `FloatProduct`.
    private static let floatProductTokens = 8
    /// From this many on, those of 16 bits go through words of 14 bits where the kernels have such products.
    private static let wordProductTokens = 64

    private static func tokenChunk(tokens: Int, columns: Int) -> Int {
        let whole = max(1, (768 << 10) / (columns * 9 / 8) / Int(CK_MAX_TILE))
        return min(tokens, whole * Int(CK_MAX_TILE))
    }

    private static func multiply(
        _ job: ProductJob, units: Range<Int>, tokens: Range<Int>, floats: UnsafeMutablePointer<Float>, columns: Int,
        usesFloatProduct: Bool, words: ck_words?, quantized: UnsafePointer<ck_activations>,
        kernels: UnsafePointer<ck_table_row>
    ) {
        switch job.matrix.storage {
        case .panels(let matrix):
            withUnsafePointer(to: matrix) {
                kernels.pointee.product(
                    $0, units.lowerBound, units.upperBound, quantized, tokens.lowerBound, tokens.upperBound,
                    job.output, job.stride, job.accumulate)
                guard job.isRefined else { return }
                kernels.pointee.product(
                    $0, units.lowerBound, units.upperBound, quantized + 1, tokens.lowerBound, tokens.upperBound,
                    job.output, job.stride, true)
            }
        case .floats(let weights, let element, let elementBytes):
            let rows = units.lowerBound * unitRows..<min(job.matrix.rows, units.upperBound * unitRows)
            let x = floats + tokens.lowerBound * columns
            let out = job.output + tokens.lowerBound * job.stride
            guard usesFloatProduct else {
                kernels.pointee.float_rows(
                    weights, element, columns, rows.lowerBound, rows.upperBound, x, columns, tokens.count, out,
                    job.stride, job.accumulate)
                return
            }
            let from = weights + rows.lowerBound * columns * elementBytes
            if element == CK_ELEMENT_F32 {
                FloatProduct.sgemm(
                    false, true, tokens.count, rows.count, columns, 1, x, columns,
                    from.assumingMemoryBound(to: Float.self), columns, job.accumulate ? 1 : 0, out + rows.lowerBound,
                    job.stride)
                return
            }
            if let words {
                let scratch = UnsafeMutableRawPointer.allocate(byteCount: ck_word_scratch(columns), alignment: 64)
                defer { scratch.deallocate() }
                withUnsafePointer(to: words) {
                    kernels.pointee.word_rows(
                        weights, element, columns, rows.lowerBound, rows.upperBound, $0, tokens.lowerBound,
                        tokens.upperBound, job.output, job.stride, job.accumulate, scratch)
                }
                return
            }
            // The rows as floats, in memory of this thread; at most 128 rows at a time.
            let scratch = UnsafeMutablePointer<Float>.allocate(capacity: rows.count * columns)
            defer { scratch.deallocate() }
            let halves = from.assumingMemoryBound(to: UInt16.self)
            if element == CK_ELEMENT_F16 {
                kernels.pointee.half_to_float(halves, scratch, rows.count * columns)
            } else {
                kernels.pointee.bfloat_to_float(halves, scratch, rows.count * columns)
            }
            FloatProduct.sgemm(
                false, true, tokens.count, rows.count, columns, 1, x, columns, scratch, columns,
                job.accumulate ? 1 : 0, out + rows.lowerBound, job.stride)
        }
    }
}

import CKernels

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The left side of a matrix product: (tokens, columns) floats and their int8 form.
///
/// The int8 form has one scale per 32 columns, max|x| / 127, and values rounded to nearest even. A block with a NaN or
/// an infinity gets a NaN scale, so that broken inputs stay visible in the outputs. When `columns` is not a multiple of
/// 32 there is no int8 form, and only float matrices accept the activations.
///
/// Where 8 bits are too few, `refines` asks for a second int8 form, of what the first leaves out. Products that use both
/// (`ProductJob.isRefined`) see about 15 bits, at twice the arithmetic and the same weights read.
///
/// Not thread-safe: one owner, who lends it to one call at a time.
public final class Activations {
    let kernels: KernelTable
    private var memory: UnsafeMutableRawPointer
    private var capacity: Int  // bytes
    private(set) var tokens = 0
    private(set) var columns = 0
    /// The tokens that the int8 form covers; 0 when there is none.
    private(set) var quantizedTokens = 0
    private(set) var quantized = ck_activations()
    /// The int8 form of what `quantized` leaves out.
    private(set) var remainder = ck_activations()
    /// The tokens that `remainder` covers.
    private(set) var refinedTokens = 0
    private var wordMemory: UnsafeMutableRawPointer?
    private var wordCapacity = 0  // bytes

    public convenience init() { self.init(kernels: .current) }

    init(kernels: KernelTable) {
        self.kernels = kernels
        capacity = 4096
        memory = Self.allocate(capacity)
    }

    deinit {
        free(memory)
        free(wordMemory)
    }

    /// The float rows, `columns` apart. Valid until the next `reserve` of a larger size.
    public var floats: UnsafeMutablePointer<Float> { memory.assumingMemoryBound(to: Float.self) }

    /// Makes room for (tokens, columns). Contents are lost when it has to grow.
    public func reserve(tokens: Int, columns: Int) { reserve(tokens: tokens, columns: columns, refines: false) }

    private func reserve(tokens: Int, columns: Int, refines: Bool) {
        require(tokens >= 0 && columns > 0, "activations of \(tokens) × \(columns)")
        let blocks = columns % Int(CK_BLOCK_COLUMNS) == 0 ? columns / Int(CK_BLOCK_COLUMNS) : 0
        let floatBytes = Self.rounded(tokens * columns * 4)
        let int8Bytes = Self.rounded(tokens * blocks * Int(CK_BLOCK_COLUMNS))
        let sideBytes = Self.rounded(tokens * blocks * 4)
        let formBytes = int8Bytes + 7 * sideBytes
        let total = floatBytes + (refines ? 2 : 1) * formBytes
        if total > capacity {
            let larger = Self.allocate(total + total / 4)
            free(memory)
            memory = larger
            capacity = total + total / 4
        }
        self.tokens = tokens
        self.columns = columns
        quantizedTokens = 0
        refinedTokens = 0
        func form(at start: UnsafeMutableRawPointer) -> ck_activations {
            let sides = start + int8Bytes
            func side(_ index: Int) -> UnsafeMutableRawPointer { sides + index * sideBytes }
            return ck_activations(
                tokens: tokens, columns: columns, max_tile: kernels.row.pointee.max_tile,
                q: start.assumingMemoryBound(to: Int8.self),
                scale: side(0).assumingMemoryBound(to: Float.self),
                scaled_sum: side(1).assumingMemoryBound(to: Float.self),
                start8: side(2).assumingMemoryBound(to: Int32.self),
                start16: side(3).assumingMemoryBound(to: Int32.self),
                start128: side(4).assumingMemoryBound(to: Int32.self),
                start32: side(5).assumingMemoryBound(to: Int32.self))
        }
        quantized = form(at: memory + floatBytes)
        remainder = refines ? form(at: memory + floatBytes + formBytes) : ck_activations()
    }

    /// Fills the int8 form of the first `tokens` rows from `floats`; does nothing when 32 does not divide `columns`.
    ///
    /// `columns` must be what `reserve` was called with, `tokens` at most that.
    public func quantize(tokens: Int, columns: Int, pool: ThreadPool) {
        fill(tokens: tokens, columns: columns, pool: pool) { _, _ in }
    }

    /// floats[t] = x[t] / rms(x[t]) * weight, with rms over `columns` and `epsilon` under the root; then quantizes.
    ///
    /// - Parameters:
    ///   - stride: distance of the rows of `x` in floats.
    ///   - refines: also make the second int8 form, for refined products.
    public func setRMSNorm(
        of x: UnsafePointer<Float>, stride: Int, weight: UnsafePointer<Float>, epsilon: Float, tokens: Int,
        columns: Int, refines: Bool = false, pool: ThreadPool
    ) {
        reserve(tokens: tokens, columns: columns, refines: refines)
        let operation = kernels.row.pointee.rms_norm!
        nonisolated(unsafe) let (x, weight) = (x, weight)  // read only
        fill(tokens: tokens, columns: columns, refines: refines, pool: pool) { token, row in
            operation(x + token * stride, weight, epsilon, row, columns)
        }
    }

    /// floats[t] = silu(gate[t]) * up[t]; then quantizes. Both inputs have rows `stride` floats apart.
    public func setSwiGLU(
        gate: UnsafePointer<Float>, up: UnsafePointer<Float>, stride: Int, tokens: Int, columns: Int, pool: ThreadPool
    ) {
        reserve(tokens: tokens, columns: columns)
        let operation = kernels.row.pointee.swiglu!
        nonisolated(unsafe) let (gate, up) = (gate, up)  // read only
        fill(tokens: tokens, columns: columns, pool: pool) { token, row in
            operation(gate + token * stride, up + token * stride, row, columns)
        }
    }

    /// Fills the floats by `row`, called once for each token from any thread; then quantizes.
    public func set(
        tokens: Int, columns: Int, refines: Bool = false, pool: ThreadPool,
        _ row: (_ token: Int, _ floats: UnsafeMutablePointer<Float>) -> Void
    ) {
        reserve(tokens: tokens, columns: columns, refines: refines)
        fill(tokens: tokens, columns: columns, refines: refines, pool: pool, row)
    }

    /// Runs `row` on each token's floats, then makes its int8 form, while the row is in the cache.
    private func fill(
        tokens: Int, columns: Int, refines: Bool = false, pool: ThreadPool,
        _ row: (_ token: Int, _ floats: UnsafeMutablePointer<Float>) -> Void
    ) {
        require(tokens <= self.tokens && columns == self.columns, "activations were not reserved for this shape")
        let floats = floats
        let quantizes = columns % Int(CK_BLOCK_COLUMNS) == 0
        let operation = kernels.row.pointee.quantize_row!
        let refine = kernels.row.pointee.quantize_remainder!
        quantized.tokens = tokens
        remainder.tokens = tokens
        withUnsafePointer(to: (quantized, remainder)) { forms in
            let quantized = UnsafeRawPointer(forms).assumingMemoryBound(to: ck_activations.self)
            func work(_ token: Int) {
                row(token, floats + token * columns)
                guard quantizes else { return }
                operation(floats + token * columns, quantized, token)
                if refines { refine(floats + token * columns, quantized, quantized + 1, token) }
            }
            forEachToken(tokens, pool: pool, work)
        }
        quantizedTokens = quantizes ? tokens : 0
        refinedTokens = quantizes && refines ? tokens : 0
    }

    /// A task takes tokens worth some 8000 columns: below that a thread costs more than it brings.
    private func forEachToken(_ tokens: Int, pool: ThreadPool, _ work: (_ token: Int) -> Void) {
        let step = max(1, min(16, 8192 / columns))
        pool.parallelFor((tokens + step - 1) / step) { task in
            for token in task * step..<min(tokens, (task + 1) * step) { work(token) }
        }
    }

    /// The first `tokens` rows as words of 14 bits, for products with floats of 16 bits; nil where they have no use: in a
    /// row of the table without such products, or when 32 does not divide `columns`.
    func makeWords(tokens: Int, pool: ThreadPool) -> ck_words? {
        let blockColumns = Int(CK_BLOCK_COLUMNS), tile = Int(CK_WORD_TILE)
        guard kernels.row.pointee.word_rows != nil, columns % blockColumns == 0 else { return nil }
        let rows = (tokens + tile - 1) / tile * tile
        let wordBytes = Self.rounded(rows * columns * MemoryLayout<Int16>.stride)
        let total = wordBytes + Self.rounded(rows * columns / blockColumns * MemoryLayout<Float>.stride)
        if total > wordCapacity {
            free(wordMemory)
            wordMemory = Self.allocate(total)
            wordCapacity = total
            memset(wordMemory!, 0, total)  // the last tile may have tokens that nobody writes, but all are multiplied
        }
        let words = ck_words(
            columns: columns, words: wordMemory!.assumingMemoryBound(to: Int16.self),
            scale: (wordMemory! + wordBytes).assumingMemoryBound(to: Float.self))
        let operation = kernels.row.pointee.words_of_row!
        let columns = columns
        nonisolated(unsafe) let floats = floats  // each thread writes its tokens' words
        withUnsafePointer(to: words) { form in
            nonisolated(unsafe) let form = form
            forEachToken(tokens, pool: pool) { token in operation(floats + token * columns, form, token) }
        }
        return words
    }

    private static func rounded(_ byteCount: Int) -> Int { (byteCount + 63) & ~63 }

    private static func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        var memory: UnsafeMutableRawPointer?
        let status = posix_memalign(&memory, 64, byteCount)
        require(status == 0, "no memory for \(byteCount) bytes of activations")
        return memory!
    }
}

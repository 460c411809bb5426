import CKernels

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// F32 matrix products, for training and for weights stored as floats.
///
/// Our own kernel instead of a BLAS: Debian's OpenBLAS 0.3.21 knows the processors of its day only and falls back to SSE3
/// on newer ones (a fifth of the speed), and its results depend on how a product is cut. Here the grid and the order of
/// every sum depend on the sizes alone, so results are the same bits for any thread count.
public enum FloatProduct {
    /// c (m, n) (+)= a (m, k) · b (n, k)ᵀ.
    public static func multiplyTransposed(
        _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, into c: UnsafeMutablePointer<Float>, m: Int, n: Int,
        k: Int, accumulate: Bool = false, pool: ThreadPool
    ) {
        nonisolated(unsafe) let (a, b, c) = (a, b, c)  // threads write disjoint tiles of c
        overTiles(m, n, pool) { row, rows, column, columns in
            sgemm(
                false, true, rows, columns, k, 1, a + row * k, k, b + column * k, k, accumulate ? 1 : 0,
                c + row * n + column, n)
        }
    }

    /// c (m, n) (+)= a (m, k) · b (k, n).
    public static func multiply(
        _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, into c: UnsafeMutablePointer<Float>, m: Int, n: Int,
        k: Int, accumulate: Bool = false, pool: ThreadPool
    ) {
        nonisolated(unsafe) let (a, b, c) = (a, b, c)  // threads write disjoint tiles of c
        overTiles(m, n, pool) { row, rows, column, columns in
            sgemm(
                false, false, rows, columns, k, 1, a + row * k, k, b + column, n, accumulate ? 1 : 0,
                c + row * n + column, n)
        }
    }

    /// c = alpha · op(a) · op(b) + beta · c on the calling thread, row-major with the given row strides; op(a) is (m, k),
    /// op(b) is (k, n). With beta 0, c is not read.
    public static func sgemm(
        _ transposesA: Bool, _ transposesB: Bool, _ m: Int, _ n: Int, _ k: Int, _ alpha: Float,
        _ a: UnsafePointer<Float>, _ lda: Int, _ b: UnsafePointer<Float>, _ ldb: Int, _ beta: Float,
        _ c: UnsafeMutablePointer<Float>, _ ldc: Int
    ) {
        sgemm(KernelTable.current, transposesA, transposesB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
    }

    static func sgemm(
        _ kernels: KernelTable, _ transposesA: Bool, _ transposesB: Bool, _ m: Int, _ n: Int, _ k: Int, _ alpha: Float,
        _ a: UnsafePointer<Float>, _ lda: Int, _ b: UnsafePointer<Float>, _ ldb: Int, _ beta: Float,
        _ c: UnsafeMutablePointer<Float>, _ ldc: Int
    ) {
        guard m > 0, n > 0 else { return }
        kernels.row.pointee.sgemm(
            transposesA, transposesB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, ThreadScratch.floats)
    }

    /// Cuts the output into tiles of about 320 × 384.
    private static func overTiles(_ m: Int, _ n: Int, _ pool: ThreadPool, _ body: (Int, Int, Int, Int) -> Void) {
        guard m > 0, n > 0 else { return }
        let tileRows = tileSize(m, 320), tileColumns = tileSize(n, 384)
        let across = (n + tileColumns - 1) / tileColumns, down = (m + tileRows - 1) / tileRows
        pool.parallelFor(across * down) { task in
            let row = task / across * tileRows, column = task % across * tileColumns
            body(row, min(tileRows, m - row), column, min(tileColumns, n - column))
        }
    }

    private static func tileSize(_ extent: Int, _ largest: Int) -> Int {
        let count = (extent + largest - 1) / largest
        return ((extent + count - 1) / count + 15) / 16 * 16
    }
}

/// Packing memory that each thread keeps for its products, freed when the thread ends.
private enum ThreadScratch {
    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        let status = pthread_key_create(&key) { free($0) }
        precondition(status == 0, "the system has no thread-local storage left")
        return key
    }()

    static var floats: UnsafeMutablePointer<Float> {
        if let memory = pthread_getspecific(key) { return memory.assumingMemoryBound(to: Float.self) }
        var memory: UnsafeMutableRawPointer?
        let status = posix_memalign(&memory, 64, ck_sgemm_scratch() * MemoryLayout<Float>.stride)
        guard status == 0, let memory else { fatalError("out of memory for a matrix product") }
        pthread_setspecific(key, memory)
        return memory.assumingMemoryBound(to: Float.self)
    }
}

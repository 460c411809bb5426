import COpenBLAS

/// F32 matrix products by OpenBLAS, whose own threads stay switched off: the work is split here.
///
/// All matrices are row-major and contiguous unless a leading dimension is given. The split is a fixed grid over the
/// result, so every result is the same bit for bit whatever the number of threads.
public enum FloatProduct {
    /// c (+)= a · bᵀ with a: (m, k), b: (n, k), c: (m, n). The forward product of a layer.
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

    /// c (+)= a · b with a: (m, k), b: (k, n), c: (m, n). The product of a backward pass: gradient times weights.
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

    /// c = alpha · op(a) · op(b) + beta · c on the calling thread; op(a): (m, k), op(b): (k, n), row-major.
    ///
    /// With beta 0 the old content of `c` is not read. Any of m, n, k may be 0.
    public static func sgemm(
        _ transposesA: Bool, _ transposesB: Bool, _ m: Int, _ n: Int, _ k: Int, _ alpha: Float,
        _ a: UnsafePointer<Float>, _ lda: Int, _ b: UnsafePointer<Float>, _ ldb: Int, _ beta: Float,
        _ c: UnsafeMutablePointer<Float>, _ ldc: Int
    ) {
        guard m > 0, n > 0 else { return }
        copenblas_sgemm(
            transposesA, transposesB, Int32(m), Int32(n), Int32(k), alpha, a, Int32(lda), b, Int32(ldb), beta, c,
            Int32(ldc))
    }

    /// The processor whose kernels OpenBLAS uses, for reports; nil without OpenBLAS, when a slow plain loop stands in.
    public static var coreName: String? { copenblas_core_name().map { String(cString: $0) } }

    /// Runs `body(row, rows, column, columns)` for each tile of a grid that depends on m and n only.
    private static func overTiles(_ m: Int, _ n: Int, _ pool: ThreadPool, _ body: (Int, Int, Int, Int) -> Void) {
        guard m > 0, n > 0 else { return }
        let tileRows = tileSize(m, 320), tileColumns = tileSize(n, 384)
        let across = (n + tileColumns - 1) / tileColumns, down = (m + tileRows - 1) / tileRows
        pool.parallelFor(across * down) { task in
            let row = task / across * tileRows, column = task % across * tileColumns
            body(row, min(tileRows, m - row), column, min(tileColumns, n - column))
        }
    }

    /// Tiles of nearly equal size, at most `largest`, in multiples of 16.
    private static func tileSize(_ extent: Int, _ largest: Int) -> Int {
        let count = (extent + largest - 1) / largest
        return ((extent + count - 1) / count + 15) / 16 * 16
    }
}

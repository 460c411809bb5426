import Kernels
import TensorTypes

/// A weight matrix that training reads and never changes: the float view of one or more quantized tensors, stacked by rows.
///
/// Stacking (queries, keys and values; gate and up) turns several products into one. The floats are either resident, one
/// copy from the first product on, or decoded slice by slice whenever a product needs them: the same numbers either
/// way, the second in a few megabytes at about a tenth of the speed lost. For integer gradients there is the transpose
/// in 65 levels a block.
public final class FrozenMatrix: @unchecked Sendable {
    // Sendable: after `init` only memory changes that products make, and those one trainer calls in sequence.

    /// One stacked tensor: its blocks stay where the file mapped them.
    public struct Part: Sendable {
        let type: TensorType
        let rows: Int
        // Sendable: read-only mapped memory, kept alive by whoever made the matrix.
        nonisolated(unsafe) let bytes: UnsafeRawBufferPointer
        let didRead: (@Sendable () -> Void)?

        /// - Parameters:
        ///   - bytes: `rows` rows of whole blocks; must outlive the matrix.
        ///   - didRead: called when another form has taken the place of all of them, so that their pages may go.
        public init(type: TensorType, rows: Int, bytes: UnsafeRawBufferPointer, didRead: (@Sendable () -> Void)? = nil)
        {
            self.type = type
            self.rows = rows
            self.bytes = bytes
            self.didRead = didRead
        }
    }

    public let rows: Int
    public let columns: Int
    private let parts: [Part]
    private let keepsFloats: Bool
    private var resident: FloatBuffer?
    private var transposed: PackedMatrix?
    /// Rows decoded at a time when the floats are not resident.
    private static let sliceElements = 4 << 20
    /// Terms that `FloatProduct` sums in one go.
    private static let sumDepth = 256

    /// - Parameter keepFloats: decode everything when floats are first needed, and keep it.
    public init(parts: [Part], columns: Int, keepFloats: Bool) {
        self.parts = parts
        self.columns = columns
        rows = parts.reduce(0) { $0 + $1.rows }
        keepsFloats = keepFloats
    }

    /// Whether `backward` can use integers: quantized weights whose rows are whole blocks.
    public var hasIntegerGradient: Bool {
        rows % 32 == 0 && parts.allSatisfy { $0.type.blockSize > 1 }
    }

    /// Makes the transpose that integer gradients read; does nothing where there is none, or it is there.
    ///
    /// - Throws: `KernelsError` when there is no memory.
    public func makeIntegerGradient(pool: ThreadPool) throws {
        guard hasIntegerGradient, transposed == nil else { return }
        transposed = try PackedMatrix(
            transposing: rows, by: columns, sliceRows: max(32, Self.sliceElements / columns), pool: pool
        ) { range, floats in decode(rows: range, into: floats, pool: pool) }
        for part in parts { part.didRead?() }
    }

    /// Bytes of that transpose.
    public var integerGradientByteCount: Int { hasIntegerGradient ? rows * ((columns + 15) / 16 * 16) / 32 * 34 : 0 }

    /// Bytes this matrix takes as floats.
    public var floatByteCount: Int { rows * columns * MemoryLayout<Float>.stride }

    /// Decodes `range` of the stacked rows into `destination`, `(range.count, columns)`.
    public func decode(rows range: Range<Int>, into destination: UnsafeMutablePointer<Float>, pool: ThreadPool) {
        var first = 0
        for part in parts {
            let overlap = range.clamped(to: first..<first + part.rows)
            if !overlap.isEmpty {
                let rowBytes = columns / part.type.blockSize * part.type.bytesPerBlock
                let source = part.bytes.baseAddress! + (overlap.lowerBound - first) * rowBytes
                let target = destination + (overlap.lowerBound - range.lowerBound) * columns
                let group = 32
                pool.parallelFor((overlap.count + group - 1) / group) { task in
                    let start = task * group
                    let count = min(group, overlap.count - start)
                    part.type.decode(
                        UnsafeRawBufferPointer(start: source + start * rowBytes, count: count * rowBytes),
                        into: UnsafeMutableBufferPointer(start: target + start * columns, count: count * columns))
                }
            }
            first += part.rows
        }
    }

    /// Calls `body` with consecutive slices of the float rows that together cover `range`.
    private func forEachSlice(
        of range: Range<Int>, scratch: inout GrowableBuffer, pool: ThreadPool,
        _ body: (_ rows: Range<Int>, _ floats: UnsafePointer<Float>) -> Void
    ) {
        if keepsFloats, resident == nil {
            let buffer = FloatBuffer(count: rows * columns)
            decode(rows: 0..<rows, into: buffer.pointer, pool: pool)
            resident = buffer
            for part in parts { part.didRead?() }
        }
        if let resident {
            body(range, UnsafePointer(resident.pointer + range.lowerBound * columns))
            return
        }
        // Whole multiples of the depth that products sum at a time: then sums group alike, and give the same bits, as
        // over resident floats.
        let step = min(range.count, max(1, Self.sliceElements / columns / Self.sumDepth) * Self.sumDepth)
        let memory = scratch.reserve(step * columns)
        var start = range.lowerBound
        while start < range.upperBound {
            let slice = start..<min(start + step, range.upperBound)
            decode(rows: slice, into: memory, pool: pool)
            body(slice, UnsafePointer(memory))
            start = slice.upperBound
        }
    }

    /// `y = x · Wᵀ`: x `(count, columns)`, y `(count, range.count)` with row stride `yStride`.
    ///
    /// Every sum runs in one thread in an order that depends on the sizes only: the same bits for any thread count.
    public func forward(
        _ x: UnsafePointer<Float>, count: Int, rows range: Range<Int>? = nil, into y: UnsafeMutablePointer<Float>,
        yStride: Int, scratch: inout GrowableBuffer, pool: ThreadPool
    ) {
        guard count > 0 else { return }
        let range = range ?? 0..<rows
        let columns = self.columns
        forEachSlice(of: range, scratch: &scratch, pool: pool) { slice, floats in
            let target = y + (slice.lowerBound - range.lowerBound)
            Self.split(slice.count, pool: pool) { chunk in
                FloatProduct.sgemm(
                    false, true, count, chunk.count, columns, 1, x, columns, floats + chunk.lowerBound * columns,
                    columns, 0, target + chunk.lowerBound, yStride)
            }
        }
    }

    /// The gradient of `forward` with respect to x: `dX (+)= dY · W`, dY `(count, range.count)` with row stride
    /// `dYStride`, dX `(count, columns)`.
    ///
    /// - Parameter integers: memory for the int8 form of dY, to use the integer transpose where
    ///   `makeIntegerGradient` made one; a row's result then depends on that row alone.
    public func backward(
        _ dY: UnsafePointer<Float>, count: Int, dYStride: Int, rows range: Range<Int>? = nil,
        into dX: UnsafeMutablePointer<Float>, accumulate: Bool, integers: Activations? = nil,
        scratch: inout GrowableBuffer, pool: ThreadPool
    ) {
        guard count > 0 else { return }
        let range = range ?? 0..<rows
        let columns = self.columns
        if let integers, let transposed {
            let rows = self.rows
            nonisolated(unsafe) let dY = dY  // read only
            integers.set(tokens: count, columns: rows, pool: pool) { token, row in
                if range.count < rows { row.update(repeating: 0, count: rows) }
                (row + range.lowerBound).update(from: dY + token * dYStride, count: range.count)
            }
            MatrixProduct.run(
                [ProductJob(transposed, into: dX, stride: columns, accumulate: accumulate)], integers, tokens: count,
                pool: pool)
            return
        }
        var first = !accumulate
        forEachSlice(of: range, scratch: &scratch, pool: pool) { slice, floats in
            let source = dY + (slice.lowerBound - range.lowerBound)
            let beta: Float = first ? 0 : 1
            first = false
            Self.split(columns, pool: pool) { chunk in
                FloatProduct.sgemm(
                    false, false, count, chunk.count, slice.count, 1, source, dYStride, floats + chunk.lowerBound,
                    columns, beta, dX + chunk.lowerBound, columns)
            }
        }
    }

    /// Cuts `0..<size` into chunks of at most 512, a multiple of the threads in number and whole register tiles each, and
    /// runs them over the pool. Each chunk packs the other operand again, so few large ones are best. A cut across
    /// outputs changes no sum.
    private static func split(_ size: Int, pool: ThreadPool, _ body: (Range<Int>) -> Void) {
        let threads = pool.threadCount
        let count = ((size + 511) / 512 + threads - 1) / threads * threads
        let chunk = ((size + count - 1) / count + 31) / 32 * 32
        pool.parallelFor((size + chunk - 1) / chunk) { task in
            let start = task * chunk
            body(start..<min(start + chunk, size))
        }
    }
}

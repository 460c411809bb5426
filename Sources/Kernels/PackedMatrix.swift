import CKernels
public import TensorTypes

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A matrix of weights in the form that `MatrixProduct` reads.
///
/// Quantized weights are repacked once, without any rounding, into panels of 16 rows: 4.5 to 8.5 bits a weight, within
/// 3 % of the file's size (K types; the others take the same size, rows rounded up to 16). Float weights stay as they
/// are, in the caller's memory when it is kept alive, else copied.
public final class PackedMatrix: @unchecked Sendable {  // immutable after init; the memory is freed in deinit only
    public let type: TensorType
    public let rows: Int
    public let columns: Int

    /// Bytes that the weights occupy, in memory of their own or in the mapped file.
    public let byteCount: Int

    /// True when the weights are read in place from the memory that was handed in.
    public let isBorrowed: Bool

    enum Storage {
        case panels(ck_matrix)
        case floats(UnsafeRawPointer, element: Int32, elementBytes: Int)
    }
    let storage: Storage
    /// CK_ELEMENT_F32, _F16 or _BF16 of float weights; nil of panels.
    var floatElement: Int32? { if case .floats(_, let element, _) = storage { element } else { nil } }
    private let owned: UnsafeMutableRawPointer?
    private let owner: (any AnyObject & Sendable)?

    /// Takes `rows` rows of `columns` weights in the layout of GGUF: row after row, no padding.
    ///
    /// - Parameters:
    ///   - bytes: at least `rows` rows; more is allowed, fewer throws `badShape`.
    ///   - pool: repacking is spread over its threads.
    ///   - keepAlive: the owner of `bytes`. When given, float weights are used in place if they are aligned.
    ///   - didRead: told, from any thread, which of `bytes` have been repacked and are not read again.
    /// - Throws: `KernelsError` for a type without a kernel, a row length that is not whole blocks, or no memory.
    public init(
        type: TensorType, rows: Int, columns: Int, bytes: UnsafeRawBufferPointer, pool: ThreadPool,
        keepAlive: (any AnyObject & Sendable)? = nil, didRead: ((Range<Int>) -> Void)? = nil
    ) throws {
        guard let format = KernelFormat.all.first(where: { $0.type == type }) else {
            let names = KernelFormat.all.map { $0.type.name }.joined(separator: ", ")
            throw KernelsError(
                .unsupportedType, tensorType: type.name, "no product for this type; convert to one of \(names)")
        }
        guard rows > 0, columns > 0, columns % type.blockSize == 0, rows < 1 << 40, columns < 1 << 40 else {
            throw KernelsError(
                .badShape, tensorType: type.name,
                "\(rows) rows of \(columns) columns; columns must be a positive multiple of \(type.blockSize)")
        }
        let rowBytes = columns / type.blockSize * type.bytesPerBlock
        let (needed, overflow) = rowBytes.multipliedReportingOverflow(by: rows)
        guard !overflow, bytes.count >= needed, let base = bytes.baseAddress else {
            throw KernelsError(
                .badShape, tensorType: type.name,
                "\(rows) × \(columns) weights need \(rowBytes) bytes a row, only \(bytes.count) bytes are there")
        }
        self.type = type
        self.rows = rows
        self.columns = columns

        switch format.behaviour {
        case .rowMajor(let element, let elementBytes):
            byteCount = needed
            if let keepAlive, Int(bitPattern: base) % elementBytes == 0 {
                owned = nil
                owner = keepAlive
                isBorrowed = true
                storage = .floats(base, element: element, elementBytes: elementBytes)
            } else {
                let copy = try Self.allocate(needed, type)
                // In pieces that are given back one by one: never more than a piece is there twice.
                for first in stride(from: 0, to: needed, by: 8 << 20) {
                    let end = min(needed, first + (8 << 20))
                    (copy + first).copyMemory(from: base + first, byteCount: end - first)
                    didRead?(first..<end)
                }
                owned = copy
                owner = nil
                isBorrowed = false
                storage = .floats(copy, element: element, elementBytes: elementBytes)
            }
        case .panels(let kind):
            let memory = try Self.panels(
                kind, type: type, rows: rows, columns: columns, rowBytes: rowBytes, pool: pool, didRead: didRead
            ) { first, count, panel in
                ck_pack_panel(
                    kind, (base + first * rowBytes).assumingMemoryBound(to: UInt8.self), rowBytes, count, columns, panel
                )
            }
            byteCount = memory.byteCount
            owned = memory.address
            owner = nil
            isBorrowed = false
            storage = .panels(Self.matrix(kind, memory, rows: rows, columns: columns))
        case .codebook(let codebook):
            let memory = try Self.panels(
                codebook.kind, type: type, rows: rows, columns: columns, rowBytes: rowBytes, pool: pool,
                didRead: didRead
            ) { first, count, panel in
                codebook.pack(
                    base + first * rowBytes, rowBytes: rowBytes, rowCount: count, type: type, columns: columns,
                    into: panel)
            }
            byteCount = memory.byteCount
            owned = memory.address
            owner = nil
            isBorrowed = false
            var matrix = Self.matrix(codebook.kind, memory, rows: rows, columns: columns)
            withUnsafeMutableBytes(of: &matrix.codebook) { entries in
                for (index, value) in codebook.codebook.enumerated() { entries[index] = UInt8(bitPattern: value) }
            }
            storage = .panels(matrix)
        }
    }

    /// The transpose of a matrix of floats, rounded to 65 levels with a scale for every 32 of its rows: the left factor of
    /// integer products with gradients, `dX = dY · W`.
    ///
    /// - Parameters:
    ///   - sourceRows: rows of the source, a multiple of 32; the columns of this matrix.
    ///   - sourceColumns: columns of the source; the rows of this matrix.
    ///   - sliceRows: rows of the source held as floats at a time, rounded up to a multiple of 32.
    ///   - decode: writes the source's rows of a range, row after row.
    /// - Throws: `KernelsError` for a shape that does not fit, or no memory.
    public init(
        transposing sourceRows: Int, by sourceColumns: Int, sliceRows: Int, pool: ThreadPool,
        _ decode: (_ rows: Range<Int>, _ floats: UnsafeMutablePointer<Float>) -> Void
    ) throws {
        let blockRows = Int(CK_BLOCK_COLUMNS), panelRows = Int(CK_PANEL_ROWS)
        guard sourceRows > 0, sourceColumns > 0, sourceRows % blockRows == 0 else {
            throw KernelsError(
                .badShape, tensorType: "T6", "\(sourceRows) × \(sourceColumns): rows must be a multiple of \(blockRows)"
            )
        }
        let panelBytes = ck_panel_bytes(CK_T6, sourceRows)
        let panelCount = (sourceColumns + panelRows - 1) / panelRows
        type = .q8_0
        rows = sourceColumns
        columns = sourceRows
        byteCount = panelCount * panelBytes
        nonisolated(unsafe) let memory = try Self.allocate(byteCount, .q8_0)  // threads write disjoint panels
        memset(memory, 0, byteCount)
        owned = memory
        owner = nil
        isBorrowed = false
        storage = .panels(
            Self.matrix(CK_T6, (memory, byteCount), rows: sourceColumns, columns: sourceRows))
        let step = min(sourceRows, (max(1, sliceRows) + blockRows - 1) / blockRows * blockRows)
        let floats = UnsafeMutablePointer<Float>.allocate(capacity: step * sourceColumns)
        defer { floats.deallocate() }
        for first in stride(from: 0, to: sourceRows, by: step) {
            let slice = first..<min(sourceRows, first + step)
            decode(slice, floats)
            nonisolated(unsafe) let floats = UnsafePointer(floats)
            pool.parallelFor(panelCount) { panel in
                ck_pack_transposed(
                    floats + panel * panelRows, sourceColumns, min(panelRows, sourceColumns - panel * panelRows),
                    first / blockRows, slice.count / blockRows, sourceRows / blockRows,
                    (memory + panel * panelBytes).assumingMemoryBound(to: UInt8.self))
            }
        }
    }

    /// Allocates the panels of a matrix and has them filled on all threads: `pack` gets the first row, the number of rows
    /// and the place of each panel.
    private static func panels(
        _ kind: ck_kind, type: TensorType, rows: Int, columns: Int, rowBytes: Int, pool: ThreadPool,
        didRead: ((Range<Int>) -> Void)?, _ pack: (Int, Int, UnsafeMutablePointer<UInt8>) -> Void
    ) throws -> (address: UnsafeMutableRawPointer, byteCount: Int) {
        let panelRows = Int(CK_PANEL_ROWS)
        let panelCount = (rows + panelRows - 1) / panelRows
        let panelBytes = ck_panel_bytes(kind, columns)
        nonisolated(unsafe) let memory = try allocate(panelCount * panelBytes, type)  // threads write disjoint panels
        let step = max(1, panelCount / (pool.threadCount * 8))
        pool.parallelFor((panelCount + step - 1) / step) { task in
            for panel in task * step..<min(panelCount, (task + 1) * step) {
                let first = panel * panelRows
                pack(
                    first, min(panelRows, rows - first),
                    (memory + panel * panelBytes).assumingMemoryBound(to: UInt8.self))
            }
            let first = task * step * panelRows
            didRead?(first * rowBytes..<min(rows, first + step * panelRows) * rowBytes)
        }
        return (memory, panelCount * panelBytes)
    }

    private static func matrix(
        _ kind: ck_kind, _ memory: (address: UnsafeMutableRawPointer, byteCount: Int), rows: Int, columns: Int
    ) -> ck_matrix {
        var matrix = ck_matrix()
        matrix.kind = kind
        matrix.rows = rows
        matrix.columns = columns
        matrix.panel_bytes = ck_panel_bytes(kind, columns)
        matrix.panels = UnsafePointer(memory.address.assumingMemoryBound(to: UInt8.self))
        return matrix
    }

    deinit { free(owned) }

    /// Decodes the rows `range` to floats, row after row, exactly as the tensor type defines them.
    ///
    /// For embedding look-ups and for the float products of training. `range` must lie in 0 ..< rows.
    public func decode(rows range: Range<Int>, into output: UnsafeMutablePointer<Float>) {
        require(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of a matrix with \(rows) rows")
        switch storage {
        case .panels(var matrix):
            for row in range { ck_unpack_row(&matrix, row, output + (row - range.lowerBound) * columns) }
        case .floats(let base, let element, let elementBytes):
            let from = base + range.lowerBound * columns * elementBytes
            let count = range.count * columns
            let kernels = KernelTable.current.row.pointee
            if element == CK_ELEMENT_F32 {
                UnsafeMutableRawPointer(output).copyMemory(from: from, byteCount: count * 4)
            } else if element == CK_ELEMENT_F16 {
                kernels.half_to_float(from.assumingMemoryBound(to: UInt16.self), output, count)
            } else {
                kernels.bfloat_to_float(from.assumingMemoryBound(to: UInt16.self), output, count)
            }
        }
    }

    /// As `decode(rows:into:)` for all rows, spread over the pool.
    public func decodeAll(into output: UnsafeMutablePointer<Float>, pool: ThreadPool) {
        nonisolated(unsafe) let output = output  // threads write disjoint rows
        pool.parallelFor((rows + 63) / 64) { task in
            decode(rows: task * 64..<min(rows, (task + 1) * 64), into: output + task * 64 * columns)
        }
    }

    /// Memory aligned to cache lines, or to huge pages when it is large enough for them.
    private static func allocate(_ byteCount: Int, _ type: TensorType) throws -> UnsafeMutableRawPointer {
        var memory: UnsafeMutableRawPointer?
        let isLarge = byteCount >= 4 << 20
        guard posix_memalign(&memory, isLarge ? 2 << 20 : 64, byteCount) == 0, let memory else {
            throw KernelsError(.outOfMemory, tensorType: type.name, "no memory for \(byteCount) bytes of weights")
        }
        #if os(Linux)
            if isLarge { madvise(memory, byteCount, 14 /* MADV_HUGEPAGE */) }
        #endif
        return memory
    }
}

/// A tensor type that the kernels multiply with.
struct KernelFormat: Sendable {
    enum Behaviour: Sendable {
        case rowMajor(element: Int32, elementBytes: Int)
        case panels(ck_kind)
        case codebook(CodebookFormat)
    }
    let type: TensorType
    let behaviour: Behaviour

    /// Every supported type, one line each.
    static let all: [KernelFormat] = [
        KernelFormat(type: .f32, behaviour: .rowMajor(element: CK_ELEMENT_F32, elementBytes: 4)),
        KernelFormat(type: .f16, behaviour: .rowMajor(element: CK_ELEMENT_F16, elementBytes: 2)),
        KernelFormat(type: .bf16, behaviour: .rowMajor(element: CK_ELEMENT_BF16, elementBytes: 2)),
        KernelFormat(type: .q4_0, behaviour: .panels(CK_Q4_0)),
        KernelFormat(type: .q4_1, behaviour: .panels(CK_Q4_1)),
        KernelFormat(type: .q5_0, behaviour: .panels(CK_Q5_0)),
        KernelFormat(type: .q5_1, behaviour: .panels(CK_Q5_1)),
        KernelFormat(type: .q8_0, behaviour: .panels(CK_Q8_0)),
        KernelFormat(type: .q2_K, behaviour: .panels(CK_Q2_K)),
        KernelFormat(type: .q3_K, behaviour: .codebook(.q3_K)),
        KernelFormat(type: .q4_K, behaviour: .panels(CK_Q4_K)),
        KernelFormat(type: .q5_K, behaviour: .panels(CK_Q5_K)),
        KernelFormat(type: .q6_K, behaviour: .panels(CK_Q6_K)),
        KernelFormat(type: .iq1_s, behaviour: .codebook(.iq1_s)),
        KernelFormat(type: .iq1_m, behaviour: .codebook(.iq1_m)),
        KernelFormat(type: .iq2_xxs, behaviour: .codebook(.iq2_xxs)),
        KernelFormat(type: .iq2_xs, behaviour: .codebook(.iq2_xs)),
        KernelFormat(type: .iq2_s, behaviour: .codebook(.iq2_s)),
        KernelFormat(type: .iq3_xxs, behaviour: .codebook(.iq3_xxs)),
        KernelFormat(type: .iq3_s, behaviour: .codebook(.iq3_s)),
        KernelFormat(type: .iq4_nl, behaviour: .codebook(.iq4_nl)),
        KernelFormat(type: .iq4_xs, behaviour: .codebook(.iq4_xs)),
        KernelFormat(type: .tq1_0, behaviour: .codebook(.tq1_0)),
        KernelFormat(type: .tq2_0, behaviour: .codebook(.tq2_0)),
        KernelFormat(type: .mxfp4, behaviour: .codebook(.mxfp4)),
        KernelFormat(type: .nvfp4, behaviour: .codebook(.nvfp4)),
        KernelFormat(type: .q1_0, behaviour: .codebook(.q1_0)),
        KernelFormat(type: .q2_0, behaviour: .codebook(.q2_0)),
    ]
}

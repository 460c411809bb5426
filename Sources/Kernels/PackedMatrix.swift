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
        guard rows > 0, columns > 0, columns % format.columnMultiple == 0, rows < 1 << 40, columns < 1 << 40 else {
            throw KernelsError(
                .badShape, tensorType: type.name,
                "\(rows) rows of \(columns) columns; columns must be a positive multiple of \(format.columnMultiple)")
        }
        let rowBytes = format.rowBytes(columns: columns)
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
            let panelCount = (rows + Int(CK_PANEL_ROWS) - 1) / Int(CK_PANEL_ROWS)
            let panelBytes = ck_panel_bytes(kind, columns)
            byteCount = panelCount * panelBytes
            nonisolated(unsafe) let memory = try Self.allocate(byteCount, type)  // threads write disjoint panels
            let step = max(1, panelCount / (pool.threadCount * 8))
            pool.parallelFor((panelCount + step - 1) / step) { task in
                for panel in task * step..<min(panelCount, (task + 1) * step) {
                    let first = panel * Int(CK_PANEL_ROWS)
                    ck_pack_panel(
                        kind, (base + first * rowBytes).assumingMemoryBound(to: UInt8.self),
                        min(Int(CK_PANEL_ROWS), rows - first), columns,
                        (memory + panel * panelBytes).assumingMemoryBound(to: UInt8.self))
                }
                didRead?(
                    task * step * Int(CK_PANEL_ROWS) * rowBytes..<min(
                        rows, (task + 1) * step * Int(CK_PANEL_ROWS)) * rowBytes)
            }
            owned = memory
            owner = nil
            isBorrowed = false
            storage = .panels(
                ck_matrix(
                    kind: kind, rows: rows, columns: columns, panel_bytes: panelBytes,
                    panels: memory.assumingMemoryBound(to: UInt8.self)))
        }
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
    }
    let type: TensorType
    let behaviour: Behaviour

    var columnMultiple: Int {
        switch behaviour {
        case .rowMajor: 1
        case .panels(let kind): ck_column_multiple(kind)
        }
    }

    /// `columns` is a multiple of `columnMultiple` and below 2^40.
    func rowBytes(columns: Int) -> Int {
        switch behaviour {
        case .rowMajor(_, let elementBytes): columns * elementBytes
        case .panels(let kind): ck_row_bytes(kind, columns)
        }
    }

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
        KernelFormat(type: .q4_K, behaviour: .panels(CK_Q4_K)),
        KernelFormat(type: .q5_K, behaviour: .panels(CK_Q5_K)),
        KernelFormat(type: .q6_K, behaviour: .panels(CK_Q6_K)),
    ]
}

import CKernels

/// One row of the kernel table: the same operations for one instruction set.
///
/// `KernelTable.current` is the best row that the processor and the operating system support. The environment variable
/// `INCIPIT_KERNELS` (`portable`, `avx2` or `avx512`) forces another one. All rows compute the same integers; their
/// float results differ by the rounding of the accumulation only.
public struct KernelTable: @unchecked Sendable {  // points at a constant C table
    let row: UnsafePointer<ck_table_row>

    /// The row that every operation uses unless told otherwise. Chosen at first use.
    public static let current = KernelTable(row: ck_table()!)

    /// All rows that this processor can run, the portable one first, the best one last.
    public static let available: [KernelTable] = {
        var rows: [KernelTable] = []
        while let row = ck_available_row(rows.count) { rows.append(KernelTable(row: row)) }
        return rows
    }()

    /// True when `INCIPIT_KERNELS` names a row that does not exist here; `current` is then the best row.
    public static var requestWasRefused: Bool { ck_table_request_refused() }

    /// `portable`, `avx2` or `avx512`.
    public var name: String { String(cString: row.pointee.name) }
}

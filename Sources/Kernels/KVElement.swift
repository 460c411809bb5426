import CKernels

/// The element type of a KV cache.
public enum KVElement: String, Sendable, Hashable, CaseIterable {
    /// Half floats: half the memory, and no difference that shows in logits.
    case f16
    case f32
    /// 8-bit integers with an F16 scale for each 32 of them: 8.5 bits an element. Heads must be a multiple of 32 wide.
    case q8_0

    /// Bytes that one head of one slot takes, for its keys or for its values.
    public func rowBytes(headDimension: Int) -> Int { ck_cache_row_bytes(type, headDimension) }

    /// Whether heads of this width can be stored.
    public func fits(headDimension: Int) -> Bool { self != .q8_0 || headDimension % 32 == 0 }

    var type: ck_cache_type {
        switch self {
        case .f32: CK_CACHE_F32
        case .f16: CK_CACHE_F16
        case .q8_0: CK_CACHE_Q8_0
        }
    }

    /// One row from floats.
    func write(_ source: UnsafePointer<Float>, to row: UnsafeMutableRawPointer, headDimension: Int) {
        KernelTable.current.row.pointee.cache_write(type, source, row, headDimension)
    }

    /// One row as floats.
    func read(_ row: UnsafeRawPointer, into destination: UnsafeMutablePointer<Float>, headDimension: Int) {
        KernelTable.current.row.pointee.cache_read(type, row, destination, headDimension)
    }
}

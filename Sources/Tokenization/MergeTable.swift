/// The merges of a vocabulary: which two neighbouring symbols become which one, and how early.
///
/// A flat hash table from a pair of symbols to (rank, symbol), seeded like `ByteStringTable`.
struct MergeTable: Sendable {
    private var keys: [UInt64]
    private var values: [UInt64]
    private(set) var count = 0

    private static let empty = UInt64.max
    private static let seed = UInt64.random(in: .min ... .max)

    init(minimumCapacity: Int) {
        var size = 16
        while size < minimumCapacity * 2 { size *= 2 }
        keys = [UInt64](repeating: Self.empty, count: size)
        values = [UInt64](repeating: 0, count: size)
    }

    /// Records a merge; the first of two for the same pair stays.
    mutating func insert(_ left: Int32, _ right: Int32, rank: UInt32, merged: Int32) {
        precondition((count + 1) * 2 <= keys.count, "a merge table was filled beyond its capacity")
        let key = Self.key(left, right)
        var index = slot(of: key)
        while keys[index] != Self.empty {
            if keys[index] == key { return }
            index = (index + 1) & (keys.count - 1)
        }
        keys[index] = key
        values[index] = UInt64(rank) << 32 | UInt64(UInt32(bitPattern: merged))
        count += 1
    }

    /// `rank << 32 | merged symbol` of a pair, or `UInt64.max`: lower is earlier.
    @inline(__always)
    func lookUp(_ left: Int32, _ right: Int32) -> UInt64 {
        let key = Self.key(left, right)
        var index = slot(of: key)
        while true {
            let found = keys[index]
            if found == key { return values[index] }
            if found == Self.empty { return .max }
            index = (index + 1) & (keys.count - 1)
        }
    }

    @inline(__always)
    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    @inline(__always)
    private func slot(of key: UInt64) -> Int {
        let product = (key ^ Self.seed).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
        return Int(truncatingIfNeeded: product.high ^ product.low) & (keys.count - 1)
    }
}

/// A fair sample of all rows a prompt has ever learned from, of bounded size (Vitter 1985, algorithm R).
///
/// Every row seen so far is in it with the same probability, however many runs it took.
public struct Reservoir: Sendable, Equatable {
    public let capacity: Int
    /// Rows that came by.
    public private(set) var seen: Int
    public private(set) var rows: [Example]

    /// - Parameters:
    ///   - capacity: rows kept at most, at least 1.
    ///   - rows: a sample of `seen` rows, at most `capacity`.
    public init(capacity: Int, seen: Int = 0, rows: [Example] = []) {
        precondition(
            capacity > 0 && rows.count <= capacity && seen >= rows.count, "the sample cannot be that of a reservoir")
        self.capacity = capacity
        self.seen = seen
        self.rows = rows
    }

    /// Shows it more rows. The same seed keeps the same ones.
    public mutating func add(_ more: [Example], seed: UInt64) {
        for row in more {
            seen += 1
            if rows.count < capacity {
                rows.append(row)
            } else {
                var draw = SplitMix64(seed: seed, stream: UInt64(seen))
                let place = draw.next(below: seen)
                if place < capacity { rows[place] = row }
            }
        }
    }
}

/// Applies merges to a row of symbols: always the pair of lowest rank, of equals the leftmost, until none is left.
///
/// Short rows are searched anew for every merge; long ones keep a linked list and a heap, so that a text of n bytes
/// without a blank costs n log n. Both give the same result. Holds its buffers for the next call.
struct SymbolMerger: Sendable {
    /// The row: filled by the caller, then merged in place.
    var symbols: [Int32] = []

    /// Pairs looked at and heap steps taken so far: what tests measure growth by.
    private(set) var work = 0

    private var pairs: [UInt64] = []
    private var previous: [Int32] = []
    private var next: [Int32] = []
    private var heap: [UInt64] = []

    /// Up to this many symbols the plain search is faster.
    static let shortRow = 48

    mutating func merge(with table: MergeTable, shortRow: Int = Self.shortRow) {
        if symbols.count <= shortRow { mergeShort(table) } else { mergeLong(table) }
    }

    private mutating func mergeShort(_ table: MergeTable) {
        guard symbols.count > 1 else { return }
        pairs.removeAll(keepingCapacity: true)
        for index in 1..<symbols.count { pairs.append(table.lookUp(symbols[index - 1], symbols[index])) }
        while true {
            work &+= pairs.count
            var best = UInt64.max
            var at = -1
            for index in 0..<pairs.count where pairs[index] < best {
                best = pairs[index]
                at = index
            }
            guard at >= 0 else { return }
            symbols[at] = Int32(truncatingIfNeeded: best)
            symbols.remove(at: at + 1)
            pairs.remove(at: at)
            if at > 0 { pairs[at - 1] = table.lookUp(symbols[at - 1], symbols[at]) }
            if at < pairs.count { pairs[at] = table.lookUp(symbols[at], symbols[at + 1]) }
        }
    }

    /// Heap entries are `rank << 32 | position of the left symbol`: their order is the order of merging. An entry whose
    /// pair has changed since is recognised by its rank, which belongs to one pair alone.
    private mutating func mergeLong(_ table: MergeTable) {
        let count = symbols.count
        precondition(count <= Int(Int32.max), "a piece holds at most 2^31 - 1 bytes")
        previous = (0..<count).map { Int32($0 - 1) }
        next = (0..<count).map { Int32($0 + 1 < count ? $0 + 1 : -1) }
        heap.removeAll(keepingCapacity: true)
        for index in 0..<count - 1 { push(table, index, index + 1) }
        while let entry = pop() {
            work &+= 1
            let left = Int(entry & 0xFFFF_FFFF)
            guard symbols[left] >= 0, next[left] >= 0 else { continue }
            let right = Int(next[left])
            let found = table.lookUp(symbols[left], symbols[right])
            guard found != .max, found >> 32 == entry >> 32 else { continue }
            symbols[left] = Int32(truncatingIfNeeded: found)
            symbols[right] = -1
            let after = next[right]
            next[left] = after
            if after >= 0 {
                previous[Int(after)] = Int32(left)
                push(table, left, Int(after))
            }
            if previous[left] >= 0 { push(table, Int(previous[left]), left) }
        }
        symbols.removeAll { $0 < 0 }
    }

    private mutating func push(_ table: MergeTable, _ left: Int, _ right: Int) {
        let found = table.lookUp(symbols[left], symbols[right])
        guard found != .max else { return }
        var child = heap.count
        let entry = (found & ~0xFFFF_FFFF) | UInt64(left)
        heap.append(entry)
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[parent] > entry else { break }
            work &+= 1
            heap[child] = heap[parent]
            child = parent
        }
        heap[child] = entry
    }

    private mutating func pop() -> UInt64? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return first }
        var parent = 0
        while true {
            var child = parent * 2 + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
            guard heap[child] < last else { break }
            work &+= 1
            heap[parent] = heap[child]
            parent = child
        }
        heap[parent] = last
        return first
    }
}

import CKernels

/// The keys and values of one layer for a run of slots, in memory that several sequences may share.
///
/// `[key|value][head][capacity][row]`; freed when nobody uses it any more.
public final class KVPage: @unchecked Sendable {
    // Sendable: a page is written by the one sequence that owns it; once it is shared, nobody writes it.
    let memory: UnsafeMutableRawPointer
    let capacity: Int
    /// Bytes of the page.
    public let byteCount: Int

    init(capacity: Int, planeRowBytes: Int) {
        self.capacity = capacity
        byteCount = 2 * capacity * planeRowBytes
        memory = .allocate(byteCount: max(byteCount, 64), alignment: 64)
    }

    deinit { memory.deallocate() }
}

/// The pages of one layer of one sequence: a table from slots to memory that grows by pages and never moves them.
///
/// The first pages may be shared: a prefix that several sequences begin with. What a sequence adds goes to pages of its
/// own, which begin right behind the shared slots, with 64, 64, 128 and from then on 256 slots; where a slot lies in its
/// page depends on the sequence alone, and with it the order in which attention sums.
public final class KVPages: @unchecked Sendable {
    // Sendable: one sequence uses the table from one place at a time; worker threads write disjoint rows.

    public let headCount: Int
    public let headDimension: Int
    public let element: KVElement
    let rowBytes: Int
    private(set) var table: UnsafeMutablePointer<ck_cache_page>
    private(set) var pageCount = 0
    private var tableCapacity = 8
    private var owners: [KVPage?] = []
    private var sharedPages = 0
    /// Slots at the front that other sequences may use too.
    public private(set) var sharedSlots = 0
    /// First slot behind the shared ones that is still in memory.
    public private(set) var firstKept = 0

    public init(headCount: Int, headDimension: Int, element: KVElement) {
        require(element.fits(headDimension: headDimension), "\(element.rawValue) keys of \(headDimension) dimensions")
        self.headCount = headCount
        self.headDimension = headDimension
        self.element = element
        rowBytes = element.rowBytes(headDimension: headDimension)
        table = .allocate(capacity: tableCapacity)
    }

    deinit { table.deallocate() }

    /// Slots that have memory, released ones included.
    public var capacity: Int { pageCount == 0 ? 0 : table[pageCount - 1].first + table[pageCount - 1].count }

    /// Bytes of the pages that this sequence alone uses.
    public var ownByteCount: Int { owners[sharedPages...].reduce(0) { $0 + ($1?.byteCount ?? 0) } }
    /// Bytes of the shared pages.
    public var sharedByteCount: Int { owners[..<sharedPages].reduce(0) { $0 + ($1?.byteCount ?? 0) } }

    /// Slots that `own` slots of its own make a sequence allocate.
    public static func allocatedSlots(for own: Int) -> Int {
        var total = 0
        while total < own { total += size(at: total) }
        return total
    }

    /// Slots of the page that begins `own` slots behind the shared ones.
    private static func size(at own: Int) -> Int { own < 64 ? 64 : min(256, own) }

    /// Gives every slot of `range` memory.
    public func reserve(_ range: Range<Int>) {
        for index in sharedPages..<pageCount where owners[index] == nil {
            let first = table[index].first
            if first < range.upperBound, first + table[index].count > range.lowerBound { renew(index) }
        }
        while capacity < range.upperBound {
            let slots = Self.size(at: capacity - sharedSlots)
            append(makePage(slots), count: slots)
        }
        firstKept = min(firstKept, max(range.lowerBound, sharedSlots))
    }

    private func makePage(_ slots: Int) -> KVPage { KVPage(capacity: slots, planeRowBytes: headCount * rowBytes) }

    private func append(_ page: KVPage?, count: Int) {
        if pageCount == tableCapacity {
            let larger = UnsafeMutablePointer<ck_cache_page>.allocate(capacity: 2 * tableCapacity)
            larger.update(from: table, count: pageCount)
            table.deallocate()
            table = larger
            tableCapacity *= 2
        }
        let first = capacity
        owners.append(page)
        (table + pageCount).initialize(to: entry(page, first: first, count: count))
        pageCount += 1
    }

    private func entry(_ page: KVPage?, first: Int, count: Int) -> ck_cache_page {
        ck_cache_page(
            keys: page?.memory, values: page.map { $0.memory + $0.byteCount / 2 }, first: first, count: count,
            capacity: page?.capacity ?? count)
    }

    private func renew(_ index: Int) {
        let old = table[index]
        owners[index] = makePage(old.count)
        table[index] = entry(owners[index], first: old.first, count: old.count)
    }

    // MARK: - Sharing and letting go

    /// Shares the first `slots` slots from now on, and returns their pages for others to begin with.
    public func share(_ slots: Int) -> [(page: KVPage, count: Int)] {
        require(slots <= capacity && firstKept <= max(sharedSlots, 0), "slots that are shared must be in memory")
        var result: [(page: KVPage, count: Int)] = []
        var index = 0
        while index < pageCount, table[index].first < slots {
            let count = min(table[index].count, slots - table[index].first)
            table[index].count = count
            if let page = owners[index] { result.append((page, count)) }
            index += 1
        }
        owners.removeSubrange(index...)
        pageCount = index
        sharedPages = index
        sharedSlots = slots
        firstKept = slots
        return result
    }

    /// Begins an empty table with the pages of others.
    public func begin(with pages: [(page: KVPage, count: Int)]) {
        require(pageCount == 0, "shared pages come first")
        for page in pages { append(page.page, count: page.count) }
        sharedPages = pageCount
        sharedSlots = capacity
        firstKept = sharedSlots
    }

    /// Frees own pages that lie wholly below `slot`.
    public func release(below slot: Int) {
        var index = sharedPages
        while index < pageCount, table[index].first + table[index].count <= slot {
            if owners[index] != nil {
                owners[index] = nil
                table[index].keys = nil
                table[index].values = nil
            }
            firstKept = max(firstKept, table[index].first + table[index].count)
            index += 1
        }
    }

    /// Frees own pages that lie wholly at `slot` or behind it.
    public func release(from slot: Int) {
        while pageCount > sharedPages, table[pageCount - 1].first >= slot {
            pageCount -= 1
            owners.removeLast()
        }
        firstKept = min(firstKept, max(slot, sharedSlots))
    }

    // MARK: - Rows

    private func place(_ slot: Int) -> (page: Int, index: Int) {
        var index = pageCount - 1
        while index > 0, table[index].first > slot { index -= 1 }
        require(index >= 0 && slot < table[index].first + table[index].count, "slot \(slot) is outside the cache")
        return (index, slot - table[index].first)
    }

    /// Where the key (or the value) of a slot's head lies; nil when it was released.
    private func row(_ slot: Int, head: Int, isValue: Bool) -> UnsafeMutableRawPointer? {
        let (page, index) = place(slot)
        guard let owner = owners[page] else { return nil }
        return owner.memory + (isValue ? owner.byteCount / 2 : 0) + (head * owner.capacity + index) * rowBytes
    }

    /// Writes the keys and values of one slot: `headCount · headDimension` floats each, keys already rotated.
    public func write(slot: Int, key: UnsafePointer<Float>, value: UnsafePointer<Float>) {
        let (page, index) = place(slot)
        require(page >= sharedPages, "slot \(slot) is shared and cannot be written")
        let entry = table[page]
        guard let keys = UnsafeMutableRawPointer(mutating: entry.keys),
            let values = UnsafeMutableRawPointer(mutating: entry.values)
        else { return require(false, "slot \(slot) was released") }
        for head in 0..<headCount {
            let offset = (head * entry.capacity + index) * rowBytes
            element.write(key + head * headDimension, to: keys + offset, headDimension: headDimension)
            element.write(value + head * headDimension, to: values + offset, headDimension: headDimension)
        }
    }

    /// Writes one head's key or value from floats.
    public func write(_ source: UnsafePointer<Float>, slot: Int, head: Int, isValue: Bool) {
        guard let row = row(slot, head: head, isValue: isValue) else { return }
        element.write(source, to: row, headDimension: headDimension)
    }

    /// One head's key or value as floats; zeros for a slot that was released.
    public func read(slot: Int, head: Int, isValue: Bool, into destination: UnsafeMutablePointer<Float>) {
        guard let row = row(slot, head: head, isValue: isValue) else {
            return destination.update(repeating: 0, count: headDimension)
        }
        element.read(row, into: destination, headDimension: headDimension)
    }

    /// Bytes that one head of one slot takes in `copyRow` and `setRow`.
    public var bytesPerRow: Int { rowBytes }

    /// One head's key or value as it is stored; zeros for a slot that was released.
    public func copyRow(slot: Int, head: Int, isValue: Bool, to destination: UnsafeMutableRawPointer) {
        if let row = row(slot, head: head, isValue: isValue) {
            destination.copyMemory(from: row, byteCount: rowBytes)
        } else {
            destination.initializeMemory(as: UInt8.self, repeating: 0, count: rowBytes)
        }
    }

    /// Puts one head's key or value as it is stored.
    public func setRow(slot: Int, head: Int, isValue: Bool, from source: UnsafeRawPointer) {
        row(slot, head: head, isValue: isValue)?.copyMemory(from: source, byteCount: rowBytes)
    }
}

import CKernels

/// What all sequences of one attention phase have in common.
public struct AttentionShape: Sendable {
    public let headCount: Int
    public let keyValueHeadCount: Int
    public let headDimension: Int
    /// What scores are multiplied by.
    public let scale: Float
    /// Scores become cap · tanh(score / cap); 0 leaves them as they are.
    public let softCap: Float
    /// A query sees its last `window` slots only, its own included; 0 means all.
    public let window: Int

    /// - Parameter headCount: a multiple of `keyValueHeadCount`; head h reads key-value head h / (headCount /
    ///   keyValueHeadCount).
    public init(
        headCount: Int, keyValueHeadCount: Int, headDimension: Int, scale: Float, softCap: Float = 0, window: Int = 0
    ) {
        require(
            keyValueHeadCount > 0 && headCount > 0 && headCount % keyValueHeadCount == 0 && headDimension > 0,
            "\(headCount) heads on \(keyValueHeadCount) key-value heads of \(headDimension) dimensions")
        require(window >= 0 && softCap >= 0, "a window of \(window), a soft cap of \(softCap)")
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount
        self.headDimension = headDimension
        self.scale = scale
        self.softCap = softCap
        self.window = window
    }
}

/// The new queries of one sequence against its keys and values, which must already be in `pages`.
public struct AttentionCall {
    let queries: UnsafePointer<Float>
    let out: UnsafeMutablePointer<Float>
    let pages: KVPages
    let tokens, past: Int
    let usesTiles: Bool

    /// - Parameters:
    ///   - queries: (tokens, headCount · headDimension), rows one behind the other.
    ///   - past: slots in front of the first query's own.
    ///   - usesTiles: handle queries in tiles, which is faster for many, and sums in another order than one by one.
    ///   - out: as `queries`; must not overlap them.
    public init(
        queries: UnsafePointer<Float>, pages: KVPages, tokens: Int, past: Int, usesTiles: Bool,
        into out: UnsafeMutablePointer<Float>
    ) {
        require(past >= 0 && tokens >= 0 && past + tokens <= pages.capacity, "past + tokens exceeds the cache")
        self.queries = queries
        self.pages = pages
        self.tokens = tokens
        self.past = past
        self.usesTiles = usesTiles
        self.out = out
    }
}

/// Causal attention of new queries against KV caches.
public enum AttentionKernel {
    /// From this many tokens at a time on, tiles pay.
    public static let tileThreshold = 8

    /// out[t, h] = Σ_s softmax_s(scale · queries[t, h] · keys[g, s]) · values[g, s], s in 0 ... past + t, g = h / group,
    /// for the queries of all calls in one parallel phase.
    ///
    /// A query's result depends, bit for bit, on its own sequence and on whether it is handled in tiles: not on other
    /// sequences, on the other queries of the call or on the number of threads.
    public static func run(_ calls: [AttentionCall], _ shape: AttentionShape, pool: ThreadPool) {
        run(calls, shape, pool: pool, kernels: .current)
    }

    static func run(_ calls: [AttentionCall], _ shape: AttentionShape, pool: ThreadPool, kernels: KernelTable) {
        let used = calls.filter { $0.tokens > 0 }
        guard !used.isEmpty else { return }
        withExtendedLifetime(used) {
            let width = shape.headCount * shape.headDimension
            let plan = AttentionPlan(
                used.map { call in
                    require(
                        call.pages.headCount == shape.keyValueHeadCount
                            && call.pages.headDimension == shape.headDimension, "a cache of another shape")
                    return ck_attention(
                        queries: call.queries, out: call.out, pages: call.pages.table,
                        page_count: call.pages.pageCount, type: call.pages.element.type, query_stride: width,
                        out_stride: width, head_dimension: shape.headDimension, head_count: shape.headCount,
                        key_value_head_count: shape.keyValueHeadCount, past: call.past, tokens: call.tokens,
                        scale: shape.scale, soft_cap: shape.softCap, window: shape.window)
                }, usesTiles: used.map(\.usesTiles), kernels: kernels.row)
            plan.run(pool)
        }
    }
}

/// The tasks of one phase: first tiles, then ranges of slots of single queries.
private struct AttentionPlan {
    /// A part of a query's slots: consecutive slots of one page, at most `CK_ATTENTION_RANGE`.
    private struct SlotRange {
        let page, first, end: Int
    }
    /// One query's slots.
    private struct Query {
        let call, token: Int
        let ranges: Range<Int>
        /// Where its partial results begin, in ranges · heads.
        let partial: Int
    }
    /// A task: a tile, or one range of one query, of one key-value head.
    private struct Task {
        let call, head, token: Int
        /// Tokens of a tile; 0: `query` and `range` say what to do.
        let count: Int
        let query, range: Int
    }

    private let calls: [ck_attention]
    private let kernels: UnsafePointer<ck_table_row>
    private var tasks: [Task] = []
    private var ranges: [SlotRange] = []
    private var queries: [Query] = []
    private var tileCount = 0
    private var work = 0
    private var partialCount = 0

    init(_ calls: [ck_attention], usesTiles: [Bool], kernels: UnsafePointer<ck_table_row>) {
        self.calls = calls
        self.kernels = kernels
        let heads = calls[0].key_value_head_count
        for (index, call) in calls.enumerated() where usesTiles[index] {
            let tile = withUnsafePointer(to: call) { ck_attention_tile_tokens($0) }
            // The longest first, so that the threads end together.
            for number in stride(from: (call.tokens + tile - 1) / tile - 1, through: 0, by: -1) {
                let first = number * tile
                for head in 0..<heads {
                    tasks.append(
                        Task(
                            call: index, head: head, token: first, count: min(tile, call.tokens - first), query: 0,
                            range: 0))
                }
            }
            work = .max / 2
        }
        for (index, call) in calls.enumerated() where !usesTiles[index] {
            for token in 0..<call.tokens { addQuery(call, index, token, heads) }
            work += call.tokens * (call.past + call.tokens) * call.head_count * call.head_dimension
        }
    }

    private mutating func addQuery(_ call: ck_attention, _ index: Int, _ token: Int, _ heads: Int) {
        let end = call.past + token + 1
        let lowest = call.window == 0 ? 0 : max(0, end - call.window)
        let firstRange = ranges.count
        for page in 0..<call.page_count {
            let entry = call.pages[page]
            if entry.first >= end { break }
            let limit = min(entry.count, end - entry.first)
            var first = 0
            while first < limit {
                let last = min(limit, first + Int(CK_ATTENTION_RANGE))
                let seen = max(first, lowest - entry.first)
                if seen < last { ranges.append(SlotRange(page: page, first: seen, end: last)) }
                first = last
            }
        }
        let query = Query(call: index, token: token, ranges: firstRange..<ranges.count, partial: partialCount)
        for head in 0..<heads {
            for range in query.ranges {
                tasks.append(
                    Task(call: index, head: head, token: token, count: 0, query: queries.count, range: range))
            }
        }
        partialCount += query.ranges.count * heads
        queries.append(query)
    }

    func run(_ pool: ThreadPool) {
        let heads = calls[0].key_value_head_count
        let partialFloats = calls[0].head_count / heads * (calls[0].head_dimension + 2)
        let partials = UnsafeMutablePointer<Float>.allocate(capacity: max(1, partialCount * partialFloats))
        defer { partials.deallocate() }
        calls.withUnsafeBufferPointer { calls in
            tasks.withUnsafeBufferPointer { tasks in
                nonisolated(unsafe) let (calls, tasks, partials) = (calls, tasks, partials)  // disjoint writes
                func perform(_ index: Int) {
                    let task = tasks[index]
                    guard let call = calls.baseAddress.map({ $0 + task.call }) else { return }
                    if task.count > 0 { return tile(call, task) }
                    let query = queries[task.query], range = ranges[task.range]
                    let start = query.partial + task.head * query.ranges.count
                    let to = partials + (start + task.range - query.ranges.lowerBound) * partialFloats
                    kernels.pointee.attention_range(
                        call, range.page, task.head, task.token, range.first, range.end, to)
                    if query.ranges.count == 1 { kernels.pointee.attention_merge(call, task.head, task.token, to, 1) }
                }
                // Waking the other threads pays from some 200 000 multiplications on.
                if work < 200_000 {
                    for index in tasks.indices { perform(index) }
                } else {
                    pool.parallelFor(tasks.count, perform)
                }
                let long = queries.filter { $0.ranges.count > 1 }
                func merge(_ index: Int) {
                    let query = long[index]
                    guard let call = calls.baseAddress.map({ $0 + query.call }) else { return }
                    for head in 0..<heads {
                        let from = partials + (query.partial + head * query.ranges.count) * partialFloats
                        kernels.pointee.attention_merge(call, head, query.token, from, query.ranges.count)
                    }
                }
                if long.count < 4 {
                    for index in long.indices { merge(index) }
                } else {
                    pool.parallelFor(long.count, merge)
                }
            }
        }
    }

    private func tile(_ call: UnsafePointer<ck_attention>, _ task: Task) {
        let scratch = UnsafeMutableRawPointer.allocate(byteCount: ck_attention_tile_scratch(call) * 4, alignment: 64)
        kernels.pointee.attention_tile(
            call, task.head, task.token, task.count, scratch.assumingMemoryBound(to: Float.self))
        scratch.deallocate()
    }
}

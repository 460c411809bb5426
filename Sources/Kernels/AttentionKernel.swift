import CKernels

/// The element type of a KV cache.
public enum KVElement: Sendable, Hashable {
    case f16, f32

    public var byteCount: Int { self == .f16 ? 2 : 4 }
}

/// Causal attention of new queries against a KV cache.
public enum AttentionKernel {
    /// out[t, h] = Σ_s softmax_s(scale · queries[t, h] · keys[g, s]) · values[g, s], s in 0 ... past + t, g = h / group.
    ///
    /// The keys and values of the new tokens must already be in the cache. The result does not depend on the number of
    /// threads, bit for bit. Below 8 tokens each query is handled alone; then a query's result does not depend on the
    /// other tokens either.
    ///
    /// - Parameters:
    ///   - queries: (tokens, headCount · headDimension), rows `queryStride` floats apart.
    ///   - keys, values: [kvHead][capacity][headDimension] of `element`.
    ///   - past: slots filled before the first query's own. past + tokens must not exceed `capacity`.
    ///   - headCount: a multiple of `keyValueHeadCount`; head h reads key-value head h / (headCount / kvHeadCount).
    ///   - softCap: scores become cap · tanh(score / cap); 0 leaves them as they are.
    ///   - window: a query sees its last `window` slots only, its own included; 0 means all.
    ///   - out: (tokens, headCount · headDimension), rows `outStride` floats apart. Must not overlap `queries`.
    public static func run(
        queries: UnsafePointer<Float>, queryStride: Int, keys: UnsafeRawPointer, values: UnsafeRawPointer,
        element: KVElement, capacity: Int, tokens: Int, past: Int, headCount: Int, keyValueHeadCount: Int,
        headDimension: Int, scale: Float, softCap: Float = 0, window: Int = 0,
        into out: UnsafeMutablePointer<Float>, outStride: Int, pool: ThreadPool
    ) {
        run(
            queries: queries, queryStride: queryStride, keys: keys, values: values, element: element,
            capacity: capacity, tokens: tokens, past: past, headCount: headCount,
            keyValueHeadCount: keyValueHeadCount, headDimension: headDimension, scale: scale, softCap: softCap,
            window: window, into: out, outStride: outStride, pool: pool, kernels: .current)
    }

    static func run(
        queries: UnsafePointer<Float>, queryStride: Int, keys: UnsafeRawPointer, values: UnsafeRawPointer,
        element: KVElement, capacity: Int, tokens: Int, past: Int, headCount: Int, keyValueHeadCount: Int,
        headDimension: Int, scale: Float, softCap: Float = 0, window: Int = 0,
        into out: UnsafeMutablePointer<Float>, outStride: Int, pool: ThreadPool, kernels: KernelTable
    ) {
        require(
            keyValueHeadCount > 0 && headCount > 0 && headCount % keyValueHeadCount == 0 && headDimension > 0,
            "\(headCount) heads on \(keyValueHeadCount) key-value heads of \(headDimension) dimensions")
        require(window >= 0 && softCap >= 0, "a window of \(window), a soft cap of \(softCap)")
        require(past >= 0 && tokens >= 0 && past + tokens <= capacity, "past + tokens exceeds the cache")
        let call = ck_attention(
            queries: queries, out: out, keys: keys, values: values, half: element == .f16, query_stride: queryStride,
            out_stride: outStride, capacity: capacity, head_dimension: headDimension, head_count: headCount,
            key_value_head_count: keyValueHeadCount, past: past, tokens: tokens, scale: scale, soft_cap: softCap,
            window: window)
        if tokens == 0 { return }
        withUnsafePointer(to: call) { call in
            if tokens >= tileThreshold {
                runTiles(call, pool, kernels.row)
            } else {
                runRanges(call, pool, kernels.row)
            }
        }
    }

    /// From this many tokens on, queries are handled in tiles.
    private static let tileThreshold = 8

    /// Prefill: tasks are (key-value head, tile of queries), the longest first so that the threads end together.
    private static func runTiles(
        _ call: UnsafePointer<ck_attention>, _ pool: ThreadPool, _ kernels: UnsafePointer<ck_table_row>
    ) {
        let heads = call.pointee.key_value_head_count, tokens = call.pointee.tokens
        let tile = ck_attention_tile_tokens(call), tiles = (tokens + tile - 1) / tile
        let scratchFloats = ck_attention_tile_scratch(call)
        nonisolated(unsafe) let call = call  // read only
        pool.parallelFor(tiles * heads) { task in
            let first = (tiles - 1 - task / heads) * tile
            let scratch = UnsafeMutableRawPointer.allocate(byteCount: scratchFloats * 4, alignment: 64)
            kernels.pointee.attention_tile(
                call, task % heads, first, min(tile, tokens - first), scratch.assumingMemoryBound(to: Float.self))
            scratch.deallocate()
        }
    }

    /// Decode: tasks are (token, key-value head, range of slots); the ranges of a head are merged by whoever is last.
    private static func runRanges(
        _ call: UnsafePointer<ck_attention>, _ pool: ThreadPool, _ kernels: UnsafePointer<ck_table_row>
    ) {
        let c = call.pointee
        let heads = c.key_value_head_count, tokens = c.tokens
        let range = Int(CK_ATTENTION_RANGE), ranges = (c.past + tokens + range - 1) / range
        let partialFloats = c.head_count / heads * (c.head_dimension + 2)
        nonisolated(unsafe) let partials = UnsafeMutablePointer<Float>.allocate(
            capacity: tokens * heads * ranges * partialFloats)
        defer { partials.deallocate() }
        nonisolated(unsafe) let call = call  // read only
        /// The first slot that the window leaves to a query.
        func firstSeen(_ token: Int) -> Int { c.window == 0 ? 0 : max(0, c.past + token + 1 - c.window) }
        func attend(_ index: Int) {  // (token, head, range)
            let token = index / (heads * ranges), head = index / ranges % heads
            let first = max(index % ranges * range, firstSeen(token))
            let end = min(c.past + token + 1, (index % ranges + 1) * range)
            if first < end {
                kernels.pointee.attention_range(call, head, token, first, end, partials + index * partialFloats)
            }
        }
        func merge(_ index: Int) {  // (token, head)
            let used = (c.past + index / heads + range) / range, skipped = firstSeen(index / heads) / range
            kernels.pointee.attention_merge(
                call, index % heads, index / heads, partials + (index * ranges + skipped) * partialFloats,
                used - skipped)
        }
        let work = tokens * heads * ranges
        // Waking the other threads pays from some 200 000 multiplications on.
        if tokens * (c.past + tokens) * c.head_count * c.head_dimension < 200_000 {
            for index in 0..<work { attend(index) }
        } else {
            pool.parallelFor(work, attend)
        }
        for index in 0..<tokens * heads { merge(index) }
    }
}

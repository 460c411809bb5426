import Kernels

/// The keys and values of every layer for one sequence, so that each token is computed once.
///
/// Slots are filled in order; slot = position. Memory comes in pages as slots are filled, never for the whole context
/// ahead, and what is there never moves. A layer with a sliding window may let go of the pages that the window has left.
///
/// A prefix-tuned soft prompt is nothing more than the first slots of such a cache, which many caches share
/// (`KVPrefix`).
public final class KVCache: @unchecked Sendable {
    // Sendable: one session owns a cache and uses it from one place at a time; worker threads write disjoint slots.

    public let layerCount: Int
    public let headCount: Int
    public let headDimension: Int
    public let element: KVElement
    /// For each layer the positions a query sees, its own included; 0: all. Pages behind a window are freed.
    public let windows: [Int]
    /// Slots that hold a token.
    public internal(set) var count = 0
    /// The keys and values of each layer.
    public let layers: [KVPages]
    /// What every position attends to besides the slots.
    public let gated: GatedPrompt?

    /// - Parameters:
    ///   - capacity: slots to allocate at once.
    ///   - windows: for each layer the slots to keep, 0 for all; nil keeps all slots of all layers.
    public init(
        layerCount: Int, headCount: Int, headDimension: Int, element: KVElement, capacity: Int = 0,
        windows: [Int]? = nil, gated: GatedPrompt? = nil
    ) {
        precondition(windows == nil || windows?.count == layerCount, "one window for each layer")
        self.layerCount = layerCount
        self.headCount = headCount
        self.headDimension = headDimension
        self.element = element
        self.windows = windows ?? [Int](repeating: 0, count: layerCount)
        self.gated = gated
        layers = (0..<layerCount).map { _ in
            KVPages(headCount: headCount, headDimension: headDimension, element: element)
        }
        reserve(capacity)
    }

    /// A cache that begins with `prefix`, whose memory it shares.
    public convenience init(beginningWith prefix: KVPrefix, windows: [Int]? = nil) {
        self.init(
            layerCount: prefix.layers.count, headCount: prefix.headCount, headDimension: prefix.headDimension,
            element: prefix.element, windows: windows, gated: prefix.gated)
        for (layer, pages) in zip(layers, prefix.layers) { layer.begin(with: pages) }
        count = prefix.count
    }

    /// Slots at the front that are shared with other caches.
    public var sharedCount: Int { layers.first?.sharedSlots ?? 0 }

    /// Slots that have memory.
    public var capacity: Int { layers.first?.capacity ?? 0 }

    /// Bytes held for keys and values by this cache alone.
    public var byteCount: Int { layers.reduce(0) { $0 + $1.ownByteCount } }

    /// Bytes that a cache of these dimensions holds for `slots` slots of its own, if it keeps them all.
    public static func byteCount(
        slots: Int, layerCount: Int, headCount: Int, headDimension: Int, element: KVElement
    ) -> Int {
        2 * layerCount * headCount * element.rowBytes(headDimension: headDimension)
            * KVPages.allocatedSlots(for: slots)
    }

    /// Makes room for `slots` slots in all.
    public func reserve(_ slots: Int) {
        guard slots > count else { return }
        for layer in layers { layer.reserve(count..<slots) }
    }

    /// Writes the (already rotated) keys and the values of one token into `slot` of `layer`; `keyRow` and `valueRow`
    /// hold `headCount * headDimension` elements.
    public func store(
        layer: Int, slot: Int, keyRow: UnsafePointer<Float>, valueRow: UnsafePointer<Float>
    ) {
        layers[layer].write(slot: slot, key: keyRow, value: valueRow)
    }

    /// Counts `tokens` more slots as filled, and lets go of pages that no later position sees.
    public func advance(by tokens: Int) {
        precondition(count + tokens <= capacity || tokens == 0, "the cache has no room for \(tokens) more tokens")
        count += tokens
        for (layer, window) in zip(layers, windows) where window > 0 { layer.release(below: count + 1 - window) }
    }

    /// Whether the cache can go back to its first `newCount` slots: not when a window has let go of what positions
    /// from there on see.
    public func canTruncate(to newCount: Int) -> Bool {
        guard newCount >= 0, newCount <= count else { return false }
        return zip(layers, windows).allSatisfy { layer, window in
            window == 0 || newCount <= layer.sharedSlots
                || layer.firstKept <= max(layer.sharedSlots, newCount + 1 - window)
        }
    }

    /// Forgets every slot from `newCount` on. Shared slots cannot be forgotten.
    public func truncate(to newCount: Int) {
        precondition(
            newCount >= sharedCount && canTruncate(to: newCount), "cannot truncate \(count) slots to \(newCount)")
        count = newCount
    }

    /// Frees the pages that hold no slot that is filled.
    public func releaseUnused() {
        for layer in layers { layer.release(from: count) }
    }

    /// Shares everything in this cache from now on, so that others can begin with it.
    public func share() -> KVPrefix {
        KVPrefix(
            layers: layers.map { $0.share(count) }, count: count, headCount: headCount, headDimension: headDimension,
            element: element, gated: gated)
    }

    /// Fills the first `tokens` slots of an empty cache from `prefix`, laid out
    /// `[layer][key|value][head][token][headDimension]`, keys rotated and in this model's RoPE pairing.
    public func loadPrefix(_ prefix: UnsafePointer<Float>, tokens: Int) {
        precondition(count == 0, "a prefix enters an empty cache")
        reserve(tokens)
        for (index, layer) in layers.enumerated() {
            for plane in 0..<2 * headCount {
                let from = prefix + (2 * index * headCount + plane) * tokens * headDimension
                for token in 0..<tokens {
                    layer.write(
                        from + token * headDimension, slot: token, head: plane % headCount,
                        isValue: plane >= headCount)
                }
            }
        }
        count = tokens
    }

    /// The first `tokens` slots as F32, laid out as `loadPrefix` reads them.
    public func prefix(tokens: Int) -> [Float] {
        precondition(tokens <= count, "the cache holds \(count) tokens, not \(tokens)")
        let total = layerCount * 2 * headCount * tokens * headDimension
        return [Float](unsafeUninitializedCapacity: total) { buffer, initialized in
            guard let base = buffer.baseAddress else { return }
            for (index, layer) in layers.enumerated() {
                for plane in 0..<2 * headCount {
                    let to = base + (2 * index * headCount + plane) * tokens * headDimension
                    for token in 0..<tokens {
                        layer.read(
                            slot: token, head: plane % headCount, isValue: plane >= headCount,
                            into: to + token * headDimension)
                    }
                }
            }
            initialized = total
        }
    }
}

/// Keys and values of a run of first slots, and of a gated prompt, shared by every sequence that begins with them.
public final class KVPrefix: Sendable {
    let layers: [[(page: KVPage, count: Int)]]
    /// Slots.
    public let count: Int
    public let headCount: Int
    public let headDimension: Int
    public let element: KVElement
    public let gated: GatedPrompt?
    public var layerCount: Int { layers.count }

    init(
        layers: [[(page: KVPage, count: Int)]], count: Int, headCount: Int, headDimension: Int, element: KVElement,
        gated: GatedPrompt?
    ) {
        self.layers = layers
        self.count = count
        self.headCount = headCount
        self.headDimension = headDimension
        self.element = element
        self.gated = gated
    }

    /// Bytes of the pages it consists of, and of the gated prompt.
    public var byteCount: Int {
        layers.reduce(gated?.byteCount ?? 0) { $0 + $1.reduce(0) { $0 + $1.page.byteCount } }
    }
}

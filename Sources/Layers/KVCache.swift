import Kernels

/// The keys and values of every layer for one sequence, so that each token is computed once.
///
/// Storage is one allocation, `[layer][key|value][head][slot][headDimension]`, in F16 or F32. Slots are filled in
/// order; slot = position. The cache grows by doubling, keeping its contents.
///
/// A prefix-tuned soft prompt is nothing more than the first slots of such a cache, written by `loadPrefix`.
public final class KVCache: @unchecked Sendable {
    // Sendable: one session owns a cache and uses it from one place at a time; worker threads write disjoint slots.

    public let layerCount: Int
    public let headCount: Int
    public let headDimension: Int
    public let element: KVElement
    /// Slots that hold a token.
    public private(set) var count = 0
    /// Slots allocated.
    public private(set) var capacity: Int
    private var storage: UnsafeMutableRawPointer

    public init(layerCount: Int, headCount: Int, headDimension: Int, element: KVElement, capacity: Int = 0) {
        self.layerCount = layerCount
        self.headCount = headCount
        self.headDimension = headDimension
        self.element = element
        self.capacity = max(capacity, 16)
        storage = Self.allocate(
            bytes: layerCount * 2 * headCount * self.capacity * headDimension * element.byteCount)
    }

    deinit { storage.deallocate() }

    private static func allocate(bytes: Int) -> UnsafeMutableRawPointer {
        UnsafeMutableRawPointer.allocate(byteCount: max(bytes, 64), alignment: 64)
    }

    /// Bytes held for keys and values.
    public var byteCount: Int { layerCount * 2 * headCount * capacity * headDimension * element.byteCount }

    private var headBytes: Int { capacity * headDimension * element.byteCount }

    /// First key of `layer`: `[head][slot][headDimension]`, heads `capacity` slots apart.
    public func keys(layer: Int) -> UnsafeMutableRawPointer { storage + (layer * 2) * headCount * headBytes }

    /// First value of `layer`, laid out as the keys.
    public func values(layer: Int) -> UnsafeMutableRawPointer { storage + (layer * 2 + 1) * headCount * headBytes }

    /// Makes room for `slots` slots in all.
    public func reserve(_ slots: Int) {
        guard slots > capacity else { return }
        let newCapacity = max(slots, capacity * 2)
        let slotBytes = headDimension * element.byteCount
        let newStorage = Self.allocate(bytes: layerCount * 2 * headCount * newCapacity * slotBytes)
        for plane in 0..<layerCount * 2 * headCount {
            (newStorage + plane * newCapacity * slotBytes).copyMemory(
                from: storage + plane * capacity * slotBytes, byteCount: count * slotBytes)
        }
        storage.deallocate()
        storage = newStorage
        capacity = newCapacity
    }

    /// Writes the (already rotated) keys and the values of one token into `slot` of `layer`; `keyRow` and `valueRow`
    /// hold `headCount * headDimension` elements.
    public func store(
        layer: Int, slot: Int, keyRow: UnsafePointer<Float>, valueRow: UnsafePointer<Float>
    ) {
        precondition(slot < capacity, "slot \(slot) is outside the cache's \(capacity)")
        let keyBase = keys(layer: layer), valueBase = values(layer: layer)
        let slotBytes = headDimension * element.byteCount
        for head in 0..<headCount {
            let offset = head * headBytes + slot * slotBytes
            write(keyRow + head * headDimension, to: keyBase + offset)
            write(valueRow + head * headDimension, to: valueBase + offset)
        }
    }

    private func write(_ source: UnsafePointer<Float>, to destination: UnsafeMutableRawPointer) {
        switch element {
        case .f32:
            destination.copyMemory(from: source, byteCount: headDimension * MemoryLayout<Float>.stride)
        case .f16:
            VectorMath.floatToHalf(
                source, into: destination.assumingMemoryBound(to: UInt16.self), count: headDimension)
        }
    }

    /// Counts `tokens` more slots as filled.
    public func advance(by tokens: Int) {
        precondition(count + tokens <= capacity, "the cache has no room for \(tokens) more tokens")
        count += tokens
    }

    /// Forgets every slot from `newCount` on.
    public func truncate(to newCount: Int) {
        precondition(newCount >= 0 && newCount <= count, "cannot truncate \(count) slots to \(newCount)")
        count = newCount
    }

    /// Fills the first `tokens` slots of an empty cache from `prefix`, laid out
    /// `[layer][key|value][head][token][headDimension]`, keys rotated and in this model's RoPE pairing.
    public func loadPrefix(_ prefix: UnsafePointer<Float>, tokens: Int) {
        precondition(count == 0, "a prefix enters an empty cache")
        reserve(tokens)
        let slotBytes = headDimension * element.byteCount
        for plane in 0..<layerCount * 2 * headCount {
            for token in 0..<tokens {
                write(
                    prefix + (plane * tokens + token) * headDimension,
                    to: storage + plane * headBytes + token * slotBytes)
            }
        }
        count = tokens
    }

    /// The first `tokens` slots as F32, laid out as `loadPrefix` reads them.
    public func prefix(tokens: Int) -> [Float] {
        precondition(tokens <= count, "the cache holds \(count) tokens, not \(tokens)")
        var result = [Float](repeating: 0, count: layerCount * 2 * headCount * tokens * headDimension)
        let slotBytes = headDimension * element.byteCount
        result.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            for plane in 0..<layerCount * 2 * headCount {
                let source = storage + plane * headBytes
                for token in 0..<tokens {
                    let destination = base + (plane * tokens + token) * headDimension
                    let slot = source + token * slotBytes
                    switch element {
                    case .f32:
                        destination.update(
                            from: slot.assumingMemoryBound(to: Float.self), count: headDimension)
                    case .f16:
                        VectorMath.halfToFloat(
                            slot.assumingMemoryBound(to: UInt16.self), into: destination, count: headDimension)
                    }
                }
            }
        }
        return result
    }
}

import Kernels

extension KVCache {
    /// Forgets the slots `gone` and moves what lies behind them to the front, as if it had stood there from the start:
    /// keys are turned back by as many positions, values stay what they are.
    ///
    /// A rotation is linear in the position, so that the keys are those of the new positions up to the rounding of the
    /// cache's number format. What later layers made of the forgotten tokens stays in what is kept, as in every engine
    /// that shifts.
    ///
    /// - Parameters:
    ///   - gone: slots behind the shared ones and within `count`.
    ///   - rotations: for each layer how its keys were rotated; nil for a layer without rotation.
    public func shift(forgetting gone: Range<Int>, rotations: [RotaryEmbedding?]) {
        precondition(
            gone.lowerBound >= sharedCount && gone.upperBound <= count && rotations.count == layerCount,
            "slots \(gone) of \(count) cannot be forgotten")
        guard !gone.isEmpty else { return }
        let kept = count - gone.upperBound
        for (layer, rotary) in zip(layers, rotations) { Self.shift(layer, gone, kept: kept, rotary) }
        count = gone.lowerBound + kept
        for (layer, window) in zip(layers, windows) {
            if window > 0 { layer.release(below: count + 1 - window) }
            layer.release(from: count)
        }
    }

    private static func shift(_ layer: KVPages, _ gone: Range<Int>, kept: Int, _ rotary: RotaryEmbedding?) {
        let rowBytes = layer.bytesPerRow
        let raw = UnsafeMutableRawPointer.allocate(byteCount: rowBytes, alignment: 64)
        let key = UnsafeMutablePointer<Float>.allocate(capacity: layer.headDimension)
        defer {
            raw.deallocate()
            key.deallocate()
        }
        // Slots that a window let go of are zeros and never seen; they move too, so that slots stay positions.
        let first = max(gone.lowerBound, layer.firstKept - gone.count)
        guard first < gone.lowerBound + kept else { return }
        layer.reserve(first..<gone.lowerBound + kept)
        let turn = rotary?.turnBack(by: gone.count)
        for head in 0..<layer.headCount {
            for slot in first..<gone.lowerBound + kept {
                let from = slot + gone.count
                layer.copyRow(slot: from, head: head, isValue: true, to: raw)
                layer.setRow(slot: slot, head: head, isValue: true, from: raw)
                guard let turn else {
                    layer.copyRow(slot: from, head: head, isValue: false, to: raw)
                    layer.setRow(slot: slot, head: head, isValue: false, from: raw)
                    continue
                }
                layer.read(slot: from, head: head, isValue: false, into: key)
                turn.apply(key)
                layer.write(key, slot: slot, head: head, isValue: false)
            }
        }
    }
}

import Foundation
import Kernels
import Layers
import Testing

@Suite struct KVCacheTests {
    private let layers = 2, heads = 3, width = 32

    /// Multiples of 1/8 up to 16: exact in F16 and F32, and in int8 with the scale of the largest.
    private func number(_ layer: Int, _ slot: Int, _ index: Int, isValue: Bool) -> Float {
        index % 32 == 0 ? 15.875 : Float((layer * 31 + slot * 7 + index * 3 + (isValue ? 50 : 0)) % 127) / 8
    }

    private func makeCache(_ element: KVElement = .f32, windows: [Int]? = nil) -> KVCache {
        KVCache(layerCount: layers, headCount: heads, headDimension: width, element: element, windows: windows)
    }

    private func append(_ count: Int, to cache: KVCache) {
        let start = cache.count
        cache.reserve(start + count)
        for layer in 0..<layers {
            for slot in start..<start + count {
                let key = (0..<heads * width).map { number(layer, slot, $0, isValue: false) }
                let value = (0..<heads * width).map { number(layer, slot, $0, isValue: true) }
                cache.store(layer: layer, slot: slot, keyRow: key, valueRow: value)
            }
        }
        cache.advance(by: count)
    }

    private func expected(_ tokens: Int) -> [Float] {
        (0..<layers).flatMap { layer in
            [false, true].flatMap { isValue in
                (0..<heads).flatMap { head in
                    (0..<tokens).flatMap { slot in
                        (0..<width).map { number(layer, slot, head * width + $0, isValue: isValue) }
                    }
                }
            }
        }
    }

    @Test(arguments: KVElement.allCases) func whatIsStoredSurvivesGrowth(element: KVElement) {
        let cache = makeCache(element)
        #expect(cache.byteCount == 0)
        for count in [5, 1, 60, 200, 400] { append(count, to: cache) }
        let found = cache.prefix(tokens: 666)
        #expect(zip(found, expected(666)).allSatisfy { abs($0 - $1) <= (element == .q8_0 ? 0.01 : 0) })
        // Pages of 64, 64, 128, 256 and 256 slots, not a context.
        #expect(cache.capacity == 768)
        let rowBytes = element == .f32 ? 128 : element == .f16 ? 64 : 34
        #expect(cache.byteCount == 768 * layers * 2 * heads * rowBytes)
        #expect(
            KVCache.byteCount(slots: 666, layerCount: layers, headCount: heads, headDimension: width, element: element)
                == cache.byteCount)
        cache.truncate(to: 2)
        #expect(cache.count == 2)
        cache.releaseUnused()
        #expect(cache.capacity == 64)
    }

    @Test(arguments: [KVElement.f32, .f16]) func aPrefixComesBackAsItWasLoaded(element: KVElement) {
        let cache = makeCache(element)
        let prefix = expected(5)
        prefix.withUnsafeBufferPointer { cache.loadPrefix($0.baseAddress!, tokens: 5) }
        #expect(cache.count == 5)
        #expect(cache.prefix(tokens: 5) == prefix)
    }

    @Test func aSharedPrefixIsOneCopyThatNobodyChanges() {
        let first = makeCache()
        append(70, to: first)
        let prefix = first.share()
        let second = KVCache(beginningWith: prefix)
        #expect(second.count == 70)
        #expect(second.byteCount == 0)
        append(10, to: first)
        append(40, to: second)
        #expect(first.prefix(tokens: 80) == expected(80))
        #expect(second.prefix(tokens: 110) == expected(110))
        #expect(first.layers[0].sharedByteCount == second.layers[0].sharedByteCount)
        second.truncate(to: 70)
        append(3, to: second)
        #expect(first.prefix(tokens: 80) == expected(80))
    }

    @Test func aWindowKeepsItsSlotsAndLetsTheRestGo() {
        let cache = makeCache(windows: [100, 0])
        append(1000, to: cache)
        // 900 is the first slot that position 1000 does not see; it lies in the page 768 ..< 1024.
        #expect(cache.layers[0].firstKept == 768)
        #expect(cache.layers[0].ownByteCount < cache.layers[1].ownByteCount / 3)
        #expect(cache.canTruncate(to: 990))
        #expect(cache.canTruncate(to: 867))
        #expect(!cache.canTruncate(to: 866))
        #expect(cache.canTruncate(to: 0))
        let found = cache.prefix(tokens: 1000), whole = expected(1000)
        let plane = heads * 1000 * width
        #expect(Array(found[(2 * plane)...]) == Array(whole[(2 * plane)...]))
        #expect(Array(found[(768 * width)..<(1000 * width)]) == Array(whole[(768 * width)..<(1000 * width)]))
        cache.truncate(to: 0)
        append(30, to: cache)
        #expect(cache.prefix(tokens: 30) == expected(30))
    }

    @Test(arguments: [RotaryEmbedding.Pairing.interleaved, .halves])
    func shiftingTurnsKeysToTheirNewPositions(pairing: RotaryEmbedding.Pairing) {
        let rotary = RotaryEmbedding(dimension: 24, base: 10000, scale: 1, divisors: nil, pairing: pairing)
        rotary.prepare(positions: 400)
        /// The cache of a text whose slot `slot` holds token `token(slot)`: layer 0 rotated, layer 1 not.
        func cache(_ slots: Int, _ token: (Int) -> Int) -> KVCache {
            let cache = makeCache(windows: [0, 150])
            cache.reserve(slots)
            for layer in 0..<layers {
                for slot in 0..<slots {
                    var key = (0..<heads * width).map { number(layer, token(slot), $0, isValue: false) / 16 }
                    let value = (0..<heads * width).map { number(layer, token(slot), $0, isValue: true) }
                    if layer == 0 { rotary.forward(&key, heads: heads, headDimension: width, position: slot) }
                    cache.store(layer: layer, slot: slot, keyRow: key, valueRow: value)
                }
            }
            cache.advance(by: slots)
            return cache
        }
        let shifted = cache(300) { $0 }
        shifted.shift(forgetting: 10..<90, rotations: [rotary, nil])
        #expect(shifted.count == 220)
        let known = cache(220) { $0 < 10 ? $0 : $0 + 80 }
        let found = shifted.prefix(tokens: 220), wanted = known.prefix(tokens: 220)
        let layerFloats = 2 * heads * 220 * width
        #expect(zip(found[..<layerFloats], wanted[..<layerFloats]).allSatisfy { abs($0 - $1) < 2e-5 })
        for plane in 0..<2 * heads {  // the second layer's window reaches back to slot 71
            let range = layerFloats + (plane * 220 + 71) * width..<layerFloats + (plane + 1) * 220 * width
            #expect(Array(found[range]) == Array(wanted[range]))
        }
    }

    @Test(arguments: [RotaryEmbedding.Pairing.interleaved, .halves])
    func rotatingBackUndoesTheRotation(pairing: RotaryEmbedding.Pairing) {
        let rotary = RotaryEmbedding(dimension: 6, base: 10000, scale: 1, divisors: nil, pairing: pairing)
        rotary.prepare(positions: 1020)
        let start = (0..<16).map { Float($0) - 7.5 }
        for position in [13, 1013] {
            var row = start
            rotary.forward(&row, heads: 2, headDimension: 8, position: position)
            #expect(row != start)
            #expect(row[6..<8] == start[6..<8])
            rotary.backward(&row, heads: 2, headDimension: 8, position: position)
            #expect(zip(row, start).allSatisfy { abs($0 - $1) < 1e-5 })
        }
    }
}

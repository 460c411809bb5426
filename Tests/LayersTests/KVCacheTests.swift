import Kernels
import Layers
import Testing

@Suite struct KVCacheTests {
    @Test(arguments: [KVElement.f32, .f16]) func aPrefixSurvivesGrowthAndComesBack(element: KVElement) {
        let cache = KVCache(layerCount: 2, headCount: 3, headDimension: 8, element: element)
        let tokens = 5
        // Multiples of 1/8 up to 32: exact in F16.
        let prefix = (0..<2 * 2 * 3 * tokens * 8).map { Float($0 % 256) / 8 }
        prefix.withUnsafeBufferPointer { cache.loadPrefix($0.baseAddress!, tokens: tokens) }
        #expect(cache.count == tokens)
        #expect(cache.prefix(tokens: tokens) == prefix)
        cache.reserve(100)
        #expect(cache.capacity >= 100)
        #expect(cache.prefix(tokens: tokens) == prefix)
        cache.truncate(to: 2)
        #expect(cache.count == 2)
    }

    @Test(arguments: [RotaryEmbedding.Pairing.interleaved, .halves])
    func rotatingBackUndoesTheRotation(pairing: RotaryEmbedding.Pairing) {
        let rotary = RotaryEmbedding(dimension: 6, base: 10000, scale: 1, divisors: nil, pairing: pairing)
        rotary.prepare(positions: 20)
        let start = (0..<16).map { Float($0) - 7.5 }
        var row = start
        rotary.forward(&row, heads: 2, headDimension: 8, position: 13)
        #expect(row != start)
        #expect(row[6..<8] == start[6..<8])
        rotary.backward(&row, heads: 2, headDimension: 8, position: 13)
        #expect(zip(row, start).allSatisfy { abs($0 - $1) < 1e-5 })
    }
}

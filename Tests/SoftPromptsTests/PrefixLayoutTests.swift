import Testing

@testable import SoftPrompts

struct PrefixLayoutTests {
    @Test(
        "a prefix has as many values as PEFT's",
        arguments: [
            (36, 20, 64, 20, 1_843_200),  // gpt2-large, PEFT's own figure
            (28, 8, 128, 50, 2_867_200),  // 57 344 columns
            (30, 3, 64, 16, 184_320),  // SmolLM2-135M
        ])
    func counts(layers: Int, heads: Int, dimension: Int, tokens: Int, total: Int) {
        let layout = PrefixLayout(layerCount: layers, keyValueHeadCount: heads, headDimension: dimension)
        #expect(layout.columns * tokens == total)
    }

    @Test("each value goes where PEFT's view and permute put it")
    func indexMap() {
        let layout = PrefixLayout(layerCount: 3, keyValueHeadCount: 2, headDimension: 4)
        let tokens = 5
        let rows = (0..<tokens * layout.columns).map { Float($0) }
        let keys = layout.unpack(rows, .keys, tokenCount: tokens)
        let values = layout.unpack(rows, .values, tokenCount: tokens)
        for layer in 0..<3 {
            for head in 0..<2 {
                for token in 0..<tokens {
                    for d in 0..<4 {
                        let index = ((layer * 2 + head) * tokens + token) * 4 + d
                        #expect(keys[index] == Float(token * 48 + (2 * layer * 2 + head) * 4 + d))
                        #expect(values[index] == Float(token * 48 + ((2 * layer + 1) * 2 + head) * 4 + d))
                    }
                }
            }
        }
        #expect(layout.pack(keys: keys, values: values, tokenCount: tokens) == rows)
    }

    @Test("interleaving is llama.cpp's permutation of a head, and has an inverse")
    func permutation() {
        #expect(
            HeadPermutation.interleave([0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15], headDimension: 6)
                == [0, 3, 1, 4, 2, 5, 10, 13, 11, 14, 12, 15])
        for dimension in [2, 4, 64, 128] {
            let heads = (0..<dimension * 3).map { Float($0) }
            let there = HeadPermutation.interleave(heads, headDimension: dimension)
            #expect(HeadPermutation.deinterleave(there, headDimension: dimension) == heads)
            for i in 0..<dimension / 2 {
                for j in 0..<2 { #expect(there[2 * i + j] == heads[j * dimension / 2 + i]) }
            }
        }
    }
}

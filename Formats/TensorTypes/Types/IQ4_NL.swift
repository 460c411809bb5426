/// IQ4_NL: 32 values of 4 bits that stand for the 16 numbers of the ``Codebook``, with one scale;
/// `value = d * codebook[q]`.
///
///     byte  0..1   d    half
///           2..17  qs   low nibble: value j, high nibble: value j + 16
enum IQ4_NLFormat: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Codebook.values.withUnsafeBufferPointer { codebook in
            let codebook = codebook.baseAddress!
            for block in 0..<blockCount {
                let bytes = source + block &* 18
                Codebook.decode(
                    bytes + 2, scale: bytes.half(at: 0), codebook: codebook, into: destination + block &* 32)
            }
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        encode(source, blockCount: blockCount, importance: nil, into: destination)
    }

    static func encode(
        row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        into destination: UnsafeMutableRawPointer
    ) {
        encode(row, blockCount: blockCount, importance: importance, into: destination)
    }

    private static func encode(
        _ source: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>?,
        into destination: UnsafeMutableRawPointer
    ) {
        Codebook.withTables { byPosition, indexByPosition in
            LaneSpace.with(count: 32) { space in
                for first in stride(from: 0, to: blockCount, by: 8) {
                    let blocks = min(8, blockCount &- first)
                    let values = source + 32 &* first
                    LaneSpace.transpose(values, length: 32, runs: blocks, into: space.values)
                    if let importance {
                        LaneSpace.transpose(importance + 32 &* first, length: 32, runs: blocks, into: space.weights)
                        var squares = Lanes.zero
                        for i in 0..<32 { squares += space.values[i] * space.values[i] }
                        space.weigh(count: 32, sigma2: squares * Lanes(repeating: 2 / 32))
                    } else {
                        for i in 0..<32 { space.weights[i] = space.values[i] * space.values[i] }
                    }
                    let scales = CodebookSearch.fit(space, byPosition: byPosition)
                    for block in 0..<blocks {
                        let bytes = destination + 18 &* (first &+ block)
                        let scale = scales[block]
                        bytes.storeHalf(scale, at: 0)
                        CodebookSearch.pack(
                            values + 32 &* block, inverse: scale != 0 ? 1 / scale : 0,
                            indexByPosition: indexByPosition, into: bytes + 2)
                    }
                }
            }
        }
    }
}

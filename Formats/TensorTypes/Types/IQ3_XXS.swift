/// IQ3_XXS: 256 values in 64 runs of 4, each a point of a grid of 256; pairs of runs have an even number of minus signs;
/// groups of 32 have a 4-bit scale; `value = d * (0.5 + scale) / 2 * ±point`.
///
///     byte  0..1    d   half
///           2..65   qs  byte r: the point of run r
///           66..97  4 bytes a group: 7l to 7l + 6: signs of pair l (see ``Signs``), 28 to 31: scale
enum IQ3_XXSFormat: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Grids.iq3xxs.points.withUnsafeBufferPointer { points in
            Signs.masks.withUnsafeBufferPointer { masks in
                for block in 0..<blockCount {
                    let bytes = source + 98 &* block
                    let d = bytes.half(at: 0)
                    for group in 0..<8 {
                        let packed = bytes.word(at: 66 &+ 4 &* group)
                        let scale = d * (0.5 + Float(Int32(packed &>> 28))) * 0.5
                        for l in 0..<4 {
                            let pair = 4 &* group &+ l
                            let first = points[Int(bytes.byte(at: 2 &+ 2 &* pair))]
                            let second = points[Int(bytes.byte(at: 3 &+ 2 &* pair))]
                            let signs = Signs.even(packed &>> UInt32(truncatingIfNeeded: 7 &* l))
                            Signs.store(
                                scale * SIMD8(lowHalf: first, highHalf: second), mask: masks[signs],
                                at: destination + (256 &* block &+ 8 &* pair))
                        }
                    }
                }
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

    private static let search = GridSearch(
        group: 32, length: 4, topLevel: 7, epsilon: 1e-8, trials: 15, trialStep: 0.2, refinement: .thoseOff,
        hasEvenSigns: true)

    private static func encode(
        _ row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>?,
        into destination: UnsafeMutableRawPointer
    ) {
        GridSearch.Index.with(Grids.iq3xxsIndex) { index in
            GridSearch.Space.with { space in
                for block in 0..<blockCount {
                    let bytes = destination + 98 &* block
                    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 98)
                    let sigma2 = 2 * sumOfSquares(row + 256 &* block, count: 256) / 256
                    var scales = Lanes.zero
                    for group in 0..<8 {
                        let start = 256 &* block &+ 32 &* group
                        search.load(row + start, into: space) { i, x in
                            guard let importance else { return x * x }
                            return importance[start &+ i] * (sigma2 + x * x).squareRoot()
                        }
                        guard let scale = search.fit(space, index) else { continue }
                        scales[group] = scale
                        for k in 0..<8 {
                            bytes.storeByte(UInt8(truncatingIfNeeded: space.points[k]), at: 2 &+ 8 &* group &+ k)
                        }
                        var signs: UInt32 = 0
                        for l in 0..<4 {
                            signs |= UInt32(space.signs[l] & 127) &<< UInt32(truncatingIfNeeded: 7 &* l)
                        }
                        bytes.storeWord(signs, at: 66 &+ 4 &* group)
                    }
                    let greatest = scales.max()
                    guard greatest != 0 else {
                        bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 98)
                        continue
                    }
                    let d = greatest / 31
                    bytes.storeHalf(d * 1.0125, at: 0)
                    for group in 0..<8 {
                        let level = GridSearch.level(scales[group], inverse: 1 / d)
                        bytes.storeByte(
                            UnsafeRawPointer(bytes).byte(at: 69 &+ 4 &* group) | level &<< 4, at: 69 &+ 4 &* group)
                    }
                }
            }
        }
    }
}

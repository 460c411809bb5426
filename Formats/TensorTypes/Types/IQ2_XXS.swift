/// IQ2_XXS: 256 values in 32 runs of 8, each a point of a grid of 256 with an even number of minus signs; groups of 32
/// have a 4-bit scale; `value = d * (0.5 + scale) / 4 * ±point`.
///
///     byte  0..1   d   half
///           2..65  8 bytes a group of 32:
///                    0..3  the numbers of its four points
///                    4..7  32 bits: 7l to 7l + 6: signs of run l (see ``Signs``), 28 to 31: scale
enum IQ2_XXSFormat: WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Grids.iq2xxs.points.withUnsafeBufferPointer { points in
            Signs.masks.withUnsafeBufferPointer { masks in
                for block in 0..<blockCount {
                    let bytes = source + 66 &* block
                    let d = bytes.half(at: 0)
                    for group in 0..<8 {
                        let place = 2 &+ 8 &* group
                        let packed = bytes.word(at: place &+ 4)
                        let scale = d * (0.5 + Float(Int32(packed &>> 28))) * 0.25
                        let values = destination + (256 &* block &+ 32 &* group)
                        for l in 0..<4 {
                            let point = points[Int(bytes.byte(at: place &+ l))]
                            let signs = Signs.even(packed &>> UInt32(truncatingIfNeeded: 7 &* l))
                            Signs.store(scale * point, mask: masks[signs], at: values + 8 &* l)
                        }
                    }
                }
            }
        }
    }

    private static let search = GridSearch(
        group: 32, length: 8, topLevel: 2, epsilon: 1e-15, trials: 6, trialStep: 0.1, refinement: .always,
        hasEvenSigns: true, startsFromFit: true)

    static func encode(
        row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        into destination: UnsafeMutableRawPointer
    ) {
        GridSearch.Index.with(Grids.iq2xxsIndex) { index in
            GridSearch.Space.with { space in
                for block in 0..<blockCount {
                    let bytes = destination + 66 &* block
                    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 66)
                    let sigma2 = sumOfSquares(row + 256 &* block, count: 256) / 256
                    var scales = Lanes.zero
                    for group in 0..<8 {
                        let start = 256 &* block &+ 32 &* group
                        search.load(row + start, into: space) { i, x in
                            importance[start &+ i] * (sigma2 + x * x).squareRoot()
                        }
                        guard let scale = search.fit(space, index) else { continue }
                        scales[group] = scale
                        var signs: UInt32 = 0
                        for l in 0..<4 {
                            bytes.storeByte(UInt8(truncatingIfNeeded: space.points[l]), at: 2 &+ 8 &* group &+ l)
                            signs |= UInt32(space.signs[l] & 127) &<< UInt32(truncatingIfNeeded: 7 &* l)
                        }
                        bytes.storeWord(signs, at: 6 &+ 8 &* group)
                    }
                    let greatest = scales.max()
                    guard greatest != 0 else {
                        bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 66)
                        continue
                    }
                    let d = greatest / 31
                    bytes.storeHalf(d, at: 0)
                    for group in 0..<8 {
                        let level = GridSearch.level(scales[group], inverse: 1 / d)
                        bytes.storeByte(
                            UnsafeRawPointer(bytes).byte(at: 9 &+ 8 &* group) | level &<< 4, at: 9 &+ 8 &* group)
                    }
                }
            }
        }
    }
}

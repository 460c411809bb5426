/// IQ3_XXS: 256 values in 64 runs of 4, each a point of a grid of 256; pairs of runs have an even number of minus signs;
/// groups of 32 have a 4-bit scale; `value = d * (0.5 + scale) / 2 * ±point`.
///
///     byte  0..1    d   half
///           2..65   qs  byte r: the point of run r
///           66..97  4 bytes a group: 7l to 7l + 6: signs of pair l (see ``Signs``), 28 to 31: scale
enum IQ3_XXSFormat: BlockFormat {
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
}

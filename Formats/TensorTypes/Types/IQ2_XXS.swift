/// IQ2_XXS: 256 values in 32 runs of 8, each a point of a grid of 256 with an even number of minus signs; groups of 32
/// have a 4-bit scale; `value = d * (0.5 + scale) / 4 * ±point`.
///
///     byte  0..1   d   half
///           2..65  8 bytes a group of 32:
///                    0..3  the numbers of its four points
///                    4..7  32 bits: 7l to 7l + 6: signs of run l (see ``Signs``), 28 to 31: scale
enum IQ2_XXSFormat: BlockFormat {
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
}

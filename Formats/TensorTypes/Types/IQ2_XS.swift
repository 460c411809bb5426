/// IQ2_XS: 256 values in 32 runs of 8, each a point of a grid of 512 with an even number of minus signs; groups of 16
/// have a 4-bit scale; `value = d * (0.5 + scale) / 4 * ±point`.
///
///     byte  0..1    d       half
///           2..65   qs      16 bits a run: 0 to 8 number of its point, 9 to 15 signs (see ``Signs``)
///           66..73  scales  nibble g: scale of group g
enum IQ2_XSFormat: BlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Grids.iq2xs.points.withUnsafeBufferPointer { points in
            Signs.masks.withUnsafeBufferPointer { masks in
                for block in 0..<blockCount {
                    let bytes = source + 74 &* block
                    let d = bytes.half(at: 0)
                    for group in 0..<16 {
                        let nibble =
                            bytes.byte(at: 66 &+ group / 2) &>> UInt8(truncatingIfNeeded: 4 &* (group & 1)) & 15
                        let scale = d * (0.5 + Float(Int32(nibble))) * 0.25
                        for run in (2 &* group)..<(2 &* group &+ 2) {
                            let packed = UInt32(bytes.short(at: 2 &+ 2 &* run))
                            let point = points[Int(packed & 511)]
                            Signs.store(
                                scale * point, mask: masks[Signs.even(packed &>> 9)],
                                at: destination + (256 &* block &+ 8 &* run))
                        }
                    }
                }
            }
        }
    }
}

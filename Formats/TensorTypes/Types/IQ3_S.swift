/// IQ3_S: 256 values in 64 runs of 4, each a point of a grid of 512 with any signs; groups of 32 have a 4-bit scale;
/// `value = d * (1 + 2 * scale) * ±point`.
///
///     byte  0..1      d       half
///           2..65     qs      byte r: low bits of the point of run r
///           66..73    qh      bit r: ninth bit of the point of run r
///           74..105   signs   byte p: bit j is the sign of value j of runs 2p and 2p + 1
///           106..109  scales  nibble g: scale of group g
enum IQ3_SFormat: BlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Grids.iq3s.points.withUnsafeBufferPointer { points in
            Signs.masks.withUnsafeBufferPointer { masks in
                for block in 0..<blockCount {
                    let bytes = source + 110 &* block
                    let d = bytes.half(at: 0)
                    for group in 0..<8 {
                        let nibble =
                            bytes.byte(at: 106 &+ group / 2) &>> UInt8(truncatingIfNeeded: 4 &* (group & 1)) & 15
                        let scale = d * Float(1 &+ 2 &* Int32(nibble))
                        let high = Int(bytes.byte(at: 66 &+ group))
                        for l in 0..<4 {
                            let pair = 4 &* group &+ l
                            let first = Int(bytes.byte(at: 2 &+ 2 &* pair)) | (high &>> (2 &* l) & 1) &<< 8
                            let second = Int(bytes.byte(at: 3 &+ 2 &* pair)) | (high &>> (2 &* l &+ 1) & 1) &<< 8
                            Signs.store(
                                scale * SIMD8(lowHalf: points[first], highHalf: points[second]),
                                mask: masks[Int(bytes.byte(at: 74 &+ pair))],
                                at: destination + (256 &* block &+ 8 &* pair))
                        }
                    }
                }
            }
        }
    }
}

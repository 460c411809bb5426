/// IQ2_S: 256 values in 32 runs of 8, each a point of a grid of 1024 with any signs; groups of 16 have a 4-bit scale;
/// `value = d * (0.5 + scale) / 4 * ±point`.
///
///     byte  0..1    d       half
///           2..33   qs      byte r: low bits of the point of run r
///           34..65  signs   byte r: bit j is the sign of value j of run r
///           66..73  qh      bits 2l and 2l + 1 of byte g: high bits of the point of run 4g + l
///           74..81  scales  nibble g: scale of group g
enum IQ2_SFormat: BlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Grids.iq2s.points.withUnsafeBufferPointer { points in
            Signs.masks.withUnsafeBufferPointer { masks in
                for block in 0..<blockCount {
                    let bytes = source + 82 &* block
                    let d = bytes.half(at: 0)
                    for group in 0..<16 {
                        let nibble =
                            bytes.byte(at: 74 &+ group / 2) &>> UInt8(truncatingIfNeeded: 4 &* (group & 1)) & 15
                        let scale = d * (0.5 + Float(Int32(nibble))) * 0.25
                        for run in (2 &* group)..<(2 &* group &+ 2) {
                            let high = Int(bytes.byte(at: 66 &+ run / 4)) &>> (2 &* (run & 3)) & 3
                            let point = points[Int(bytes.byte(at: 2 &+ run)) | high &<< 8]
                            Signs.store(
                                scale * point, mask: masks[Int(bytes.byte(at: 34 &+ run))],
                                at: destination + (256 &* block &+ 8 &* run))
                        }
                    }
                }
            }
        }
    }
}

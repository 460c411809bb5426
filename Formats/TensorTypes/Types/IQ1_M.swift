/// IQ1_M: 256 values in 32 runs of 8, each a point of a grid of 2048 levels -1, 0 and 1 with a shift; groups of 16 have a
/// 3-bit scale; `value = d * (2 * scale + 1) * (point ± 1/8)`.
///
///     byte  0..31   qs      byte r: low bits of the point of run r
///           32..47  qh      nibble r: high 3 bits of the point of run r, bit 3 set when its shift is -1/8
///           48..55  scales  four words of 16 bits; 3l to 3l + 2 of word w: scale of group 4w + l;
///                           the top nibbles of the words, from the first up, are the bits of d, a half
enum IQ1_MFormat: BlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Grids.iq1.points.withUnsafeBufferPointer { points in
            for block in 0..<blockCount {
                let bytes = source + 56 &* block
                var bits: UInt16 = 0
                for word in 0..<4 {
                    bits |= (bytes.short(at: 48 &+ 2 &* word) &>> 12) &<< UInt16(truncatingIfNeeded: 4 &* word)
                }
                let d = Half.float(bits)
                for group in 0..<16 {
                    let word = Int32(bytes.short(at: 48 &+ 2 &* (group / 4)))
                    let stored = word &>> Int32(truncatingIfNeeded: 3 &* (group & 3)) & 7
                    let scale = d * Float(2 &* stored &+ 1)
                    for run in (2 &* group)..<(2 &* group &+ 2) {
                        let nibble = Int(bytes.byte(at: 32 &+ group)) &>> (4 &* (run & 1)) & 15
                        let shift: Float = nibble & 8 != 0 ? -0.125 : 0.125
                        let point = points[Int(bytes.byte(at: run)) | (nibble & 7) &<< 8]
                        UnsafeMutableRawPointer(destination + (256 &* block &+ 8 &* run))
                            .storeBytes(of: scale * (point + shift), as: SIMD8<Float>.self)
                    }
                }
            }
        }
    }
}

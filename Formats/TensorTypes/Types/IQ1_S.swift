/// IQ1_S: 256 values in 32 runs of 8, each a point of a grid of 2048 levels -1, 0 and 1; groups of 32 have a 3-bit scale
/// and a shift; `value = d * (2 * scale + 1) * (point ± 1/8)`.
///
///     byte  0..1    d   half
///           2..33   qs  byte r: low bits of the point of run r
///           34..49  qh  16 bits a group: 3l to 3l + 2 high bits of the point of its run l, 12 to 14 scale,
///                       15 set when the shift is -1/8
enum IQ1_SFormat: BlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Grids.iq1.points.withUnsafeBufferPointer { points in
            for block in 0..<blockCount {
                let bytes = source + 50 &* block
                let d = bytes.half(at: 0)
                for group in 0..<8 {
                    let packed = Int(bytes.short(at: 34 &+ 2 &* group))
                    let scale = d * Float(Int32(truncatingIfNeeded: 2 &* (packed &>> 12 & 7) &+ 1))
                    let shift: Float = packed & 0x8000 != 0 ? -0.125 : 0.125
                    for l in 0..<4 {
                        let run = 4 &* group &+ l
                        let point = points[Int(bytes.byte(at: 2 &+ run)) | (packed &>> (3 &* l) & 7) &<< 8]
                        UnsafeMutableRawPointer(destination + (256 &* block &+ 8 &* run))
                            .storeBytes(of: scale * (point + shift), as: SIMD8<Float>.self)
                    }
                }
            }
        }
    }
}

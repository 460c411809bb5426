/// NVFP4: 64 values of 4 bits (``E2M1``) in 4 groups of 16, each with an 8-bit float as scale;
/// `value = scale * E2M1(q)`. A tensor may have one more scale, in a tensor of its own beside it (`NAME.scale`), that is
/// not applied here.
///
///     byte  0..3   d    scale of each group: 4 bits of exponent, 3 of fraction (UE4M3); 127 stands for 0
///           4..35  qs   8 bytes a group; low nibble: value j, high nibble: value j + 8
enum NVFP4Format: EncodableBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        E2M1.doubled.withUnsafeBufferPointer { codebook in
            let codebook = codebook.baseAddress!
            for block in 0..<blockCount {
                let bytes = source + 36 &* block
                for group in 0..<4 {
                    let scale = halfScale(bytes.byte(at: group))
                    let values = destination + (64 &* block &+ 16 &* group)
                    for j in 0..<8 {
                        let q = bytes.byte(at: 4 &+ 8 &* group &+ j)
                        values[j] = scale * codebook[Int(q & 15)]
                        values[j &+ 8] = scale * codebook[Int(q &>> 4)]
                    }
                }
            }
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        for block in 0..<blockCount {
            let bytes = destination + 36 &* block
            for group in 0..<4 {
                let values = source + (64 &* block &+ 16 &* group)
                // The greatest value becomes 6, the greatest E2M1.
                let stored = storedScale(extreme(of: values, count: 16).magnitude / 6)
                bytes.storeByte(stored, at: group)
                E2M1.pack(values, count: 16, scale: halfScale(stored), into: bytes + (4 &+ 8 &* group))
            }
        }
    }

    /// Half of the scale, for ``E2M1/doubled``.
    @inline(__always)
    private static func halfScale(_ stored: UInt8) -> Float {
        let fraction = Float(Int32(stored & 7))
        let exponent = UInt32(stored &>> 3 & 15)
        if stored == 0 || stored == 127 { return 0 }
        if exponent == 0 { return fraction * 0x1p-10 }
        return (1 + fraction * 0.125) * Float(bitPattern: (exponent &+ 119) &<< 23)
    }

    /// The nearest UE4M3 as ggml finds it: ties away from zero, subnormals by adding a half, 448 at most.
    private static func storedScale(_ value: Float) -> UInt8 {
        guard value > 0 else { return 0 }
        let bits = min(value, 448).bitPattern
        let exponent = Int32(truncatingIfNeeded: bits &>> 23 & 255) &- 120
        if exponent <= 0 {
            return UInt8(truncatingIfNeeded: min(7, Int32(min(value, 448) * 512 + 0.5)))
        }
        // A carry out of the fraction goes into the exponent.
        let rounded =
            exponent &* 8 &+ Int32(truncatingIfNeeded: bits &>> 20 & 7)
            &+ Int32(truncatingIfNeeded: bits &>> 19 & 1)
        return rounded >= 120 ? 0x7E : UInt8(truncatingIfNeeded: rounded)
    }
}

/// Q2_0: 64 values of 2 bits with one scale; `value = d * (q - 1)`.
///
///     byte  0..1   d    half: the greatest magnitude
///           2..17  qs   bits 2k and 2k + 1 of byte b: value 4b + k
enum Q2_0Format: EncodableBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 18
            let values = destination + block &* 64
            let d = bytes.half(at: 0)
            for j in 0..<64 {
                let q = Int32(bytes.byte(at: 2 &+ j / 4)) &>> Int32(truncatingIfNeeded: 2 &* (j & 3)) & 3
                values[j] = Float(q &- 1) * d
            }
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        for block in 0..<blockCount {
            let values = source + block &* 64
            let bytes = destination + block &* 18
            let d = extreme(of: values, count: 64).magnitude
            let inverse = d > 0 ? 1 / d : 0
            bytes.storeHalf(d, at: 0)
            for run in 0..<16 {
                var byte: UInt8 = 0
                for k in 0..<4 {
                    let scaled = values[4 &* run &+ k] * inverse
                    // Beyond all integers (d is denormal), C's conversion gives the least one.
                    let q = scaled.magnitude < 0x1p31 ? max(0, min(3, roundedAwayFromZero(scaled) &+ 1)) : 0
                    byte |= UInt8(truncatingIfNeeded: q) &<< UInt8(truncatingIfNeeded: 2 &* k)
                }
                bytes.storeByte(byte, at: 2 &+ run)
            }
        }
    }
}

/// TQ1_0: 256 values of -1, 0 or 1, five to a byte, with one scale; `value = d * (q - 1)`.
///
///     byte  0..47   qs   48 bytes of five values
///           48..51  qh   4 bytes of four values
///           52..53  d    half: the greatest magnitude
///
/// A byte holds its values as digits of a fraction in base 3, the first the most significant, scaled to 256 and rounded
/// up: multiplying it by 3 moves the first digit out at the top. Values are spread over bytes: value `m + 32n` of the
/// first 160 is digit n of byte m, value `m + 16n` of the next 80 of byte 32 + m, value `m + 4n` of the last 16 of
/// qh[m].
enum TQ1_0Format: EncodableBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 54
            let d = bytes.half(at: 52)
            let values = destination + 256 &* block
            decode(bytes, count: 32, digits: 5, d: d, into: values)
            decode(bytes + 32, count: 16, digits: 5, d: d, into: values + 160)
            decode(bytes + 48, count: 4, digits: 4, d: d, into: values + 240)
        }
    }

    @inline(__always)
    private static func decode(
        _ bytes: UnsafeRawPointer, count: Int, digits: Int, d: Float, into values: UnsafeMutablePointer<Float>
    ) {
        var power: UInt8 = 1
        for digit in 0..<digits {
            for m in 0..<count {
                let rest = UInt16(bytes.byte(at: m) &* power)
                values[count &* digit &+ m] = Float(Int32((rest &* 3) &>> 8) &- 1) * d
            }
            power = power &* 3
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { levels in
            let levels = levels.baseAddress!
            for block in 0..<blockCount {
                let bytes = destination + block &* 54
                Trits.round(source + block &* 256, levels: levels, d: bytes + 52)
                encode(levels, count: 32, digits: 5, into: bytes)
                encode(levels + 160, count: 16, digits: 5, into: bytes + 32)
                encode(levels + 240, count: 4, digits: 4, into: bytes + 48)
            }
        }
    }

    @inline(__always)
    private static func encode(
        _ levels: UnsafePointer<UInt8>, count: Int, digits: Int, into bytes: UnsafeMutableRawPointer
    ) {
        for m in 0..<count {
            var number: UInt16 = 0
            for digit in 0..<5 {
                number = number &* 3
                if digit < digits { number = number &+ UInt16(levels[count &* digit &+ m]) }
            }
            bytes.storeByte(UInt8(truncatingIfNeeded: (number &* 256 &+ 242) / 243), at: m)
        }
    }
}

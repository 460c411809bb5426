/// The levels of a block of 32 values, one byte each, eight bytes a word, the first in the lowest byte.
///
/// Blocks whose levels follow from one quotient (Q4_0 to Q8_0) spend their time here, so that everything is done on
/// eight values at once, by operations that are one or two instructions of baseline x86-64 or NEON: there is no
/// conversion of floats to integers that Swift would not check value by value.
struct PackedLevels {
    /// Values 0 to 7, 8 to 15, 16 to 23, 24 to 31.
    let words: (UInt64, UInt64, UInt64, UInt64)

    /// The integer parts of quotients from 0 on, at most `limit`.
    ///
    /// Quotients of denormal numbers may be infinite or NaN: these get 0, as the low byte of C's cast is on x86.
    /// - Parameters:
    ///   - values: 32 floats of any alignment.
    ///   - limit: below 256.
    @inline(__always)
    init(_ values: UnsafePointer<Float>, limit: Float, quotient: (Lanes) -> Lanes) {
        let below = Lanes(repeating: (limit + 1).nextDown)
        self.init(values) { lanes in quotient(lanes).greatest(.zero).zeroWhereHuge.least(below).wholePart }
    }

    /// Quotients of either sign rounded to the nearest integer, ties away from zero, as signed bytes.
    @inline(__always)
    init(rounding values: UnsafePointer<Float>, quotient: (Lanes) -> Lanes) {
        self.init(values) { lanes in
            let q = quotient(lanes)
            // The float just below a half makes cutting off exact for all magnitudes in use.
            let magnitude = (q.absolute + Lanes(repeating: 0x1.fffffep-2)).zeroWhereHuge.wholePart
            let sign = unsafeBitCast(q, to: SIMD8<Int32>.self) &>> 31
            let signed = (unsafeBitCast(magnitude, to: SIMD8<Int32>.self) ^ sign) &- sign
            return unsafeBitCast(signed, to: SIMD8<UInt32>.self) & SIMD8<UInt32>(repeating: 0xFF)
        }
    }

    @inline(__always)
    private init(_ values: UnsafePointer<Float>, _ levels: (Lanes) -> SIMD8<UInt32>) {
        let source = UnsafeRawPointer(values)
        words = (
            Self.bytes(levels(source.loadUnaligned(as: Lanes.self))),
            Self.bytes(levels((source + 32).loadUnaligned(as: Lanes.self))),
            Self.bytes(levels((source + 64).loadUnaligned(as: Lanes.self))),
            Self.bytes(levels((source + 96).loadUnaligned(as: Lanes.self)))
        )
    }

    /// Eight integers below 256 as bytes.
    @inline(__always)
    private static func bytes(_ lanes: SIMD8<UInt32>) -> UInt64 {
        let pairs = unsafeBitCast(lanes, to: SIMD4<UInt64>.self)
        let joined = (pairs | pairs &>> 24) & SIMD4<UInt64>(repeating: 0xFFFF)
        return joined[0] | joined[1] &<< 16 | joined[2] &<< 32 | joined[3] &<< 48
    }

    /// Low nibble: value j, high nibble: value j + 16.
    @inline(__always)
    func storeNibbles(_ target: UnsafeMutableRawPointer) {
        let low: UInt64 = 0x0F0F_0F0F_0F0F_0F0F
        target.storeBytes(of: (words.0 & low | (words.2 & low) &<< 4).littleEndian, as: UInt64.self)
        (target + 8).storeBytes(of: (words.1 & low | (words.3 & low) &<< 4).littleEndian, as: UInt64.self)
    }

    /// The fifth bits: bit j is value j's.
    @inline(__always)
    var fifthBits: UInt32 {
        Self.fifthBits(words.0) | Self.fifthBits(words.1) &<< 8 | Self.fifthBits(words.2) &<< 16
            | Self.fifthBits(words.3) &<< 24
    }

    @inline(__always)
    private static func fifthBits(_ word: UInt64) -> UInt32 {
        // The product brings the lowest bit of byte i to bit 56 + i.
        UInt32(truncatingIfNeeded: ((word &>> 4 & 0x0101_0101_0101_0101) &* 0x0102_0408_1020_4080) &>> 56)
    }

    /// All levels as they are.
    @inline(__always)
    func storeBytes(_ target: UnsafeMutableRawPointer) {
        target.storeBytes(of: words.0.littleEndian, as: UInt64.self)
        (target + 8).storeBytes(of: words.1.littleEndian, as: UInt64.self)
        (target + 16).storeBytes(of: words.2.littleEndian, as: UInt64.self)
        (target + 24).storeBytes(of: words.3.littleEndian, as: UInt64.self)
    }
}

extension SIMD8<Float> {
    /// Zero for what is not below 2^22 (so that the steps of floats are finer than halves), and for NaN.
    @inline(__always)
    fileprivate var zeroWhereHuge: Self { Self.zero.replacing(with: self, where: self .< Self(repeating: 4_194_304)) }

    /// The integer part of values in 0 ..< 2^22.
    @inline(__always)
    fileprivate var wholePart: SIMD8<UInt32> {
        let base = Self(repeating: 8_388_608)
        let shifted = self + base
        // Rounded to nearest; one less where that went up.
        let one = SIMD8<UInt32>.zero.replacing(with: SIMD8<UInt32>(repeating: 1), where: shifted - base .> self)
        return shifted.bits &- SIMD8<UInt32>(repeating: 0x4B00_0000) &- one
    }
}

/// IEEE 754 half precision to and from single, by integer arithmetic.
///
/// `Float16` is not used: without F16C in the base instruction set each conversion would be a library call, and loops
/// over it would not vectorise.
public enum Half {
    /// The exact value of a half given by its bits. Signs, subnormals, infinities and NaN payloads are kept.
    @inlinable @inline(__always)
    public static func float(_ bits: UInt16) -> Float {
        let magnitude = UInt32(bits & 0x7FFF) &<< 13
        // With the half's exponent in the single's field the value is too small by 2^(127 - 15); subnormal halves are
        // subnormal singles here, and the product makes them normal. Exact in every case.
        let scaled = (Float(bitPattern: magnitude) * 0x1p112).bitPattern
        let special: UInt32 = magnitude >= 0x0F80_0000 ? 0x7F80_0000 : 0
        return Float(bitPattern: scaled | special | UInt32(bits & 0x8000) &<< 16)
    }

    /// The nearest half, ties to even. Values from 65520 on become infinity; NaN stays NaN (quiet).
    @inlinable @inline(__always)
    public static func bits(_ value: Float) -> UInt16 {
        // All cases are computed and one is chosen, so that loops vectorise.
        let sign = (value.bitPattern & 0x8000_0000) &>> 16
        let magnitude = value.bitPattern & 0x7FFF_FFFF
        let nan = 0x7E00 | (magnitude &>> 13) & 0x3FF
        // Below 2^-14: adding 0.5, whose last bit is worth 2^-24 as a subnormal half's, lets the adder round.
        let subnormal = (Float(bitPattern: magnitude) + 0.5).bitPattern &- 0x3F00_0000
        let odd = (magnitude &>> 13) & 1
        let normal = (magnitude &- (112 &<< 23) &+ 0xFFF &+ odd) &>> 13
        let finite = magnitude < 0x3880_0000 ? subnormal : normal
        let bounded = magnitude >= 0x4780_0000 ? 0x7C00 : finite  // from 65536 on
        return UInt16(truncatingIfNeeded: sign | (magnitude > 0x7F80_0000 ? nan : bounded))
    }
}

/// The upper half of a single: 8 bits of exponent, 7 of fraction.
public enum BrainFloat {
    @inlinable @inline(__always)
    public static func float(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) &<< 16) }

    /// The nearest, ties to even. NaN stays NaN (quiet).
    @inlinable @inline(__always)
    public static func bits(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        if bits & 0x7FFF_FFFF > 0x7F80_0000 { return UInt16(truncatingIfNeeded: bits &>> 16) | 64 }
        return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ ((bits &>> 16) & 1)) &>> 16)
    }
}

// MARK: - Loads and stores of any alignment

extension UnsafeRawPointer {
    @inline(__always)
    func half(at offset: Int) -> Float {
        Half.float(UInt16(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
    }

    @inline(__always)
    func short(at offset: Int) -> UInt16 {
        UInt16(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    @inline(__always)
    func word(at offset: Int) -> UInt32 {
        UInt32(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    @inline(__always)
    func byte(at offset: Int) -> UInt8 { load(fromByteOffset: offset, as: UInt8.self) }
}

extension UnsafeMutableRawPointer {
    @inline(__always)
    func storeHalf(_ value: Float, at offset: Int) {
        storeBytes(of: Half.bits(value).littleEndian, toByteOffset: offset, as: UInt16.self)
    }

    @inline(__always)
    func storeShort(_ value: UInt16, at offset: Int) {
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt16.self)
    }

    @inline(__always)
    func storeWord(_ value: UInt32, at offset: Int) {
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt32.self)
    }

    @inline(__always)
    func storeByte(_ value: UInt8, at offset: Int) { storeBytes(of: value, toByteOffset: offset, as: UInt8.self) }
}

/// `value` without its fraction, for magnitudes below 4194304; 0 for others and for not a number, as the low bytes of
/// what C's cast gives on x86 for all that occurs here: a quotient of denormal numbers.
///
/// Without branches and conversions that check, so that loops over it vectorise.
@inline(__always)
func truncated(_ value: Float) -> Int32 {
    let magnitude = value.magnitude < 4_194_304 ? value.magnitude : 0
    let shifted = magnitude + 12_582_912
    // Rounded to nearest; one less where that went up.
    let above: Int32 = shifted - 12_582_912 > magnitude ? 1 : 0
    let integer = Int32(bitPattern: shifted.bitPattern) &- 0x4B40_0000 &- above
    let sign = Int32(bitPattern: value.bitPattern) &>> 31
    return (integer ^ sign) &- sign
}

/// `value` rounded to the nearest integer, ties to even, for magnitudes up to 4194303, as ggml does it: adding 1.5 ·
/// 2^23 leaves the integer in the low bits. What does not fit gives some integer, never a trap.
@inline(__always)
func nearestInteger(_ value: Float) -> Int32 {
    let bits = Int32(bitPattern: (value + 12_582_912).bitPattern)
    return (bits & 0x007F_FFFF) &- 0x0040_0000
}

/// `value` rounded to the nearest integer, ties away from zero; 0 when that does not fit or there is none, as in the
/// low bytes of what C's `lroundf` gives on x86.
@inline(__always)
func roundedAwayFromZero(_ value: Float) -> Int32 {
    // Adding the float just below a half, with the value's sign, and cutting off is exact for all magnitudes in use.
    let half = Float(bitPattern: 0x3EFF_FFFF | value.bitPattern & 0x8000_0000)
    return truncated(value + half)
}

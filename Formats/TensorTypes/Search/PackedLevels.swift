/// A block of 32 values in four vectors.
///
/// Blocks whose levels follow from one quotient (Q4_0 to Q8_0) spend their time here, so that everything is done on
/// eight values at once, by operations that are one or two instructions of baseline x86-64 or NEON: there is no
/// conversion of floats to integers that Swift would not check value by value.
struct BlockOf32 {
    let a, b, c, d: Lanes

    /// - Parameter values: of any alignment.
    @inline(always)
    init(_ values: UnsafePointer<Float>) {
        let source = UnsafeRawPointer(values)
        self.init(
            source.loadUnaligned(as: Lanes.self), (source + 32).loadUnaligned(as: Lanes.self),
            (source + 64).loadUnaligned(as: Lanes.self), (source + 96).loadUnaligned(as: Lanes.self))
    }

    @inline(always)
    private init(_ a: Lanes, _ b: Lanes, _ c: Lanes, _ d: Lanes) { (self.a, self.b, self.c, self.d) = (a, b, c, d) }

    @inline(always)
    static func - (block: Self, x: Float) -> Self { Self(block.a - x, block.b - x, block.c - x, block.d - x) }

    @inline(always)
    static func * (block: Self, x: Float) -> Self { Self(block.a * x, block.b * x, block.c * x, block.d * x) }

    @inline(always)
    static func + (block: Self, x: Float) -> Self { Self(block.a + x, block.b + x, block.c + x, block.d + x) }

    /// The least and the greatest of each lane.
    @inline(always)
    var laneBounds: (least: Lanes, greatest: Lanes) {
        (a.lesser(b).lesser(c.lesser(d)), a.greater(b).greater(c.greater(d)))
    }

    /// The integer parts of quotients from 0 on, at most `limit`, which is below 256.
    ///
    /// Quotients of denormal numbers may be infinite or NaN: these get 0, as the low byte of C's cast is on x86.
    @inline(always)
    func levels(limit: Float) -> PackedLevels {
        let below = Lanes(repeating: (limit + 1).nextDown)
        return PackedLevels(
            a.zeroWhereHuge.lesser(below).wholePart, b.zeroWhereHuge.lesser(below).wholePart,
            c.zeroWhereHuge.lesser(below).wholePart, d.zeroWhereHuge.lesser(below).wholePart)
    }

    /// Quotients of either sign rounded to the nearest integer, ties away from zero, as signed bytes.
    @inline(always)
    var roundedLevels: PackedLevels {
        PackedLevels(a.roundedAwayFromZero, b.roundedAwayFromZero, c.roundedAwayFromZero, d.roundedAwayFromZero)
    }
}

/// The levels of 32 values, one byte each.
struct PackedLevels {
    /// Values 0 to 7, 8 to 15, 16 to 23, 24 to 31; the first in the lowest byte.
    private let words: (UInt64, UInt64, UInt64, UInt64)

    @inline(always)
    fileprivate init(_ a: SIMD8<UInt32>, _ b: SIMD8<UInt32>, _ c: SIMD8<UInt32>, _ d: SIMD8<UInt32>) {
        words = (Self.bytes(a), Self.bytes(b), Self.bytes(c), Self.bytes(d))
    }

    @inline(always)
    private static func bytes(_ lanes: SIMD8<UInt32>) -> UInt64 {
        UInt64(littleEndian: unsafeBitCast(SIMD8<UInt8>(truncatingIfNeeded: lanes), to: UInt64.self))
    }

    /// Low nibble: value j, high nibble: value j + 16.
    @inline(always)
    func storeNibbles(_ target: UnsafeMutableRawPointer) {
        let low: UInt64 = 0x0F0F_0F0F_0F0F_0F0F
        target.storeBytes(of: (words.0 & low | (words.2 & low) &<< 4).littleEndian, as: UInt64.self)
        (target + 8).storeBytes(of: (words.1 & low | (words.3 & low) &<< 4).littleEndian, as: UInt64.self)
    }

    /// The fifth bits: bit j is value j's.
    @inline(always)
    var fifthBits: UInt32 {
        Self.fifthBits(words.0) | Self.fifthBits(words.1) &<< 8 | Self.fifthBits(words.2) &<< 16
            | Self.fifthBits(words.3) &<< 24
    }

    @inline(always)
    private static func fifthBits(_ word: UInt64) -> UInt32 {
        // The product brings the lowest bit of byte i to bit 56 + i.
        UInt32(truncatingIfNeeded: ((word &>> 4 & 0x0101_0101_0101_0101) &* 0x0102_0408_1020_4080) &>> 56)
    }

    /// All levels as they are.
    @inline(always)
    func storeBytes(_ target: UnsafeMutableRawPointer) {
        target.storeBytes(of: words.0.littleEndian, as: UInt64.self)
        (target + 8).storeBytes(of: words.1.littleEndian, as: UInt64.self)
        (target + 16).storeBytes(of: words.2.littleEndian, as: UInt64.self)
        (target + 24).storeBytes(of: words.3.littleEndian, as: UInt64.self)
    }
}

extension SIMD8<Float> {
    /// As ``least(_:)``, written so that it is one instruction wherever it stands; costs more to compile.
    @inline(always)
    func lesser(_ other: Self) -> Self {
        @inline(always) func lane(_ i: Int) -> Float { self[i] < other[i] ? self[i] : other[i] }
        return Self(lane(0), lane(1), lane(2), lane(3), lane(4), lane(5), lane(6), lane(7))
    }

    @inline(always)
    func greater(_ other: Self) -> Self {
        @inline(always) func lane(_ i: Int) -> Float { self[i] > other[i] ? self[i] : other[i] }
        return Self(lane(0), lane(1), lane(2), lane(3), lane(4), lane(5), lane(6), lane(7))
    }

    /// Zero for magnitudes from 2^22 on (below, the steps of floats are finer than halves), and for NaN.
    @inline(always)
    fileprivate var zeroWhereHuge: Self {
        Self.zero.replacing(with: self, where: absolute .< Self(repeating: 4_194_304))
    }

    /// The integer part of values in 0 ..< 2^22.
    @inline(always)
    fileprivate var wholePart: SIMD8<UInt32> {
        let base = Self(repeating: 8_388_608)
        let shifted = self + base
        // Rounded to nearest; one less where that went up.
        let one = SIMD8<UInt32>.zero.replacing(with: SIMD8<UInt32>(repeating: 1), where: shifted - base .> self)
        return shifted.bits &- SIMD8<UInt32>(repeating: 0x4B00_0000) &- one
    }

    @inline(always)
    fileprivate var roundedAwayFromZero: SIMD8<UInt32> {
        // The float just below a half makes cutting off exact for all magnitudes in use.
        let magnitude = (absolute + Self(repeating: 0x1.fffffep-2)).zeroWhereHuge.wholePart
        let sign = unsafeBitCast(self, to: SIMD8<Int32>.self) &>> 31
        return unsafeBitCast((unsafeBitCast(magnitude, to: SIMD8<Int32>.self) ^ sign) &- sign, to: SIMD8<UInt32>.self)
    }
}

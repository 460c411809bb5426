import Foundation

/// MXFP4: 32 values of 4 bits (one of sign, two of exponent, one of fraction: E2M1) with a power of two as scale;
/// `value = 2^(e - 127) * E2M1(q)`. OCP Microscaling Formats 1.0, but with the values of a half apart, not next to each
/// other.
///
///     byte  0      e    exponent, 127 stands for 1; 255 is a power of two here, not NaN
///           1..16  qs   low nibble: value j, high nibble: value j + 16
enum MXFP4Format: EncodableBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        E2M1.doubled.withUnsafeBufferPointer { codebook in
            let codebook = codebook.baseAddress!
            for block in 0..<blockCount {
                let bytes = source + 17 &* block
                Codebook.decode(
                    bytes + 1, scale: halfScale(bytes.byte(at: 0)), codebook: codebook, into: destination + 32 &* block)
            }
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        for block in 0..<blockCount {
            let values = source + 32 &* block
            let bytes = destination + 17 &* block
            let greatest = extreme(of: values, count: 32).magnitude
            // The logarithm as a float may round up to the next integer; so it does in ggml. Denormal values wrap around.
            let exponent = greatest > 0 ? UInt8(truncatingIfNeeded: Int32(log2(greatest).rounded(.down)) &+ 125) : 0
            bytes.storeByte(exponent, at: 0)
            E2M1.pack(values, count: 32, scale: halfScale(exponent), into: bytes + 1)
        }
    }

    /// Half of the scale, for ``E2M1/doubled``.
    @inline(__always)
    private static func halfScale(_ exponent: UInt8) -> Float {
        Float(bitPattern: exponent < 2 ? 0x0020_0000 &<< UInt32(exponent) : (UInt32(exponent) &- 1) &<< 23)
    }
}

/// The 4-bit float of MXFP4 and NVFP4: a sign, two bits of exponent, one of fraction.
enum E2M1 {
    /// Twice the values, which makes them integers.
    static let doubled: [Float] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]

    /// Writes the nearest of `scale * doubled` for each value, two to a byte: those of the first half in low nibbles. Of
    /// equally near ones the lowest index wins, as it does where differences are lost to rounding.
    @inline(__always)
    static func pack(
        _ values: UnsafePointer<Float>, count: Int, scale: Float, into bytes: UnsafeMutableRawPointer
    ) {
        for j in 0..<(count / 2) {
            let low = nearest(values[j], scale: scale)
            let high = nearest(values[j &+ count / 2], scale: scale)
            bytes.storeByte(UInt8(truncatingIfNeeded: low | high &<< 4), at: j)
        }
    }

    /// Negative values never lie nearer to a positive entry, nor positive ones to a negative: eight magnitudes decide.
    @inline(__always)
    private static func nearest(_ value: Float, scale: Float) -> UInt32 {
        let magnitude = value.magnitude
        var best = magnitude
        var index: UInt32 = 0
        func consider(_ candidate: UInt32, _ entry: Float) {
            let error = (entry * scale - magnitude).magnitude
            let isNearer = error < best
            best = isNearer ? error : best
            index = isNearer ? candidate : index
        }
        consider(1, 1)
        consider(2, 2)
        consider(3, 3)
        consider(4, 4)
        consider(5, 6)
        consider(6, 8)
        consider(7, 12)
        let sign = value.bitPattern &>> 28 & 8
        return index == 0 ? 0 : index | sign
    }
}

import TensorTypes

/// How the values of each safetensors type become floats.
///
/// Small floats have sign, exponent and mantissa bits from high to low, and subnormals:
///
///     type           bits   bias  infinity        NaN               largest
///     F8_E4M3        1 4 3   7    –               0x7F, 0xFF        448
///     F8_E5M2        1 5 2   15   0x7C, 0xFC      0x7D–7F, 0xFD–FF  57344    (the top byte of an F16)
///     F8_E8M0        0 8 0   127  –               0xFF              2^127    (a scale: 2^(b − 127))
///     F8_E4M3FNUZ    1 4 3   8    –               0x80, no −0       240
///     F8_E5M2FNUZ    1 5 2   16   –               0x80, no −0       57344
///     F6_E2M3        1 2 3   1    –               –                 7.5
///     F6_E3M2        1 3 2   3    –               –                 28
///     F4 (E2M1)      1 2 1   1    –               –                 6
///
/// The format does not say how values narrower than a byte are packed. Taken here is a stream of bits from the lowest
/// on, as PyTorch packs F4: the first of two values in the low half of a byte, four 6-bit values in three bytes.
///
/// Sources: OCP Microscaling Formats 1.0; OCP FP8 1.0; "8-bit Numerical Formats for Deep Neural Networks" (FNUZ).
extension SafetensorsType {
    /// Whether values can be read as real numbers: all types but C64.
    public var isDecodable: Bool { name != "C64" }

    /// Turns bytes of this type into floats.
    ///
    /// Values that F32 holds are exact; F64 and wide integers are rounded to nearest.
    /// - Precondition: ``isDecodable``; the source is whole values, and the destination has room for them.
    public func decode(_ source: UnsafeRawBufferPointer, into destination: UnsafeMutableBufferPointer<Float>) {
        let count = source.count * 8 / bits
        precondition(count <= destination.count, "the destination is too small")
        if let type = tensorType { return type.decode(source, into: destination) }
        if let table = Self.tables[name] {
            switch bits {
            case 8: for position in 0..<count { destination[position] = table[Int(source[position])] }
            case 4:
                for position in 0..<count {
                    destination[position] = table[Int(source[position / 2] >> (position % 2 * 4)) & 15]
                }
            default:
                for position in 0..<count {
                    let bit = position * 6
                    var word = UInt16(source[bit / 8])
                    if bit % 8 > 2 { word |= UInt16(source[bit / 8 + 1]) << 8 }
                    destination[position] = table[Int(word >> (bit % 8)) & 63]
                }
            }
            return
        }
        switch name {
        case "BOOL": for position in 0..<count { destination[position] = source[position] == 0 ? 0 : 1 }
        case "U8": for position in 0..<count { destination[position] = Float(source[position]) }
        case "U16": Self.decodeIntegers(UInt16.self, source, count, destination)
        case "U32": Self.decodeIntegers(UInt32.self, source, count, destination)
        case "U64": Self.decodeIntegers(UInt64.self, source, count, destination)
        default: preconditionFailure("\(name) is not decodable")
        }
    }

    private static func decodeIntegers<T: FixedWidthInteger>(
        _ type: T.Type, _ source: UnsafeRawBufferPointer, _ count: Int, _ destination: UnsafeMutableBufferPointer<Float>
    ) {
        for position in 0..<count {
            let raw = source.loadUnaligned(fromByteOffset: position * MemoryLayout<T>.size, as: T.self)
            destination[position] = Float(T(littleEndian: raw))
        }
    }

    // MARK: - Tables of small floats

    private static let tables: [String: [Float]] = [
        "F8_E4M3": table(exponentBits: 4, mantissaBits: 3, bias: 7) { $0 & 0x7F == 0x7F ? .nan : nil },
        "F8_E5M2": table(exponentBits: 5, mantissaBits: 2, bias: 15) { byte in
            guard byte & 0x7C == 0x7C else { return nil }
            return byte & 3 == 0 ? (byte & 0x80 == 0 ? .infinity : -.infinity) : .nan
        },
        "F8_E8M0": (0..<256).map { $0 == 255 ? .nan : Float(sign: .plus, exponent: $0 - 127, significand: 1) },
        "F8_E4M3FNUZ": table(exponentBits: 4, mantissaBits: 3, bias: 8) { $0 == 0x80 ? .nan : nil },
        "F8_E5M2FNUZ": table(exponentBits: 5, mantissaBits: 2, bias: 16) { $0 == 0x80 ? .nan : nil },
        "F6_E2M3": table(exponentBits: 2, mantissaBits: 3, bias: 1) { _ in nil },
        "F6_E3M2": table(exponentBits: 3, mantissaBits: 2, bias: 3) { _ in nil },
        "F4": table(exponentBits: 2, mantissaBits: 1, bias: 1) { _ in nil },
    ]

    /// The value of every bit pattern; `special` gives those that the rule does not.
    private static func table(
        exponentBits: Int, mantissaBits: Int, bias: Int, special: (Int) -> Float?
    ) -> [Float] {
        let signBit = 1 << (exponentBits + mantissaBits)
        return (0..<(2 * signBit)).map { pattern in
            if let value = special(pattern) { return value }
            let exponent = (pattern & (signBit - 1)) >> mantissaBits
            let mantissa = pattern & ((1 << mantissaBits) - 1)
            let significand = exponent == 0 ? mantissa : mantissa | 1 << mantissaBits
            let magnitude = Float(
                sign: .plus, exponent: max(exponent, 1) - bias - mantissaBits, significand: Float(significand))
            return pattern & signBit == 0 ? magnitude : -magnitude
        }
    }
}

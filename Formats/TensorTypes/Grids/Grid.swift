/// The points that groups of neighbouring values may take in the types IQ1, IQ2 and IQ3, and what they stand for.
///
/// Made at first use, once for each grid, and kept.
struct Grid<Point: SIMD>: Sendable where Point.Scalar == Float, Point: Sendable {
    /// Bits of a level in ``codes``.
    let bits: Int
    /// The levels of each point, packed from the lowest bits up.
    let codes: [UInt16]
    /// The values of each point, before scales and signs.
    let points: [Point]

    /// - Parameters:
    ///   - table: hexadecimal digits, as many for each point as hold its levels.
    ///   - values: what each level stands for.
    init(_ table: StaticString, values: [Float]) {
        let bits = values.count > 4 ? 3 : 2
        let digits = Point.scalarCount * bits / 4
        let codes = table.withUTF8Buffer { text in
            stride(from: 0, to: text.count, by: digits).map { start in
                text[start..<start + digits].reduce(UInt16(0)) { code, digit in
                    code << 4 | UInt16(digit < 0x41 ? digit - 0x30 : digit - 0x61 + 10)
                }
            }
        }
        self.bits = bits
        self.codes = codes
        points = codes.map { code in
            var point = Point()
            for i in point.indices { point[i] = values[Int(code >> (bits * i)) & (1 << bits - 1)] }
            return point
        }
    }
}

/// The grids themselves.
enum Grids {
    private static let twoBits: [Float] = [8, 25, 43]
    static let iq2xxs = Grid<SIMD8<Float>>(GridTables.iq2xxs, values: twoBits)
    static let iq2xs = Grid<SIMD8<Float>>(GridTables.iq2xs, values: twoBits)
    static let iq2s = Grid<SIMD8<Float>>(GridTables.iq2s, values: twoBits)
    static let iq3xxs = Grid<SIMD4<Float>>(GridTables.iq3xxs, values: [4, 12, 20, 28, 36, 44, 52, 62])
    static let iq3s = Grid<SIMD4<Float>>(GridTables.iq3s, values: [1, 3, 5, 7, 9, 11, 13, 15])
    static let iq1 = Grid<SIMD8<Float>>(GridTables.iq1, values: [-1, 0, 1])
}

/// Signs of eight values in a byte, bit `j` set where value `j` is negative.
enum Signs {
    /// For each byte the sign bits of eight floats.
    static let masks: [SIMD8<UInt32>] = (0..<256).map { byte in
        var mask = SIMD8<UInt32>.zero
        for j in 0..<8 where byte >> j & 1 == 1 { mask[j] = 0x8000_0000 }
        return mask
    }

    /// The byte that seven stored bits stand for: the eighth makes the number of negative values even.
    @inline(__always)
    static func even(_ stored: UInt32) -> Int {
        let low = Int(stored & 127)
        return low | (low.nonzeroBitCount & 1) &<< 7
    }

    /// Writes eight values with signs.
    @inline(__always)
    static func store(_ values: SIMD8<Float>, mask: SIMD8<UInt32>, at target: UnsafeMutablePointer<Float>) {
        UnsafeMutableRawPointer(target).storeBytes(of: SIMD8<Float>(bits: values.bits ^ mask), as: SIMD8<Float>.self)
    }
}

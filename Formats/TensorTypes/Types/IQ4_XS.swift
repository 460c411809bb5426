/// IQ4_XS: 256 values of 4 bits in 8 groups of 32, each with a 6-bit scale; the bits stand for the 16 numbers of the
/// ``Codebook``; `value = d * (scale - 32) * codebook[q]`.
///
///     byte  0..1    d         half
///           2..3    scales_h  bits 2g and 2g + 1: high bits of the scale of group g
///           4..7    scales_l  nibble g: low bits of the scale of group g
///           8..135  qs        16 bytes a group; low nibble: value j, high nibble: value j + 16
enum IQ4_XSFormat: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Codebook.values.withUnsafeBufferPointer { codebook in
            let codebook = codebook.baseAddress!
            for block in 0..<blockCount {
                let bytes = source + block &* 136
                let d = bytes.half(at: 0)
                let high = Int32(bytes.short(at: 2))
                for group in 0..<8 {
                    let low = Int32(bytes.byte(at: 4 &+ group / 2)) &>> Int32(truncatingIfNeeded: 4 &* (group & 1))
                    let stored = low & 15 | (high &>> Int32(truncatingIfNeeded: 2 &* group) & 3) &<< 4
                    Codebook.decode(
                        bytes + (8 &+ 16 &* group), scale: d * Float(stored &- 32), codebook: codebook,
                        into: destination + (256 &* block &+ 32 &* group))
                }
            }
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        encode(source, blockCount: blockCount, importance: nil, into: destination)
    }

    static func encode(
        row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        into destination: UnsafeMutableRawPointer
    ) {
        encode(row, blockCount: blockCount, importance: importance, into: destination)
    }

    private static func encode(
        _ source: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>?,
        into destination: UnsafeMutableRawPointer
    ) {
        Codebook.withTables { byPosition, indexByPosition in
            LaneSpace.with(count: 32) { space in
                for block in 0..<blockCount {
                    let values = source + 256 &* block
                    LaneSpace.transpose(values, length: 32, into: space.values)
                    if let importance {
                        LaneSpace.transpose(importance + 256 &* block, length: 32, into: space.weights)
                        space.weigh(count: 32, sigma2: Lanes(repeating: sumOfSquares(values, count: 256) * (2 / 256)))
                    } else {
                        for i in 0..<32 { space.weights[i] = space.values[i] * space.values[i] }
                    }
                    let scales = CodebookSearch.fit(space, byPosition: byPosition)
                    write(values, scales, indexByPosition, into: destination + 136 &* block)
                }
            }
        }
    }

    private static func write(
        _ values: UnsafePointer<Float>, _ scales: Lanes, _ indexByPosition: UnsafePointer<UInt8>,
        into bytes: UnsafeMutableRawPointer
    ) {
        var largest: Float = 0
        for group in 0..<8 where scales[group].magnitude > largest.magnitude { largest = scales[group] }
        let d = -largest / 32
        let inverse = d != 0 ? 1 / d : 0
        bytes.storeHalf(d, at: 0)
        var high: UInt16 = 0
        var low: UInt32 = 0
        for group in 0..<8 {
            let level = max(-32, min(31, nearestInteger(inverse * scales[group])))
            // The levels come from d as it is, not as a half.
            let step = d * Float(level)
            CodebookSearch.pack(
                values + 32 &* group, inverse: step != 0 ? 1 / step : 0, indexByPosition: indexByPosition,
                into: bytes + (8 &+ 16 &* group))
            let stored = UInt32(truncatingIfNeeded: level &+ 32)
            low |= (stored & 15) &<< UInt32(truncatingIfNeeded: 4 &* group)
            high |= UInt16(truncatingIfNeeded: stored &>> 4) &<< UInt16(truncatingIfNeeded: 2 &* group)
        }
        bytes.storeBytes(of: high.littleEndian, toByteOffset: 2, as: UInt16.self)
        bytes.storeBytes(of: low.littleEndian, toByteOffset: 4, as: UInt32.self)
    }
}

/// Q5_0: 32 values of 5 bits with one scale; `value = d * (q - 16)`.
///
///     byte  0..1   d    half
///           2..5   qh   32 bits, bit j: fifth bit of value j
///           6..21  qs   low nibble: value j, high nibble: value j + 16
enum Q5_0Format: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 22
            let values = destination + block &* 32
            let d = bytes.half(at: 0)
            let high = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt32.self))
            for j in 0..<16 {
                let q = UInt32(bytes.byte(at: 6 &+ j))
                let fifth = (high &>> UInt32(j)) &<< 4 & 16
                let fifthUpper = (high &>> UInt32(j &+ 16)) &<< 4 & 16
                values[j] = Float(Int32(bitPattern: q & 15 | fifth) &- 16) * d
                values[j &+ 16] = Float(Int32(bitPattern: q &>> 4 | fifthUpper) &- 16) * d
            }
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        for block in 0..<blockCount {
            let values = source + block &* 32
            let bytes = destination + block &* 22
            let d = extreme(of: values, count: 32) / -16
            let inverse = d != 0 ? 1 / d : 0
            bytes.storeHalf(d, at: 0)
            let levels = (BlockOf32(values) * inverse + 16.5).levels(limit: 31)
            bytes.storeWord(levels.fifthBits, at: 2)
            levels.storeNibbles(bytes + 6)
        }
    }

    static func encode(
        row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        into destination: UnsafeMutableRawPointer
    ) {
        let search = SymmetricSearch(maximum: 16)
        WeightedBlocks.forEachEight(row, blockCount: blockCount, importance: importance) { space, first, count in
            let fit = search.fit(space, count: 32)
            for lane in 0..<count {
                let values = row + 32 &* (first &+ lane)
                let bytes = destination + 22 &* (first &+ lane)
                bytes.storeHalf(fit.scale[lane], at: 0)
                var high: UInt32 = 0
                for j in 0..<16 {
                    let first = search.level(values[j], fit, lane: lane)
                    let second = search.level(values[j &+ 16], fit, lane: lane)
                    bytes.storeByte(first & 15 | second &<< 4, at: 6 &+ j)
                    high |= UInt32(first &>> 4 & 1) &<< UInt32(truncatingIfNeeded: j)
                    high |= UInt32(second &>> 4 & 1) &<< UInt32(truncatingIfNeeded: j &+ 16)
                }
                bytes.storeBytes(of: high.littleEndian, toByteOffset: 2, as: UInt32.self)
            }
        }
    }
}

/// Q4_0: 32 values of 4 bits with one scale; `value = d * (q - 8)`.
///
///     byte  0..1   d    half
///           2..17  qs   low nibble: value j, high nibble: value j + 16
enum Q4_0Format: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 18
            let values = destination + block &* 32
            let d = bytes.half(at: 0)
            for j in 0..<16 {
                let q = bytes.byte(at: 2 &+ j)
                values[j] = Float(Int32(q & 15) &- 8) * d
                values[j &+ 16] = Float(Int32(q &>> 4) &- 8) * d
            }
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        for block in 0..<blockCount {
            let values = source + block &* 32
            let bytes = destination + block &* 18
            // The value of largest magnitude, with its sign, lands exactly on -8.
            let d = extreme(of: values, count: 32) / -8
            let inverse = d != 0 ? 1 / d : 0
            bytes.storeHalf(d, at: 0)
            (BlockOf32(values) * inverse + 8.5).levels(limit: 15).storeNibbles(bytes + 2)
        }
    }

    static func encode(
        row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        into destination: UnsafeMutableRawPointer
    ) {
        let search = SymmetricSearch(maximum: 8)
        WeightedBlocks.forEachEight(row, blockCount: blockCount, importance: importance) { space, first, count in
            let fit = search.fit(space, count: 32)
            for lane in 0..<count {
                let values = row + 32 &* (first &+ lane)
                let bytes = destination + 18 &* (first &+ lane)
                bytes.storeHalf(fit.scale[lane], at: 0)
                for j in 0..<16 {
                    let low = search.level(values[j], fit, lane: lane)
                    let high = search.level(values[j &+ 16], fit, lane: lane)
                    bytes.storeByte(low | high &<< 4, at: 2 &+ j)
                }
            }
        }
    }
}

/// Q4_1: 32 values of 4 bits with a scale and a minimum; `value = d * q + m`.
///
///     byte  0..1   d    half
///           2..3   m    half
///           4..19  qs   low nibble: value j, high nibble: value j + 16
enum Q4_1Format: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 20
            let values = destination + block &* 32
            let d = bytes.half(at: 0)
            let m = bytes.half(at: 2)
            for j in 0..<16 {
                let q = bytes.byte(at: 4 &+ j)
                values[j] = Float(Int32(q & 15)) * d + m
                values[j &+ 16] = Float(Int32(q &>> 4)) * d + m
            }
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        for block in 0..<blockCount {
            let values = source + block &* 32
            let bytes = destination + block &* 20
            let (least, greatest) = bounds(of: values, count: 32)
            let d = (greatest - least) / 15
            let inverse = d != 0 ? 1 / d : 0
            bytes.storeHalf(d, at: 0)
            bytes.storeHalf(least, at: 2)
            ((BlockOf32(values) - least) * inverse + 0.5).levels(limit: 15).storeNibbles(bytes + 4)
        }
    }

    static func encode(
        row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        into destination: UnsafeMutableRawPointer
    ) {
        let search = AffineSearch(
            maximum: 15, firstTrial: -0.9, trialStep: 0.05, trials: 36, absoluteError: false)
        WeightedBlocks.forEachEight(row, blockCount: blockCount, importance: importance) { space, first, count in
            let fit = search.fit(space, count: 32)
            for lane in 0..<count {
                let values = row + 32 &* (first &+ lane)
                let bytes = destination + 20 &* (first &+ lane)
                bytes.storeHalf(fit.scale[lane], at: 0)
                bytes.storeHalf(-fit.minimum[lane], at: 2)
                for j in 0..<16 {
                    let low = search.level(values[j], fit, lane: lane)
                    let high = search.level(values[j &+ 16], fit, lane: lane)
                    bytes.storeByte(low | high &<< 4, at: 4 &+ j)
                }
            }
        }
    }
}

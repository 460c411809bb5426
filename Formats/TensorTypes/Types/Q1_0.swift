/// Q1_0: 128 signs with one scale; `value = q ? d : -d`.
///
///     byte  0..1   d    half: the mean magnitude
///           2..17  qs   bit j: set when value j is not negative
enum Q1_0Format: EncodableBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 18
            let values = destination + block &* 128
            let d = bytes.half(at: 0).bitPattern
            for j in 0..<128 {
                let bit = UInt32(bytes.byte(at: 2 &+ j / 8)) &>> UInt32(truncatingIfNeeded: j & 7) & 1
                values[j] = Float(bitPattern: d ^ (bit ^ 1) &<< 31)
            }
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        for block in 0..<blockCount {
            let values = source + block &* 128
            let bytes = destination + block &* 18
            var sum: Float = 0
            for j in 0..<128 { sum += values[j].magnitude }
            bytes.storeHalf(sum / 128, at: 0)
            for run in 0..<16 {
                var bits: UInt8 = 0
                for j in 0..<8 where values[8 &* run &+ j] >= 0 { bits |= 1 &<< UInt8(truncatingIfNeeded: j) }
                bytes.storeByte(bits, at: 2 &+ run)
            }
        }
    }
}

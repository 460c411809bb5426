/// TQ2_0: 256 values of -1, 0 or 1 in 2 bits each, with one scale; `value = d * (q - 1)`.
///
///     byte  0..63   qs   two runs of 32 bytes, see ``TwoBitLevels``
///           64..65  d    half: the greatest magnitude
enum TQ2_0Format: EncodableBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 66
            let d = bytes.half(at: 64)
            for group in 0..<16 {
                let (run, shift) = TwoBitLevels.place(group: group)
                let qs = bytes + run
                let values = destination + (256 &* block &+ 16 &* group)
                for l in 0..<16 { values[l] = Float(Int32(qs.byte(at: l) &>> shift & 3) &- 1) * d }
            }
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { levels in
            let levels = levels.baseAddress!
            for block in 0..<blockCount {
                let bytes = destination + block &* 66
                Trits.round(source + block &* 256, levels: levels, d: bytes + 64)
                TwoBitLevels.pack(levels, into: bytes)
            }
        }
    }
}

/// Values rounded to -1, 0 or 1 times their greatest magnitude.
enum Trits {
    /// Writes 256 levels (1 stands for 0) and, at `d`, the greatest magnitude as a half.
    static func round(_ values: UnsafePointer<Float>, levels: UnsafeMutablePointer<UInt8>, d: UnsafeMutableRawPointer) {
        let greatest = extreme(of: values, count: 256).magnitude
        let inverse = greatest != 0 ? 1 / greatest : 0
        d.storeHalf(greatest, at: 0)
        for l in 0..<256 {
            levels[l] = UInt8(truncatingIfNeeded: roundedAwayFromZero(values[l] * inverse) &+ 1) & 3
        }
    }
}

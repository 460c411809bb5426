/// Q8_0: 32 values of 8 bits with one scale; `value = d * q`.
///
///     byte  0..1   d    half
///           2..33  qs   signed bytes
enum Q8_0Format: EncodableBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 34
            let values = destination + block &* 32
            let d = bytes.half(at: 0)
            for j in 0..<32 {
                values[j] = Float(Int32(Int8(bitPattern: bytes.byte(at: 2 &+ j)))) * d
            }
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        for block in 0..<blockCount {
            let values = source + block &* 32
            let bytes = destination + block &* 34
            let d = extreme(of: values, count: 32).magnitude / 127
            let inverse = d != 0 ? 1 / d : 0
            bytes.storeHalf(d, at: 0)
            // Ties go away from zero here, unlike everywhere else in ggml.
            (BlockOf32(values) * inverse).roundedLevels.storeBytes(bytes + 2)
        }
    }
}

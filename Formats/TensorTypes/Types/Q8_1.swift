/// Q8_1: 32 values of 8 bits with one scale; `value = d * q`. ggml rounds activations to it; it is not written to files,
/// so there is a decoder only.
///
///     byte  0..1   d    half
///           2..3   s    half: d times the sum of all q
///           4..35  qs   signed bytes
enum Q8_1Format: BlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 36
            let values = destination + block &* 32
            let d = bytes.half(at: 0)
            for j in 0..<32 { values[j] = Float(Int32(Int8(bitPattern: bytes.byte(at: 4 &+ j)))) * d }
        }
    }
}

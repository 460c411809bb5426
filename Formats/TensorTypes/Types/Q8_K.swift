/// Q8_K: 256 values of 8 bits with one scale; `value = d * q`. ggml rounds activations to it; it is not written to files,
/// so there is a decoder only.
///
///     byte  0..3      d      single
///           4..259    qs     signed bytes
///           260..291  bsums  16-bit sums of each 16 values
enum Q8_KFormat: BlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 292
            let values = destination + block &* 256
            let d = Float(bitPattern: bytes.word(at: 0))
            for j in 0..<256 { values[j] = d * Float(Int32(Int8(bitPattern: bytes.byte(at: 4 &+ j)))) }
        }
    }
}

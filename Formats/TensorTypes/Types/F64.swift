/// F64: IEEE double precision, little endian, 8 bytes a value. Decoding rounds to the nearest float.
enum F64Format: BlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for i in 0..<blockCount {
            let bits = UInt64(littleEndian: source.loadUnaligned(fromByteOffset: i &* 8, as: UInt64.self))
            destination[i] = Float(Double(bitPattern: bits))
        }
    }
}

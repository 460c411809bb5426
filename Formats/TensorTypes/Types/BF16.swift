/// BF16: the upper 16 bits of a single, little endian, 2 bytes a value.
enum BF16Format: EncodableBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for i in 0..<blockCount {
            let bits = UInt16(littleEndian: source.loadUnaligned(fromByteOffset: i &* 2, as: UInt16.self))
            destination[i] = BrainFloat.float(bits)
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        for i in 0..<blockCount {
            let bits = BrainFloat.bits(source[i])
            destination.storeBytes(of: bits.littleEndian, toByteOffset: i &* 2, as: UInt16.self)
        }
    }
}

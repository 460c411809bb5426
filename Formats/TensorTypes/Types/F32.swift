/// F32: IEEE single precision, little endian, 4 bytes a value.
enum F32Format: EncodableBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        UnsafeMutableRawPointer(destination).copyMemory(from: source, byteCount: blockCount * 4)
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        destination.copyMemory(from: source, byteCount: blockCount * 4)
    }
}

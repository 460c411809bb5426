/// F16: IEEE half precision, little endian, 2 bytes a value.
enum F16Format: EncodableBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for i in 0..<blockCount { destination[i] = source.half(at: i &* 2) }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        for i in 0..<blockCount { destination.storeHalf(source[i], at: i &* 2) }
    }
}

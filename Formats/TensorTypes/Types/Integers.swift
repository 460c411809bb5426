/// I8, I16, I32, I64: two's complement, little endian. Decoding rounds to the nearest float, which is exact up to 2^24.
protocol IntegerFormat: BlockFormat {
    associatedtype Value: FixedWidthInteger & SignedInteger
}

extension IntegerFormat {
    @inline(__always)
    static func decodeIntegers(
        _ source: UnsafeRawPointer, count: Int, into destination: UnsafeMutablePointer<Float>
    ) {
        for i in 0..<count {
            let raw = source.loadUnaligned(fromByteOffset: i &* MemoryLayout<Value>.size, as: Value.self)
            destination[i] = Float(Value(littleEndian: raw))
        }
    }
}

enum I8Format: IntegerFormat {
    typealias Value = Int8
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        decodeIntegers(source, count: blockCount, into: destination)
    }
}

enum I16Format: IntegerFormat {
    typealias Value = Int16
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        decodeIntegers(source, count: blockCount, into: destination)
    }
}

enum I32Format: IntegerFormat {
    typealias Value = Int32
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        decodeIntegers(source, count: blockCount, into: destination)
    }
}

enum I64Format: IntegerFormat {
    typealias Value = Int64
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        decodeIntegers(source, count: blockCount, into: destination)
    }
}

/// Stands in for swift-crypto while fuzzing: a quick hash with the shape of the real ones. Nothing that is fuzzed asks of it
/// more than that other bytes have another digest.
public struct SHA256: Sendable {
    private var mixer = Mixer()
    public init() {}
    public mutating func update(bufferPointer: UnsafeRawBufferPointer) { mixer.update(bufferPointer) }
    public func finalize() -> [UInt8] { mixer.digest(byteCount: 32) }
}

public struct SHA512: Sendable {
    private var mixer = Mixer()
    public init() {}
    public mutating func update(bufferPointer: UnsafeRawBufferPointer) { mixer.update(bufferPointer) }
    public func finalize() -> [UInt8] { mixer.digest(byteCount: 64) }
}

/// FNV-1a over 64 bits, stretched.
private struct Mixer: Sendable {
    private var state: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes { state = (state ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }

    func digest(byteCount: Int) -> [UInt8] {
        var value = state
        return (0..<byteCount).map { _ in
            value = value &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: value >> 56)
        }
    }
}

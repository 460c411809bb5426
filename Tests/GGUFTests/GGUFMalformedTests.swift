import Testing

@testable import GGUF

/// Damaged files are read or refused with a typed error; nothing else may happen.
struct GGUFMalformedTests {
    private func touch(_ bytes: [UInt8]) -> Bool {
        do {
            let file = try GGUFFile(bytes: bytes)
            for tensor in file.tensors { _ = file.bytes(of: tensor).last }
            for entry in file.metadata.entries {
                if case .array(let array) = entry.value {
                    _ = array.strings
                    _ = array.ints
                    _ = array.floats
                }
            }
            return true
        } catch {
            #expect(error is GGUFError, "\(error)")
            #expect(!"\(error)".isEmpty)
            return false
        }
    }

    @Test("a file cut anywhere within its data or header is refused")
    func truncations() throws {
        let bytes = try GGUFFileTests.sample()
        let file = try GGUFFile(bytes: bytes)
        let end = file.tensors[1].fileOffset + file.tensors[1].byteCount
        for length in 0..<bytes.count {
            #expect(touch(Array(bytes[..<length])) == (length >= end), "cut at \(length)")
        }
    }

    @Test(
        "every 8-byte field set to an extreme is read or refused",
        arguments: [
            UInt64.max, UInt64(Int64.max), 1 << 63, 1 << 32, 0, UInt64.max - 31, 1 << 62, (1 << 61) + 1,
            UInt64.max / 32, 0xFFFF_FFFF,
        ] as [UInt64])
    func extremes(value: UInt64) throws {
        let bytes = try GGUFFileTests.sample()
        for start in 4..<(try GGUFFile(bytes: bytes).dataOffset - 8) {
            var damaged = bytes
            withUnsafeBytes(of: value.littleEndian) { damaged.replaceSubrange(start..<start + 8, with: $0) }
            _ = touch(damaged)
        }
    }

    @Test("flipped bits are read or refused", arguments: 0..<4)
    func flips(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let bytes = try GGUFFileTests.sample()
        for _ in 0..<1500 {
            var damaged = bytes
            for _ in 0...Int.random(in: 0..<4, using: &generator) {
                damaged[Int.random(in: 0..<damaged.count, using: &generator)] ^=
                    1 << UInt8.random(in: 0..<8, using: &generator)
            }
            _ = touch(damaged)
        }
    }
}

/// SplitMix64: the same numbers on every machine.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

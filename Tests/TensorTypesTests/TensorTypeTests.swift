import Testing

@testable import TensorTypes

struct TensorTypeTests {
    @Test("every half survives the way to a float and back, and equals Float16's value")
    func halves() {
        for bits in UInt16.min...UInt16.max {
            let value = Half.float(bits)
            let reference = Float(Float16(bitPattern: bits))
            if reference.isNaN {
                #expect(value.isNaN)
                #expect(Half.float(Half.bits(value)).isNaN)
            } else {
                #expect(value.bitPattern == reference.bitPattern)
                #expect(Half.bits(value) == bits)
            }
        }
    }

    @Test("rounding to a half is to nearest, ties to even, around every border")
    func halfRounding() {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<200_000 {
            let value = Float(bitPattern: UInt32.random(in: .min ... .max, using: &generator))
            if value.isNaN { continue }
            #expect(Half.bits(value) == Float16(value).bitPattern, "\(value)")
        }
        for bits in UInt16(0)..<0x7C00 {
            let low = Half.float(bits)
            let high = bits == 0x7BFF ? 65536 : Half.float(bits + 1)
            let middle = (low + high) / 2
            for value in [middle.nextDown, middle, middle.nextUp] {
                #expect(Half.bits(value) == Float16(value).bitPattern)
            }
        }
    }

    @Test(
        "brain floats round to nearest, ties to even, and keep NaN",
        arguments: [
            (Float(1), 0x3F80), (Float(bitPattern: 0x3F80_8000), 0x3F80), (Float(bitPattern: 0x3F81_8000), 0x3F82),
            (Float(bitPattern: 0x3F80_8001), 0x3F81), (.greatestFiniteMagnitude, 0x7F80), (-.infinity, 0xFF80),
            (.leastNonzeroMagnitude, 0), (Float(bitPattern: 0x7F80_0001), 0x7FC0),
        ] as [(Float, UInt16)])
    func brainFloats(value: Float, bits: UInt16) {
        #expect(BrainFloat.bits(value) == bits)
    }

    @Test("the table is consistent: numbers, names and sizes lead back to the same type", arguments: TensorType.all)
    func table(type: TensorType) throws {
        #expect(TensorType(id: type.id) == type)
        #expect(TensorType(name: type.name) == type)
        #expect(TensorType(name: type.name.lowercased()) == type)
        #expect(TensorType.removedName(id: type.id) == nil)
        #expect(type.byteCount(elements: type.blockSize * 3) == type.bytesPerBlock * 3)
        #expect(type.blockSize == 1 || type.byteCount(elements: type.blockSize + 1) == nil)
        #expect(
            type.byteCount(elements: .max / type.blockSize * type.blockSize) == nil
                || type.bytesPerBlock <= type.blockSize)
    }

    @Test("removed types are not types but have names", arguments: [4, 5, 31, 32, 33, 36, 37, 38] as [UInt32])
    func removed(id: UInt32) {
        #expect(TensorType(id: id) == nil)
        #expect(TensorType.removedName(id: id) != nil)
    }

    @Test("a type without a decoder says what to do")
    func notDecodable() {
        let type = TensorType(name: "IQ1_M")!
        #expect(!type.isDecodable)
        #expect { try type.requireDecodable(tensor: "blk.0") } throws: {
            "\($0)".contains("blk.0") && "\($0)".contains("Q4_K")
        }
        #expect(throws: TensorTypeError.self) { try type.encoded([Float](repeating: 0, count: 256)) }
    }

    @Test(
        "encoding then decoding keeps values within half a step",
        arguments: TensorType.all.filter { $0.isEncodable && $0.isQuantized })
    func roundTrip(type: TensorType) throws {
        var generator = SeededGenerator(seed: 11)
        for blocks in [1, 2, 3, 7] {
            let values = (0..<blocks * type.blockSize).map { _ in Float.random(in: -1...1, using: &generator) }
            let bytes = try type.encoded(values)
            #expect(bytes.count == blocks * type.bytesPerBlock)
            let back = try bytes.withUnsafeBytes { try type.decoded($0) }
            // Levels in use over a range of 2, a little more for the rounding of scales.
            let steps: Float = [
                "Q4_0": 15, "Q4_1": 15, "Q5_0": 31, "Q5_1": 31, "Q8_0": 254, "Q4_K": 15, "Q5_K": 31, "Q6_K": 63,
            ][type.name]!
            let limit = 2 / steps * 1.1
            #expect(zip(values, back).allSatisfy { ($0 - $1).magnitude <= limit })
        }
    }

    @Test("a decoder reads at any alignment", arguments: TensorType.all.filter(\.isDecodable))
    func unaligned(type: TensorType) throws {
        var generator = SeededGenerator(seed: 5)
        let bytes = (0..<type.bytesPerBlock * 3).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let aligned = try bytes.withUnsafeBytes { try type.decoded($0) }
        for shift in 1..<8 {
            let shifted = [UInt8](repeating: 0xAA, count: shift) + bytes
            let values = try shifted.withUnsafeBytes {
                try type.decoded(UnsafeRawBufferPointer(rebasing: $0[shift...]))
            }
            #expect(zip(values, aligned).allSatisfy { $0.bitPattern == $1.bitPattern || ($0.isNaN && $1.isNaN) })
        }
    }

    @Test(
        "values that are not finite and counts that are not whole blocks are refused",
        arguments: TensorType.all.filter { $0.isEncodable && $0.isQuantized })
    func refusals(type: TensorType) {
        for bad in [Float.nan, .infinity, -.infinity] {
            var values = [Float](repeating: 1, count: type.blockSize)
            values[type.blockSize - 1] = bad
            #expect { try type.encoded(values) } throws: { ($0 as? TensorTypeError)?.code == .notFinite }
        }
        #expect { try type.encoded([1]) } throws: { ($0 as? TensorTypeError)?.code == .partialBlock }
        #expect { try [UInt8](repeating: 0, count: 1).withUnsafeBytes { try type.decoded($0) } } throws: {
            ($0 as? TensorTypeError)?.code == .partialBlock
        }
    }

    @Test(
        "extreme but finite values are encoded without a trap",
        arguments: TensorType.all.filter { $0.isEncodable && $0.isQuantized })
    func extremes(type: TensorType) throws {
        for value in [Float.greatestFiniteMagnitude, .leastNonzeroMagnitude, .leastNormalMagnitude, 1e38, -1e-38, 0] {
            var values = [Float](repeating: value, count: type.blockSize)
            _ = try type.encoded(values)
            values[0] = -value
            values[1] = 1
            _ = try type.encoded(values)
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

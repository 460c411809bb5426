import ByteIO
import Fixtures
import Testing

@testable import Safetensors

/// Values of every dtype, against tables by ml_dtypes in a file by the official package
/// (`Fixtures/Scripts/make_small_floats.py`).
struct SafetensorsNumbersTests {
    private func floats(_ type: String, _ shape: [Int], _ bytes: [UInt8]) throws -> [Float] {
        var writer = SafetensorsWriter()
        let type = try #require(SafetensorsType(name: type))
        try writer.add(name: "a", type: type, shape: shape, bytes: bytes)
        let file = try SafetensorsFile(bytes: writer.serialized())
        return try file.floats(of: file.tensors[0])
    }

    private static let golden = Fixtures.url("Golden/small-floats.safetensors").path

    @Test(
        "every bit pattern of a small float has the value ml_dtypes gives it",
        arguments: [
            "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4",
        ])
    func allPatterns(name: String) throws {
        let file = try SafetensorsFile(path: Self.golden)
        let expected = try file.floats(of: file.requireTensor(named: name))
        let bits = try #require(SafetensorsType(name: name)).bits
        #expect(expected.count == 1 << bits)
        // Patterns 0, 1, 2, … as a stream of bits from the lowest on.
        var bytes = [UInt8](repeating: 0, count: expected.count * bits / 8)
        for pattern in expected.indices {
            for bit in 0..<bits where pattern >> bit & 1 == 1 {
                bytes[(pattern * bits + bit) / 8] |= 1 << UInt8((pattern * bits + bit) % 8)
            }
        }
        let values = try floats(name, [expected.count], bytes)
        for (value, wanted) in zip(values, expected) {
            #expect(value.bitPattern == wanted.bitPattern || value.isNaN && wanted.isNaN)
        }
    }

    @Test("a file of the official package is written again byte for byte")
    func sameBytes() throws {
        let file = try SafetensorsFile(path: Self.golden)
        var writer = SafetensorsWriter(metadata: file.metadata ?? [])
        for tensor in file.tensors.reversed() {
            try writer.add(
                name: tensor.name, type: tensor.type, shape: tensor.dimensions, bytes: Array(file.bytes(of: tensor)))
        }
        #expect(try writer.serialized() == file.file.copyBytes())
    }

    @Test("corner values of small floats are those of their definitions")
    func corners() throws {
        #expect(try floats("F8_E4M3", [4], [0x00, 0x01, 0x7E, 0xFE]) == [0, 1.0 / 512, 448, -448])
        #expect(try floats("F8_E4M3", [2], [0x7F, 0xFF]).allSatisfy { $0.isNaN })
        #expect(try floats("F8_E5M2", [4], [0x01, 0x7B, 0x7C, 0xFC]) == [1.0 / 65536, 57344, .infinity, -.infinity])
        #expect(try floats("F8_E5M2", [2], [0x7D, 0xFF]).allSatisfy { $0.isNaN })
        #expect(try floats("F8_E8M0", [3], [0, 127, 254]) == [0x1p-127, 1, 0x1p127])
        #expect(try floats("F8_E8M0", [1], [255])[0].isNaN)
        #expect(try floats("F8_E4M3FNUZ", [3], [0x01, 0x7F, 0xFF]) == [1.0 / 1024, 240, -240])
        #expect(try floats("F8_E4M3FNUZ", [1], [0x80])[0].isNaN)
        #expect(try floats("F8_E5M2FNUZ", [3], [0x01, 0x7F, 0xFF]) == [0x1p-17, 57344, -57344])
        #expect(try floats("F4", [4], [0x21, 0xF7]) == [0.5, 1, 6, -6])
        // Four 6-bit values in three bytes: 1, 2, 31, 63 from the lowest bit on.
        #expect(try floats("F6_E2M3", [4], [0x81, 0xF0, 0xFD]) == [0.125, 0.25, 7.5, -7.5])
        #expect(try floats("F6_E3M2", [4], [0x81, 0xF0, 0xFD]) == [0.0625, 0.125, 28, -28])
    }

    @Test("integers, booleans and wide floats are read, complex numbers refused")
    func others() throws {
        #expect(try floats("BOOL", [3], [0, 1, 2]) == [0, 1, 1])
        #expect(try floats("U8", [2], [0, 255]) == [0, 255])
        #expect(try floats("U16", [1], [0xFF, 0xFF]) == [65535])
        #expect(try floats("U32", [1], [0, 0, 0, 0x80]) == [0x1p31])
        #expect(try floats("U64", [1], [0, 0, 0, 0, 0, 0, 0, 0x80]) == [0x1p63])
        #expect(try floats("I8", [1], [0x80]) == [-128])
        #expect(try floats("F64", [1], [0, 0, 0, 0, 0, 0, 0xF8, 0x3F]) == [1.5])
        #expect(try floats("F32", [0], []) == [])
        #expect(throws: SafetensorsError.self) { try floats("C64", [1], [UInt8](repeating: 0, count: 8)) }
    }
}

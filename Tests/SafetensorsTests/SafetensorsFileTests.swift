import ByteIO
import Testing

@testable import Safetensors

struct SafetensorsFileTests {
    static func file(_ header: String, data: [UInt8] = []) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(UInt64(header.utf8.count))
        writer.write(text: header)
        writer.write(bytes: data)
        return writer.bytes
    }

    static func sample() throws -> [UInt8] {
        var writer = SafetensorsWriter(metadata: [("format", "pt"), ("a", "b")])
        try writer.add(name: "b", type: .f16, shape: [2], floats: [1, -2])
        try writer.add(name: "z", shape: [2, 2], floats: [1, 2, 3, 4])
        try writer.add(name: "c", type: .i64, shape: [1], bytes: [7, 0, 0, 0, 0, 0, 0, 0])
        try writer.add(name: "a", shape: [], floats: [5])
        try writer.add(name: "e", type: .u8, shape: [0, 3], bytes: [])
        return try writer.serialized()
    }

    @Test("the writer orders by type, then by name, and pads the header with spaces to 8")
    func writerOrder() throws {
        let bytes = try Self.sample()
        let file = try SafetensorsFile(bytes: bytes)
        #expect(file.tensors.map(\.name) == ["c", "a", "z", "b", "e"])
        #expect(file.metadata?.map(\.key) == ["format", "a"])
        #expect(file.metadataValue("a") == "b")
        #expect(file.dataOffset % 8 == 0)
        let header = String(decoding: bytes[8..<file.dataOffset], as: UTF8.self)
        #expect(
            header.hasPrefix(
                "{\"__metadata__\":{\"format\":\"pt\",\"a\":\"b\"},\"c\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
            ))
        #expect(try file.floats(of: file.requireTensor(named: "z")) == [1, 2, 3, 4])
        #expect(try file.floats(of: file.requireTensor(named: "b")) == [1, -2])
        #expect(try file.floats(of: file.requireTensor(named: "c")) == [7])
        #expect(try file.floats(of: file.requireTensor(named: "a")) == [5])
    }

    @Test("a file without tensors and metadata is 16 bytes")
    func emptyFile() throws {
        let bytes = try SafetensorsWriter().serialized()
        #expect(bytes == [8, 0, 0, 0, 0, 0, 0, 0] + Array("{}      ".utf8))
        #expect(try SafetensorsFile(bytes: bytes).metadata == nil)
    }

    @Test(
        "every name that occurs twice is refused",
        arguments: [
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
            "{\"__metadata__\":{\"k\":\"1\",\"k\":\"1\"},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
            "{\"__metadata__\":{},\"__metadata__\":{},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
            "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
        ])
    func duplicates(header: String) {
        #expect { try SafetensorsFile(bytes: Self.file(header, data: [0])) } throws: {
            ($0 as? SafetensorsError)?.code == .duplicateName
        }
    }

    /// Headers that are refused, and words of the reason.
    static let refused: [(header: String, words: [String])] = [
        ("[]", ["an array", "an object is expected"]), ("7", ["an integer"]), ("", ["ends where"]),
        ("{\"a\":7}", ["\"a\"", "an integer"]), ("{\"a\":{}}", ["no dtype"]),
        ("{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,1]}}", ["no dtype that is a string"]),
        ("{\"a\":{\"dtype\":\"u8\",\"shape\":[1],\"data_offsets\":[0,1]}}", ["unknown dtype \"u8\""]),
        ("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", ["no shape"]),
        ("{\"a\":{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}}", ["no shape that is an array"]),
        ("{\"a\":{\"dtype\":\"U8\",\"shape\":[1.0],\"data_offsets\":[0,1]}}", ["no integer from 0 on"]),
        ("{\"a\":{\"dtype\":\"U8\",\"shape\":[[1]],\"data_offsets\":[0,1]}}", ["no integer from 0 on"]),
        ("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", ["no data_offsets"]),
        ("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", ["two integers"]),
        ("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", ["two integers"]),
        ("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1e0]}}", ["two integers"]),
        ("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", ["data_offsets 1 and 0"]),
        (
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,18446744073709551615]}}",
            ["18446744073709551615"]
        ),
        ("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},}", ["a key in quotes"]),
        ("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,],\"data_offsets\":[0,1]}}", ["JSON value"]),
        ("{\"a\":{\"dtype\":\"U8\" \"shape\":[1],\"data_offsets\":[0,1]}}", ["\",\" or \"}\""]),
        ("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}} {}", ["after the JSON value"]),
        ("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}", ["the end"]),
        ("{\"__metadata__\":[]}", ["object of strings"]), ("{\"__metadata__\":{\"k\":1}}", ["\"k\"", "only strings"]),
        ("{\"x\":" + String(repeating: "[", count: 200), ["deeper than 128"]),
        (
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"more\":"
                + String(repeating: "[", count: 100_000), ["deeper than 128"]
        ),
    ]

    @Test("a header of another form is refused with what is wrong in it", arguments: refused)
    func headers(header: String, words: [String]) {
        #expect { try SafetensorsFile(bytes: Self.file(header, data: [0]), name: "x.safetensors") } throws: { error in
            guard let error = error as? SafetensorsError else { return false }
            return error.description.hasPrefix("x.safetensors: ") && words.allSatisfy { error.message.contains($0) }
        }
    }

    @Test(
        "fields in any order, unknown ones among them, escapes and white space are read",
        arguments: [
            "{\"a\":{\"data_offsets\":[0,1],\"shape\":[1],\"dtype\":\"U8\"}}",
            "  {\t\"a\" : {\r\n \"dtype\" : \"U8\" , \"shape\" : [ 1 ] , \"data_offsets\" : [ 0 , 1 ] } } \n",
            "{\"a\":{\"x\":{\"y\":[null,{\"z\":-1e3}]},\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"w\":true}}",
            "{\"\\u0061\":{\"\\u0064type\":\"U\\u0038\",\"shape\":[1],\"data_offsets\":[0,1]}}",
            "{\"__metadata__\":null,\"a\":{\"dtype\":\"U8\",\"shape\":[1,1],\"data_offsets\":[0,1]}}",
        ])
    func otherForms(header: String) throws {
        let file = try SafetensorsFile(bytes: Self.file(header, data: [9]))
        #expect(file.tensors.map(\.name) == ["a"])
        #expect(file.tensor(named: "a")?.dataOffsets == 0..<1)
        #expect(try file.floats(of: file.requireTensor(named: "a")) == [9])
    }

    @Test("tensors are found by name whatever the header's order")
    func unsorted() throws {
        let header =
            "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"
        let file = try SafetensorsFile(bytes: Self.file(header, data: [5, 6]))
        #expect(file.tensors.map(\.name) == ["a", "b"])
        #expect(try file.floats(of: file.requireTensor(named: "a")) == [5])
        #expect(try file.floats(of: file.requireTensor(named: "b")) == [6])
    }

    @Test("composed and decomposed names are two names")
    func exactNames() throws {
        let header =
            "{\"\u{E9}\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"e\u{301}\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}"
        let file = try SafetensorsFile(bytes: Self.file(header, data: [1, 2]))
        #expect(file.tensors.count == 2)
        #expect(file.tensor(named: "e\u{301}")?.dataOffsets == 1..<2)
    }

    @Test(
        "types below a byte are counted in bits",
        arguments: [("F4", 4, 2), ("F6_E2M3", 4, 3), ("F6_E3M2", 8, 6), ("BOOL", 3, 3), ("C64", 1, 8)])
    func bits(type: String, count: Int, bytes: Int) throws {
        let header = "{\"a\":{\"dtype\":\"\(type)\",\"shape\":[\(count)],\"data_offsets\":[0,\(bytes)]}}"
        let file = try SafetensorsFile(bytes: Self.file(header, data: [UInt8](repeating: 0, count: bytes)))
        #expect(file.tensors[0].elementCount == count)
        if type == "C64" {
            #expect(throws: SafetensorsError.self) { try file.floats(of: file.tensors[0]) }
        } else {
            #expect(try file.floats(of: file.tensors[0]) == [Float](repeating: 0, count: count))
        }
    }

    @Test("truncations, flipped bits and extreme lengths are read or refused")
    func malformed() throws {
        let bytes = try Self.sample()
        func touch(_ bytes: [UInt8]) -> Bool {
            do {
                let file = try SafetensorsFile(bytes: bytes)
                for tensor in file.tensors { _ = file.bytes(of: tensor).last }
                return true
            } catch {
                #expect(error is SafetensorsError, "\(error)")
                return false
            }
        }
        for length in 0..<bytes.count { #expect(!touch(Array(bytes[..<length])), "cut at \(length)") }
        for length in [UInt64.max, 1 << 63, UInt64(Int64.max), 100_000_001, 100_000_000, 0, 1, UInt64.max - 7] {
            var damaged = bytes
            withUnsafeBytes(of: length.littleEndian) { damaged.replaceSubrange(0..<8, with: $0) }
            #expect(!touch(damaged))
        }
        for number in [
            "18446744073709551615", "9223372036854775807", "9223372036854775808", "-1", "0.5", "1e30", "4294967296",
        ] {
            for header in [
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[\(number)],\"data_offsets\":[0,4]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[\(number),\(number)],\"data_offsets\":[0,4]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,\(number)]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[\(number),\(number)]}}",
            ] {
                #expect(!touch(Self.file(header, data: [0, 0, 0, 0])))
            }
        }
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<3000 {
            var damaged = bytes
            for _ in 0...Int.random(in: 0..<3, using: &generator) {
                damaged[Int.random(in: 0..<damaged.count, using: &generator)] ^=
                    1 << UInt8.random(in: 0..<8, using: &generator)
            }
            _ = touch(damaged)
        }
    }

    @Test("the writer refuses wrong sizes, repeated and reserved names")
    func writerRefusals() throws {
        var writer = SafetensorsWriter()
        try writer.add(name: "a", shape: [1], floats: [1])
        #expect(throws: SafetensorsError.self) { try writer.add(name: "a", shape: [1], floats: [1]) }
        #expect(throws: SafetensorsError.self) { try writer.add(name: "__metadata__", shape: [1], floats: [1]) }
        #expect(throws: SafetensorsError.self) { try writer.add(name: "b", shape: [2], floats: [1]) }
        #expect(throws: SafetensorsError.self) { try writer.add(name: "b", shape: [-1], floats: [1]) }
        #expect(throws: SafetensorsError.self) { try writer.add(name: "b", shape: [.max, .max], floats: [1]) }
        #expect(throws: SafetensorsError.self) { try writer.add(name: "b", type: .i64, shape: [1], floats: [1]) }
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

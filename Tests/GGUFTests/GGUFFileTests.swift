import ByteIO
import Foundation
import Testing

@testable import GGUF
@testable import TensorTypes

struct GGUFFileTests {
    /// A small valid file with every value type and two tensors.
    static func sample(alignment: Int? = nil) throws -> [UInt8] {
        let metadata: GGUFMetadata = [
            "general.architecture": .text("llama"), "u8": .uint8(200), "i8": .int8(-5), "u16": .uint16(60000),
            "i16": .int16(-3), "u32": .uint32(4_000_000_000), "i32": .int32(-7), "f32": .float32(1.5),
            "yes": .bool(true),
            "no": .bool(false), "u64": .uint64(.max), "i64": .int64(.min), "f64": .float64(0.1),
            "raw": .string(GGUFString(bytes: [0x61, 0xFF])), "tokens": .array(GGUFArray(["a", "", "é"])),
            "ids": .array(GGUFArray([1, 2, 3] as [Int32])), "scores": .array(GGUFArray([0.5, -1] as [Float])),
            "flags": .array(GGUFArray([true, false])), "none": .array(GGUFArray([] as [String])),
        ]
        var writer = try GGUFWriter(metadata: metadata, alignment: alignment)
        try writer.add(name: "a", dimensions: [4, 2], floats: [1, 2, 3, 4, 5, 6, 7, 8])
        try writer.add(name: "b", type: .q8_0, dimensions: [32], floats: (0..<32).map { Float($0) })
        return try writer.serialized()
    }

    @Test("what was written is read back with its exact types")
    func readsBack() throws {
        let file = try GGUFFile(bytes: Self.sample())
        #expect(file.version == 3)
        #expect(file.warnings.count == 1, "one value is not UTF-8")
        let metadata = file.metadata
        #expect(metadata.keys.first == "general.architecture")
        #expect(try metadata.architecture() == "llama")
        #expect(metadata["u8"] == .uint8(200))
        #expect(metadata["u64"] == .uint64(.max))
        #expect(metadata["i64"] == .int64(.min))
        #expect(metadata["f64"] == .float64(0.1))
        #expect(try metadata.int("i8") == -5)
        #expect(try metadata.int("u32") == 4_000_000_000)
        #expect(try metadata.float("f32") == 1.5)
        #expect(try metadata.float("i16") == -3)
        #expect(try metadata.bool("yes"))
        #expect(try !metadata.bool("no"))
        #expect(try metadata.strings("tokens") == ["a", "", "é"])
        #expect(try metadata.ints("ids") == [1, 2, 3])
        #expect(try metadata.ints("i32") == [-7])
        #expect(try metadata.floats("scores") == [0.5, -1])
        #expect(try metadata.arrayIfPresent("flags")?.bools == [true, false])
        #expect(try metadata.strings("none") == [])
        #expect(metadata["raw"] == .string(GGUFString(bytes: [0x61, 0xFF])))
        #expect(try metadata.string("raw") == "a\u{FFFD}")
        let tensor = try file.requireTensor(named: "a")
        #expect(tensor.dimensions == [4, 2])
        #expect(try file.floats(of: tensor) == [1, 2, 3, 4, 5, 6, 7, 8])
        #expect(try file.floats(of: file.requireTensor(named: "b")).count == 32)
    }

    @Test("a copy is the same bytes", arguments: [nil, 1, 8, 64, 4096] as [Int?])
    func copies(alignment: Int?) throws {
        let bytes = try Self.sample(alignment: alignment)
        let file = try GGUFFile(bytes: bytes)
        #expect(file.alignment == alignment ?? 32)
        #expect(file.tensors.allSatisfy { $0.fileOffset % file.alignment == 0 })
        #expect(try GGUFWriter(copying: file).serialized() == bytes)
    }

    @Test("getters name the key, what is expected and what is there")
    func getterErrors() throws {
        let metadata = try GGUFFile(bytes: Self.sample(), name: "x.gguf").metadata
        let failures: [(String, [String], () throws -> Void)] = [
            ("missing", ["absent", "missing"], { _ = try metadata.int("absent") }),
            ("type", ["tokens", "integer", "3 × string"], { _ = try metadata.int("tokens") }),
            ("type", ["f32", "integer", "f32"], { _ = try metadata.int("f32") }),
            ("range", ["u64", "64 bits", "u64"], { _ = try metadata.int("u64") }),
            ("type", ["u8", "string", "u8"], { _ = try metadata.string("u8") }),
            ("type", ["ids", "strings", "i32"], { _ = try metadata.strings("ids") }),
            ("type", ["u8", "bool"], { _ = try metadata.bool("u8") }),
            ("count", ["i8", "-5", "1"], { _ = try metadata.count("i8") }),
        ]
        for (name, words, call) in failures {
            #expect("\(name) of \(words[0])") { try call() } throws: { error in
                words.allSatisfy { "\(error)".contains($0) } && "\(error)".hasPrefix("x.gguf: ")
            }
        }
    }

    @Test("version 1, with its short lengths, is read")
    func versionOne() throws {
        var writer = ByteWriter()
        writer.write(text: "GGUF")
        writer.write(UInt32(1))
        writer.write(UInt32(1))
        writer.write(UInt32(2))
        func string(_ text: String) {
            writer.write(UInt32(text.utf8.count))
            writer.write(text: text)
        }
        string("k")
        writer.write(UInt32(5))
        writer.write(Int32(-1))
        string("list")
        writer.write(UInt32(9))
        writer.write(UInt32(8))
        writer.write(UInt32(2))
        string("one")
        string("two")
        string("t")
        writer.write(UInt32(1))
        writer.write(UInt32(2))
        writer.write(UInt32(0))
        writer.write(UInt64(0))
        writer.pad(to: 32)
        writer.write(Float(1))
        writer.write(Float(2))
        let file = try GGUFFile(bytes: writer.bytes)
        #expect(file.version == 1)
        #expect(try file.metadata.int("k") == -1)
        #expect(try file.metadata.strings("list") == ["one", "two"])
        #expect(try file.floats(of: file.requireTensor(named: "t")) == [1, 2])
        #expect(file.warnings.count == 1)
    }

    @Test("holes, disorder, missing padding and trailing bytes are accepted with a warning each")
    func warnings() throws {
        let bytes = try Self.sample()
        #expect(try GGUFFile(bytes: bytes + [1, 2]).warnings.count == 2)
        let lastTensor = try GGUFFile(bytes: bytes).tensors[1]
        let cut = Array(bytes.prefix(lastTensor.fileOffset + lastTensor.byteCount))
        #expect(try GGUFFile(bytes: cut).warnings.count == 2)
    }

    @Test(
        "files that are something else are recognised",
        arguments: [
            (Array("tjgg".utf8), "before GGUF"), (Array("PK\u{3}\u{4}".utf8), "ZIP"),
            (Array("<!DOCTYPE html>".utf8), "web page"),
            (Array("version https://git-lfs".utf8), "LFS"),
            ([16, 0, 0, 0, 0, 0, 0, 0] + Array("{\"a\"".utf8), "safetensors"),
            ([], "0 are left"),
        ] as [([UInt8], String)])
    func recognises(start: [UInt8], word: String) {
        #expect { try GGUFFile(bytes: start) } throws: { "\($0)".contains(word) }
    }

    @Test("a writer refuses what no reader takes")
    func writerRefusals() throws {
        var writer = try GGUFWriter()
        try writer.add(name: "a", dimensions: [1], floats: [1])
        #expect(throws: GGUFError.self) { try writer.add(name: "a", dimensions: [1], floats: [1]) }
        #expect(throws: GGUFError.self) { try writer.add(name: "b", dimensions: [2], floats: [1]) }
        #expect(throws: GGUFError.self) { try writer.add(name: "b", type: .f32, dimensions: [0], bytes: []) }
        #expect(throws: GGUFError.self) { try writer.add(name: "b", dimensions: [1, 1, 1, 1, 1], floats: [1]) }
        #expect(throws: GGUFError.self) { try writer.add(name: "b", type: .q4_0, dimensions: [16, 2], bytes: []) }
        #expect(throws: GGUFError.self) {
            try writer.add(name: String(repeating: "n", count: 64), dimensions: [1], floats: [1])
        }
        #expect(throws: GGUFError.self) { try GGUFWriter(alignment: 3) }
        #expect(throws: GGUFError.self) { try GGUFWriter(metadata: ["general.alignment": .int32(32)]) }
        try writer.add(name: "short", type: .f32, dimensions: [4]) { output in try output.write([0]) }
        #expect(throws: GGUFError.self) { try writer.serialized() }
    }
}

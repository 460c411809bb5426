import ByteIO
import TensorTypes
import Testing

@testable import GGUF

struct GGUFBigEndianTests {
    /// A file of one F32, one F16 and one Q4_K tensor with numbers in big-endian order.
    private static func file(type: UInt32 = 12) -> [UInt8] {
        var file = GGUFBytes(tensors: 3, pairs: 4, isBigEndian: true)
        file.add(string: "name")
        file.add(UInt32(8))
        file.add(string: "otter")
        file.add(string: "ids")
        file.add(UInt32(9))
        file.add(UInt32(5))
        file.add(UInt64(2))
        file.add(Int32(-2))
        file.add(Int32(70000))
        file.add(string: "words")
        file.add(UInt32(9))
        file.add(UInt32(8))
        file.add(UInt64(2))
        file.add(string: "a")
        file.add(string: "bc")
        file.add(string: "half")
        file.add(UInt32(12))
        file.add(Double(0.5).bitPattern)
        file.add(tensor: "f32", dimensions: [2], type: 0, offset: 0)
        file.add(tensor: "f16", dimensions: [2], type: 1, offset: 32)
        file.add(tensor: "quants", dimensions: [256], type: type, offset: 64)
        file.pad()
        file.add(Float(1.5).bitPattern)
        file.add(Float(-2).bitPattern)
        file.pad()
        file.add(UInt16(0x3C00))
        file.add(UInt16(0xC000))
        file.pad()
        file.add(UInt16(0x3800))
        file.add(UInt16(0x3400))
        file.add(raw: (0..<140).map { UInt8($0 * 7 % 251) })
        file.pad()
        return file.bytes
    }

    @Test("a big-endian file gives the numbers it was written from")
    func reads() throws {
        let file = try GGUFFile(bytes: Self.file())
        #expect(file.isBigEndian)
        #expect(file.version == 3)
        #expect(file.warnings == [])
        #expect(try file.metadata.string("name") == "otter")
        #expect(try file.metadata.ints("ids") == [-2, 70000])
        #expect(try file.metadata.strings("words") == ["a", "bc"])
        #expect(try file.metadata.float("half") == 0.5)
        #expect(try file.floats(of: file.requireTensor(named: "f32")) == [1.5, -2])
        #expect(try file.floats(of: file.requireTensor(named: "f16")) == [1, -2])
        let quants = Array(file.bytes(of: try file.requireTensor(named: "quants")))
        #expect(quants == [0x00, 0x38, 0x00, 0x34] + (0..<140).map { UInt8($0 * 7 % 251) })
    }

    @Test("a big-endian file is copied as a little-endian one with the same content")
    func copies() throws {
        let file = try GGUFFile(bytes: Self.file())
        let copy = try GGUFFile(bytes: GGUFWriter(copying: file).serialized())
        #expect(!copy.isBigEndian)
        #expect(copy.metadata.entries == file.metadata.entries)
        for (left, right) in zip(file.tensors, copy.tensors) {
            #expect(Array(file.bytes(of: left)) == Array(copy.bytes(of: right)), "\(left.name)")
        }
    }

    @Test("version 1 is read in big-endian order too")
    func versionOne() throws {
        var file = GGUFBytes(version: 1, pairs: 1, isBigEndian: true)
        file.add(UInt32(1))
        file.add(raw: Array("k".utf8))
        file.add(UInt32(4))
        file.add(UInt32(77))
        #expect(try GGUFFile(bytes: file.bytes).metadata.int("k") == 77)
    }

    @Test("a type whose blocks have no known big-endian form is refused by name")
    func unknownSwap() throws {
        #expect { try GGUFFile(bytes: Self.file(type: 16)) } throws: { error in
            "\(error)".contains("IQ2_XXS") && "\(error)".contains("big-endian") && "\(error)".contains("\"quants\"")
        }
    }

    @Test("turning blocks round twice gives them back, and stays within the block", arguments: TensorType.all)
    func involution(type: TensorType) throws {
        guard let swapping = ByteSwapping(type: type) else {
            #expect(type.name == "IQ2_XXS", "\(type) has no big-endian form")
            return
        }
        let original = (0..<(type.bytesPerBlock * 3)).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
        var bytes = original
        bytes.withUnsafeMutableBytes { swapping.swap($0) }
        if type.isQuantized, type.name != "MXFP4", type.name != "NVFP4" { #expect(bytes != original) }
        bytes.withUnsafeMutableBytes { swapping.swap($0) }
        #expect(bytes == original)
    }
}

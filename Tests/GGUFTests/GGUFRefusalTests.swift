import Testing

@testable import GGUF

/// Every malformed header has a message that says what is wrong, where, and what to do.
struct GGUFRefusalTests {
    struct Case: Sendable, CustomStringConvertible {
        let description: String
        let bytes: [UInt8]
        let code: GGUFError.Code
        let words: [String]

        init(_ description: String, _ bytes: [UInt8], _ code: GGUFError.Code, _ words: String...) {
            self.description = description
            self.bytes = bytes
            self.code = code
            self.words = words
        }
    }

    private static func word<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    static let headers: [Case] = [
        Case("no bytes", [], .truncated, "magic number"),
        Case("a magic number and nothing else", Array("GGUF".utf8), .truncated, "version"),
        Case("23 bytes", Array(GGUFBytes().bytes.prefix(23)), .truncated, "metadata count", "downloaded"),
        Case("GGML", Array("lmgg".utf8) + [0, 0, 0, 0], .notGGUF, "before GGUF", "convert"),
        Case("a pickle in a ZIP archive", Array("PK\u{3}\u{4}".utf8), .notGGUF, "PyTorch"),
        Case("version 0", GGUFBytes(version: 0).bytes, .unsupportedVersion, "version 0", "damaged"),
        Case("version 4", GGUFBytes(version: 4).bytes, .unsupportedVersion, "version 4", "newer"),
        Case("more pairs than bytes", GGUFBytes(pairs: 1 << 40).bytes, .truncated, "metadata count"),
        Case("a negative tensor count", GGUFBytes(tensors: .max).bytes, .truncated, "tensor count"),
    ]

    static let pairs: [Case] = [
        Case("an empty key", GGUFBytes.pair("", type: 2, [1, 0]), .malformed, "empty key"),
        Case(
            "a key longer than the format allows", GGUFBytes.pair([UInt8](repeating: 97, count: 65536), type: 0, [1]),
            .malformed, "65536 bytes", "65535"),
        Case(
            "a key longer than the file", GGUFBytes(pairs: 1).bytes + word(UInt64(1000)) + [97, 98, 99, 100, 101, 102],
            .truncated, "1000 bytes"),
        Case("a key that is not UTF-8", GGUFBytes.pair([0xFF, 0xFE], type: 0, [1]), .malformed, "UTF-8"),
        Case("an unknown value type", GGUFBytes.pair("k", type: 13, [1]), .malformed, "\"k\"", "13"),
        Case(
            "an array of arrays", GGUFBytes.pair("k", type: 9, word(UInt32(9)) + word(UInt64(1))), .malformed,
            "array of arrays", "one array"),
        Case(
            "an array of an unknown type", GGUFBytes.pair("k", type: 9, word(UInt32(99)) + word(UInt64(1))), .malformed,
            "element type", "99"),
        Case(
            "an array larger than 64 bits count",
            GGUFBytes.pair("k", type: 9, word(UInt32(10)) + word(UInt64(1) << 61)), .truncated, "array \"k\""),
        Case(
            "an array of strings that cannot all be there",
            GGUFBytes.pair("k", type: 9, word(UInt32(8)) + word(UInt64(2)) + word(UInt64(0))), .truncated, "array"),
        Case(
            "a string past the end", GGUFBytes.pair("k", type: 8, word(UInt64(1) << 63)), .truncated, "value of \"k\""),
        Case("a bool of 2", GGUFBytes.pair("k", type: 7, [2]), .malformed, "bool of value 2", "0 and 1"),
        Case(
            "a bool of 255 in an array", GGUFBytes.pair("k", type: 9, word(UInt32(7)) + word(UInt64(2)) + [1, 255]),
            .malformed, "255"),
        Case(
            "an alignment of 0", GGUFBytes.pair("general.alignment", type: 4, word(UInt32(0))), .malformed,
            "power of two"),
        Case(
            "an alignment of 48", GGUFBytes.pair("general.alignment", type: 4, word(UInt32(48))), .malformed, "is 48"),
        Case(
            "an alignment beyond the limit", GGUFBytes.pair("general.alignment", type: 4, word(UInt32(1) << 21)),
            .malformed, "1048576"),
        Case(
            "an alignment that is no u32", GGUFBytes.pair("general.alignment", type: 10, word(UInt64(32))), .malformed,
            "must be a u32", "u64"),
        Case(
            "split keys that contradict each other", GGUFBytes.pair("split.count", type: 2, word(UInt16(3))),
            .brokenSplit, "split.no", "missing"),
    ]

    static let tensors: [Case] = [
        Case(
            "a name of 64 bytes", GGUFBytes.tensor(String(repeating: "n", count: 64), [4]), .badTensor, "64 bytes", "63"
        ),
        Case("five dimensions", GGUFBytes.tensor("a", [1, 1, 1, 1, 1]), .badTensor, "5 dimensions"),
        Case("a dimension of 0", GGUFBytes.tensor("a", [4, 0]), .badTensor, "\"a\"", "dimension of 0"),
        Case("a negative dimension", GGUFBytes.tensor("a", [UInt64(bitPattern: -4)]), .badTensor, "dimension of -4"),
        Case("a product beyond 64 bits", GGUFBytes.tensor("a", [1 << 40, 1 << 40]), .badTensor, "elements"),
        Case("bytes beyond 64 bits", GGUFBytes.tensor("a", [1 << 61, 2]), .badTensor, "bytes"),
        Case("an unknown type", GGUFBytes.tensor("a", [4], type: 200), .unknownTensorType, "200", "newer"),
        Case("Q4_2", GGUFBytes.tensor("a", [32], type: 4), .unknownTensorType, "Q4_2", "re-quantize"),
        Case("Q4_0_4_8", GGUFBytes.tensor("a", [32], type: 32), .unknownTensorType, "Q4_0_4_8", "re-quantize"),
        Case("IQ4_NL_8_8", GGUFBytes.tensor("a", [32], type: 38), .unknownTensorType, "IQ4_NL_8_8", "re-quantize"),
        Case("a row that is no whole block", GGUFBytes.tensor("a", [33], type: 2), .badTensor, "33", "blocks of 32"),
        Case("an offset off the alignment", GGUFBytes.tensor("a", [4], offset: 4), .badTensor, "offset 4", "32"),
        Case("an offset that wraps", GGUFBytes.tensor("a", [4], offset: UInt64.max - 31), .truncated, "downloaded"),
        Case("data past the end", GGUFBytes.tensor("a", [1024]), .truncated, "4096 bytes", "downloaded"),
        Case("one name twice", twice("a", "a", 32), .badTensor, "\"a\"", "twice"),
        Case("two tensors in one place", twice("a", "b", 0), .badTensor, "\"b\"", "overlaps", "\"a\""),
    ]

    private static func twice(_ first: String, _ second: String, _ offset: UInt64) -> [UInt8] {
        var file = GGUFBytes(tensors: 2)
        file.add(tensor: first, dimensions: [8])
        file.add(tensor: second, dimensions: [8], offset: offset)
        file.pad()
        file.add(raw: [UInt8](repeating: 0, count: 64))
        return file.bytes
    }

    @Test("a malformed file is refused with a sentence that helps", arguments: headers + pairs + tensors)
    func refuses(refusal: Case) throws {
        #expect { try GGUFFile(bytes: refusal.bytes, name: "x.gguf") } throws: { error in
            guard let error = error as? GGUFError else { return false }
            return error.code == refusal.code && error.description.hasPrefix("x.gguf: ")
                && refusal.words.allSatisfy { error.description.contains($0) }
        }
    }

    @Test("an architecture that is missing, or no string, is named when it is asked for")
    func architecture() throws {
        #expect { try GGUFFile(bytes: GGUFBytes().bytes).metadata.architecture() } throws: { error in
            (error as? GGUFError)?.code == .missingKey && "\(error)".contains("general.architecture")
        }
        let number = try GGUFFile(bytes: GGUFBytes.pair("general.architecture", type: 0, [1]))
        #expect { try number.metadata.architecture() } throws: { ($0 as? GGUFError)?.code == .unexpectedType }
    }

    @Test("holes, trailing bytes and strings that are not UTF-8 are warnings that name them")
    func warnings() throws {
        var holed = GGUFBytes(tensors: 2)
        holed.add(tensor: "a", dimensions: [8])
        holed.add(tensor: "b", dimensions: [8], offset: 64)
        holed.pad()
        holed.add(raw: [UInt8](repeating: 0, count: 96))
        #expect(try GGUFFile(bytes: holed.bytes).warnings.contains { $0.contains("hole") })
        #expect(try GGUFFile(bytes: holed.bytes + [1, 2, 3]).warnings.contains { $0.contains("3 bytes follow") })
        let text = try GGUFFile(bytes: GGUFBytes.pair("k", type: 8, Self.word(UInt64(2)) + [0x61, 0xFF]))
        #expect(text.warnings.contains { $0.contains("\"k\"") && $0.contains("UTF-8") })
        #expect(text.metadata["k"] == .string(GGUFString(bytes: [0x61, 0xFF])))
    }

    @Test("a tensor without dimensions is one value")
    func scalar() throws {
        let file = try GGUFFile(bytes: GGUFBytes.tensor("a", []))
        #expect(file.tensors[0].elementCount == 1)
        #expect(try file.floats(of: file.tensors[0]) == [0])
    }
}

import Testing

@testable import ByteIO

struct JSONValueTests {
    @Test(
        "integers of 64 bits keep their value and stay apart from doubles",
        arguments: [
            ("0", JSONValue.integer(0)), ("9223372036854775807", .integer(.max)),
            ("-9223372036854775808", .integer(.min)),
            ("9223372036854775808", .unsigned(1 << 63)), ("18446744073709551615", .unsigned(.max)),
            ("18446744073709551616", .double(18446744073709551616)), ("1.0", .double(1)), ("1e2", .double(100)),
            ("-0.5E-1", .double(-0.05)),
        ])
    func numbers(text: String, expected: JSONValue) throws {
        #expect(try JSONValue.parse(text: text) == expected)
    }

    @Test("a negative zero is a double, for integers have none")
    func negativeZero() throws {
        guard case .double(let value) = try JSONValue.parse(text: "-0") else {
            Issue.record("not a double")
            return
        }
        #expect(value.sign == .minus)
    }

    @Test(
        "texts that are not JSON are refused with an offset",
        arguments: [
            "", " ", "{", "[", "[1,]", "{\"a\":1,}", "{\"a\" 1}", "{a:1}", "01", "-", "1.", "1e", "+1", ".5", "nul",
            "truex", "1 2",
            "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\u{01}\"", "1e999",
            "\u{FEFF}{}", "[1}",
            "{\"a\":1,\"a\":2}", "{\"a\":{\"b\":1,\"\\u0062\":2}}", "NaN", "Infinity", "'a'", "{}\u{0}",
        ])
    func refusals(text: String) {
        #expect { try JSONValue.parse(text: text) } throws: { error in
            guard let error = error as? ByteIOError else { return false }
            return [.invalidJSON, .duplicateKey].contains(error.code) && error.offset != nil
        }
    }

    @Test("bytes that are not UTF-8 are refused")
    func invalidUTF8() {
        #expect(throws: ByteIOError.self) { try JSONValue.parse([0x22, 0xFF, 0x22]) }
        #expect(throws: ByteIOError.self) { try JSONValue.parse([0x22, 0x5C, 0x6E, 0xC3, 0x22]) }
    }

    @Test("nesting is possible up to 128 and no deeper")
    func nesting() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        _ = try JSONValue.parse(text: nested(128))
        #expect(throws: ByteIOError.self) { try JSONValue.parse(text: nested(129)) }
        #expect(throws: ByteIOError.self) { try JSONValue.parse(text: String(repeating: "[", count: 1_000_000)) }
    }

    @Test("the canonical text sorts keys by their UTF-8 bytes and escapes as little as possible")
    func canonical() throws {
        let value: JSONValue = [
            "z": 1, "é": [true, nil, 1.5], "a\n\"\\": "/\u{1}\u{7f}é😀", "\u{FF61}": 1, "😀": 2, "": [:],
        ]
        let text = value.canonicalText
        #expect(
            text
                == "{\"\":{},\"a\\n\\\"\\\\\":\"/\\u0001\u{7f}é😀\",\"z\":1,\"é\":[true,null,1.5],\"\u{FF61}\":1,\"😀\":2}"
        )
        #expect(try JSONValue.parse(text: text) == value)
    }

    @Test(
        "doubles read back as the same double, and as doubles",
        arguments: [1.0, 0.1, 1e300, .leastNonzeroMagnitude, -1e-7, 123456789.125, 1e16])
    func doubles(value: Double) throws {
        #expect(try JSONValue.parse(text: JSONValue.double(value).canonicalText) == .double(value))
    }

    @Test("a number that is not finite is written as null")
    func notFinite() {
        #expect(JSONValue.array([.double(.nan), .double(.infinity)]).compactText == "[null,null]")
    }

    @Test("the pretty text is indented and keeps the order of members")
    func pretty() {
        let value: JSONValue = ["b": 1, "a": [1, 2], "c": [:], "d": []]
        #expect(value.prettyText == "{\n  \"b\": 1,\n  \"a\": [\n    1,\n    2\n  ],\n  \"c\": {},\n  \"d\": []\n}")
    }

    @Test("keys that are only canonically equivalent are different keys")
    func exactKeys() throws {
        let value = try JSONValue.parse(text: "{\"\u{E9}\":1,\"e\u{301}\":2}")
        #expect(value.objectValue?.count == 2)
        #expect(value["e\u{301}"] == 2)
        #expect(value["\u{E9}"] == 1)
    }

    @Test("an object with many members finds each and keeps order after changes")
    func manyMembers() {
        var object = JSONObject((0..<1000).map { ("key\($0)", JSONValue($0)) })
        #expect((0..<1000).allSatisfy { object["key\($0)"] == JSONValue($0) })
        object["key500"] = nil
        object["key999"] = "last"
        object["new"] = 1
        #expect(object.count == 1000)
        #expect(object.keys.first == "key0")
        #expect(object.keys.last == "new")
        #expect(object["key501"] == 501)
        #expect(object["key500"] == nil)
        #expect(object.append("key1", nil) == false)
    }

    @Test("a text read piece by piece is the text read at once")
    func pieces() throws {
        let text = "{\"a\": [1, [], {}, \"x\", null ], \"b\": {\"c\": {\"d\": [2.5]}, \"e\": \"\\u00e9\"}, \"f\": []}"
        let whole = try JSONValue.parse(text: text)
        try Array(text.utf8).withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            #expect(try Self.read(&reader).canonicalText == whole.canonicalText)
            try reader.finish()
        }
    }

    /// Reads a value by entering whatever can be entered.
    private static func read(_ reader: inout JSONReader) throws -> JSONValue {
        switch reader.nextKind {
        case .object:
            var object = JSONObject()
            try reader.openObject()
            while let key = try reader.nextKey() { object[key] = try read(&reader) }
            return .object(object)
        case .array:
            var array: [JSONValue] = []
            try reader.openArray()
            while try reader.nextElement() { array.append(try read(&reader)) }
            return .array(array)
        case .string: return .string(try reader.stringIfNext() ?? "")
        default: return try reader.value()
        }
    }

    @Test(
        "pieces that do not belong there are refused",
        arguments: [
            "[1,]", "[,1]", "[1 2]", "[1", "{\"a\":1,}", "{,}", "{\"a\" 1}", "{\"a\":}", "[1]]", "{1:2}", "", "[}",
            "{]",
        ])
    func brokenPieces(text: String) {
        #expect(throws: ByteIOError.self) {
            try Array(text.utf8).withUnsafeBytes { bytes in
                var reader = JSONReader(bytes)
                _ = try Self.read(&reader)
                try reader.finish()
            }
        }
    }

    @Test("entering nests up to 128 and no deeper")
    func deepPieces() {
        #expect(throws: ByteIOError.self) {
            try [UInt8](repeating: UInt8(ascii: "["), count: 1000).withUnsafeBytes { bytes in
                var reader = JSONReader(bytes)
                for _ in 0..<1000 { try reader.openArray(); _ = try reader.nextElement() }
            }
        }
    }

    @Test("mutated texts are parsed or refused, never more")
    func mutations() throws {
        let source = Array(
            "{\"a\":[1,-2.5e3,\"x\\u00e9\\ud83d\\ude00\",null,true],\"b\":{\"c\":18446744073709551615}}".utf8)
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<5000 {
            var bytes = source
            for _ in 0...Int.random(in: 0..<3, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            if let value = try? JSONValue.parse(bytes) {
                #expect(try JSONValue.parse(value.canonicalBytes()) == value)
            }
        }
        for length in 0..<source.count {
            #expect(throws: ByteIOError.self) { try JSONValue.parse(Array(source[..<length])) }
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

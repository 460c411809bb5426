/// The parser behind ``JSONNode/parse(_:maximumDepth:)``: one pass, recursion bounded by the depth limit.
struct JSONParser {
    private let bytes: [UInt8]
    private let maximumDepth: Int
    private var position = 0

    init(bytes: [UInt8], maximumDepth: Int) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
    }

    mutating func document() throws(OCIArtifactError) -> JSONNode {
        let value = try self.value(depth: 0)
        skipBlanks()
        guard position == bytes.count else { throw failure("there is more after the end of the document") }
        return value
    }

    // MARK: - Values

    private mutating func value(depth: Int) throws(OCIArtifactError) -> JSONNode {
        skipBlanks()
        guard position < bytes.count else { throw failure("the document ends where a value was expected") }
        switch bytes[position] {
        case UInt8(ascii: "{"): return try object(depth: depth + 1)
        case UInt8(ascii: "["): return try array(depth: depth + 1)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw failure("a value was expected")
        }
    }

    private mutating func object(depth: Int) throws(OCIArtifactError) -> JSONNode {
        try check(depth)
        position += 1
        var members: [String: JSONNode] = [:]
        skipBlanks()
        if take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipBlanks()
            let keyPosition = position
            guard peek == UInt8(ascii: "\"") else { throw failure("a key in quotes was expected") }
            let key = try string()
            skipBlanks()
            guard take(UInt8(ascii: ":")) else { throw failure("':' was expected") }
            let value = try self.value(depth: depth)
            guard members.updateValue(value, forKey: key) == nil else {
                position = keyPosition
                throw failure("key \(OCIArtifactError.quoted(key)) occurs twice in one object")
            }
            skipBlanks()
            if take(UInt8(ascii: ",")) { continue }
            guard take(UInt8(ascii: "}")) else { throw failure("',' or '}' was expected") }
            return .object(members)
        }
    }

    private mutating func array(depth: Int) throws(OCIArtifactError) -> JSONNode {
        try check(depth)
        position += 1
        var items: [JSONNode] = []
        skipBlanks()
        if take(UInt8(ascii: "]")) { return .array(items) }
        while true {
            items.append(try value(depth: depth))
            skipBlanks()
            if take(UInt8(ascii: ",")) { continue }
            guard take(UInt8(ascii: "]")) else { throw failure("',' or ']' was expected") }
            return .array(items)
        }
    }

    private mutating func literal(_ text: String, _ value: JSONNode) throws(OCIArtifactError) -> JSONNode {
        guard bytes[position...].starts(with: text.utf8) else { throw failure("'\(text)' was expected") }
        position += text.utf8.count
        return value
    }

    private mutating func number() throws(OCIArtifactError) -> JSONNode {
        let start = position
        var isInteger = true
        _ = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")) { try digits() }
        if take(UInt8(ascii: ".")) {
            isInteger = false
            try digits()
        }
        if peek == UInt8(ascii: "e") || peek == UInt8(ascii: "E") {
            isInteger = false
            position += 1
            if peek == UInt8(ascii: "+") || peek == UInt8(ascii: "-") { position += 1 }
            try digits()
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int(text) { return .integer(value) }
        return .number(text)
    }

    private mutating func digits() throws(OCIArtifactError) {
        let start = position
        while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        guard position > start else { throw failure("a digit was expected") }
    }

    // MARK: - Strings

    private mutating func string() throws(OCIArtifactError) -> String {
        let start = position
        position += 1
        var text: [UInt8] = []
        while true {
            guard let byte = peek else {
                position = start
                throw failure("a string is not closed")
            }
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let result = String(validating: text, as: UTF8.self) else {
                    position = start
                    throw failure("a string is not valid UTF-8")
                }
                return result
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20:
                position -= 1
                throw failure("a control character inside a string must be escaped")
            default: text.append(byte)
            }
        }
    }

    private mutating func escape(into text: inout [UInt8]) throws(OCIArtifactError) {
        guard let byte = peek else { throw failure("an escape is cut short") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hexUnit()
            if (0xd800..<0xdc00).contains(code) {
                guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
                    throw failure("half of a surrogate pair stands alone")
                }
                let low = try hexUnit()
                guard (0xdc00..<0xe000).contains(low) else { throw failure("half of a surrogate pair stands alone") }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw failure("half of a surrogate pair stands alone") }
            text += String(scalar).utf8
        default:
            position -= 1
            throw failure("an unknown escape")
        }
    }

    private mutating func hexUnit() throws(OCIArtifactError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw failure("four hex digits were expected after \\u")
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }

    // MARK: - Helpers

    private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        position += 1
        return true
    }

    private mutating func skipBlanks() {
        while let byte = peek, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    private func check(_ depth: Int) throws(OCIArtifactError) {
        guard depth <= maximumDepth else { throw failure("values are nested deeper than \(maximumDepth) levels") }
    }

    private func failure(_ what: String) -> OCIArtifactError {
        OCIArtifactError(.jsonInvalid, "not valid JSON at byte \(position): \(what)")
    }
}

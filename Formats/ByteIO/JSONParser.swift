extension JSONValue {
    /// Limits of parsing. The defaults suit files of unknown origin.
    public struct ParsingOptions: Sendable {
        /// How deep arrays and objects may nest.
        public var maximumDepth = 128
        public init() {}
    }

    /// Parses a whole text as one JSON value (RFC 8259), strictly.
    ///
    /// Refused: anything before or after the value but white space (also a byte order mark), invalid UTF-8, lone
    /// surrogates, duplicate keys, deep nesting, leading zeros, numbers beyond the range of `Double`.
    /// - Parameters:
    ///   - bytes: UTF-8.
    ///   - path: names the file in errors.
    /// - Throws: ``ByteIOError`` with code `invalidJSON` or `duplicateKey`, the reason and the byte offset.
    public static func parse(
        _ bytes: UnsafeRawBufferPointer, path: String? = nil, options: ParsingOptions = .init()
    ) throws(ByteIOError) -> JSONValue {
        var reader = JSONReader(bytes, path: path, options: options)
        return try reader.parseDocument()
    }

    /// Parses bytes held in an array.
    public static func parse(
        _ bytes: [UInt8], path: String? = nil, options: ParsingOptions = .init()
    ) throws(ByteIOError) -> JSONValue {
        let result: Result<JSONValue, ByteIOError> = bytes.withUnsafeBytes { buffer in
            do throws(ByteIOError) {
                return .success(try parse(buffer, path: path, options: options))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// Parses a string.
    public static func parse(text: String, path: String? = nil) throws(ByteIOError) -> JSONValue {
        try parse(Array(text.utf8), path: path)
    }
}

/// A recursive-descent parser whose recursion is bounded, of whole values or (`JSONReader.swift`) of one piece at a time.
///
/// The bytes are borrowed: whoever makes a reader keeps their owner alive for as long as the reader is used.
public struct JSONReader {
    let bytes: UnsafeRawBufferPointer
    let path: String?
    private let maximumDepth: Int
    /// The next byte to be read.
    public internal(set) var offset = 0
    var depth = 0
    /// Whether an object or array was opened and nothing of it was read yet.
    var isAtStart = false

    /// - Parameters:
    ///   - bytes: UTF-8.
    ///   - path: names the file in errors.
    public init(_ bytes: UnsafeRawBufferPointer, path: String? = nil, options: JSONValue.ParsingOptions = .init()) {
        self.bytes = bytes
        self.path = path
        maximumDepth = options.maximumDepth
    }

    mutating func parseDocument() throws(ByteIOError) -> JSONValue {
        skipSpace()
        let value = try parseValue()
        skipSpace()
        guard offset == bytes.count else { throw failure("unexpected \(found) after the JSON value") }
        return value
    }

    // MARK: - Values

    mutating func parseValue() throws(ByteIOError) -> JSONValue {
        guard offset < bytes.count else { throw failure("the text ends where a JSON value is expected") }
        switch bytes[offset] {
        case UInt8(ascii: "{"): return try parseObject()
        case UInt8(ascii: "["): return try parseArray()
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "t"):
            try expect("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try expect("false")
            return .bool(false)
        case UInt8(ascii: "n"):
            try expect("null")
            return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try parseNumber()
        default: throw failure("unexpected \(found) where a JSON value is expected")
        }
    }

    mutating func parseObject() throws(ByteIOError) -> JSONValue {
        try enter()
        var object = JSONObject()
        offset += 1
        skipSpace()
        if peek(UInt8(ascii: "}")) {
            offset += 1
            depth -= 1
            return .object(object)
        }
        while true {
            guard peek(UInt8(ascii: "\"")) else { throw failure("expected a key in quotes, found \(found)") }
            let keyOffset = offset
            let key = try parseString()
            skipSpace()
            guard peek(UInt8(ascii: ":")) else { throw failure("expected \":\" after a key, found \(found)") }
            offset += 1
            skipSpace()
            let value = try parseValue()
            guard object.append(key, value) else {
                throw ByteIOError(
                    .duplicateKey, "the key \(key.quotedForMessage) occurs twice in one object", path: path,
                    offset: keyOffset)
            }
            skipSpace()
            if peek(UInt8(ascii: ",")) {
                offset += 1
                skipSpace()
            } else if peek(UInt8(ascii: "}")) {
                offset += 1
                depth -= 1
                return .object(object)
            } else {
                throw failure("expected \",\" or \"}\" in an object, found \(found)")
            }
        }
    }

    mutating func parseArray() throws(ByteIOError) -> JSONValue {
        try enter()
        var elements: [JSONValue] = []
        offset += 1
        skipSpace()
        if peek(UInt8(ascii: "]")) {
            offset += 1
            depth -= 1
            return .array(elements)
        }
        while true {
            elements.append(try parseValue())
            skipSpace()
            if peek(UInt8(ascii: ",")) {
                offset += 1
                skipSpace()
            } else if peek(UInt8(ascii: "]")) {
                offset += 1
                depth -= 1
                return .array(elements)
            } else {
                throw failure("expected \",\" or \"]\" in an array, found \(found)")
            }
        }
    }

    // MARK: - Numbers

    mutating func parseNumber() throws(ByteIOError) -> JSONValue {
        let start = offset
        let isNegative = peek(UInt8(ascii: "-"))
        if isNegative { offset += 1 }
        guard let first = digit() else { throw failure("expected a digit, found \(found)") }
        var magnitude: UInt64? = UInt64(first)
        offset += 1
        if first == 0 {
            if digit() != nil { throw failure("a number must not start with 0 unless it is 0") }
        } else {
            while let next = digit() {
                if let value = magnitude {
                    let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
                    let (sum, overflowToo) = scaled.addingReportingOverflow(UInt64(next))
                    magnitude = overflow || overflowToo ? nil : sum
                }
                offset += 1
            }
        }
        var isWhole = true
        if peek(UInt8(ascii: ".")) {
            isWhole = false
            offset += 1
            try skipDigits()
        }
        if peek(UInt8(ascii: "e")) || peek(UInt8(ascii: "E")) {
            isWhole = false
            offset += 1
            if peek(UInt8(ascii: "+")) || peek(UInt8(ascii: "-")) { offset += 1 }
            try skipDigits()
        }
        if isWhole, let magnitude {
            if !isNegative {
                return Int64(exactly: magnitude).map { .integer($0) } ?? .unsigned(magnitude)
            }
            if magnitude != 0, magnitude <= UInt64(Int64.max) + 1 {
                return .integer(Int64(truncatingIfNeeded: 0 &- magnitude))
            }
        }
        let text = String(decoding: UnsafeRawBufferPointer(rebasing: bytes[start..<offset]), as: UTF8.self)
        guard let value = Double(text), value.isFinite else {
            throw ByteIOError(.invalidJSON, "a number is out of range", path: path, offset: start)
        }
        return .double(value)
    }

    private func digit() -> UInt8? {
        guard offset < bytes.count else { return nil }
        let value = bytes[offset] &- UInt8(ascii: "0")
        return value < 10 ? value : nil
    }

    private mutating func skipDigits() throws(ByteIOError) {
        guard digit() != nil else { throw failure("expected a digit, found \(found)") }
        while digit() != nil { offset += 1 }
    }

    // MARK: - Strings

    mutating func parseString() throws(ByteIOError) -> String {
        let start = offset
        let plainStart = offset + 1
        let (end, isASCII) = plainEnd(from: plainStart)
        if end < bytes.count, bytes[end] == UInt8(ascii: "\"") {
            offset = end + 1
            let plain = bytes[plainStart..<end]
            // Validating is slow, and says nothing new of ASCII.
            if isASCII { return String(decoding: UnsafeRawBufferPointer(rebasing: plain), as: UTF8.self) }
            return try decode(plain, at: start)
        }
        offset = end
        var collected = Array(bytes[plainStart..<offset])
        while offset < bytes.count {
            let byte = bytes[offset]
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                let text = collected.withUnsafeBytes { String(validating: $0, as: UTF8.self) }
                guard let text else { throw invalidUTF8(at: start) }
                return text
            case UInt8(ascii: "\\"):
                offset += 1
                try parseEscape(into: &collected)
            case 0..<0x20: throw failure("a control character must be escaped in a string")
            default:
                let end = plainEnd(from: offset).end
                collected.append(contentsOf: bytes[offset..<end])
                offset = end
            }
        }
        throw ByteIOError(.invalidJSON, "a string is not closed", path: path, offset: start)
    }

    /// The first byte from `start` on that ends or interrupts plain text in a string: a quote, an escape, a control
    /// character, the end; and whether all before it is ASCII.
    private func plainEnd(from start: Int) -> (end: Int, isASCII: Bool) {
        let bytes = bytes
        var position = start
        var all: UInt8 = 0
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte < 0x20 { break }
            all |= byte
            position += 1
        }
        return (position, all < 0x80)
    }

    private func decode(_ slice: Slice<UnsafeRawBufferPointer>, at start: Int) throws(ByteIOError) -> String {
        guard let text = String(validating: UnsafeRawBufferPointer(rebasing: slice), as: UTF8.self) else {
            throw invalidUTF8(at: start)
        }
        return text
    }

    mutating func parseEscape(into collected: inout [UInt8]) throws(ByteIOError) {
        guard offset < bytes.count else { throw failure("the text ends within an escape") }
        let byte = bytes[offset]
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): collected.append(byte)
        case UInt8(ascii: "b"): collected.append(0x08)
        case UInt8(ascii: "f"): collected.append(0x0C)
        case UInt8(ascii: "n"): collected.append(0x0A)
        case UInt8(ascii: "r"): collected.append(0x0D)
        case UInt8(ascii: "t"): collected.append(0x09)
        case UInt8(ascii: "u"):
            let unit = try parseHex()
            var scalar = UInt32(unit)
            if unit & 0xFC00 == 0xD800 {
                guard peek(UInt8(ascii: "\\")), offset + 1 < bytes.count, bytes[offset + 1] == UInt8(ascii: "u") else {
                    throw failure("a high surrogate stands alone")
                }
                offset += 2
                let low = try parseHex()
                guard low & 0xFC00 == 0xDC00 else { throw failure("a high surrogate stands alone") }
                scalar = 0x10000 + (UInt32(unit & 0x3FF) << 10) + UInt32(low & 0x3FF)
            }
            guard let value = Unicode.Scalar(scalar) else { throw failure("a low surrogate stands alone") }
            collected.append(contentsOf: UTF8.encode(value)!)
        default:
            offset -= 1
            throw failure("unknown escape")
        }
    }

    mutating func parseHex() throws(ByteIOError) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard offset < bytes.count, let nibble = Character(Unicode.Scalar(bytes[offset])).hexDigitValue,
                bytes[offset] < 0x80
            else { throw failure("expected four hexadecimal digits after \\u") }
            value = value << 4 | UInt16(nibble)
            offset += 1
        }
        return value
    }

    // MARK: - Helpers

    mutating func enter() throws(ByteIOError) {
        depth += 1
        guard depth <= maximumDepth else { throw failure("arrays and objects nest deeper than \(maximumDepth)") }
    }

    mutating func skipSpace() {
        let bytes = bytes
        var position = offset
        loop: while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x0A, 0x0D, 0x09: position += 1
            default: break loop
            }
        }
        offset = position
    }

    func peek(_ byte: UInt8) -> Bool { offset < bytes.count && bytes[offset] == byte }

    private mutating func expect(_ word: StaticString) throws(ByteIOError) {
        let length = word.utf8CodeUnitCount
        guard bytes.count - offset >= length,
            (0..<length).allSatisfy({ bytes[offset + $0] == word.utf8Start[$0] })
        else { throw failure("unexpected \(found) where a JSON value is expected") }
        offset += length
    }

    var found: String {
        guard offset < bytes.count else { return "the end" }
        let byte = bytes[offset]
        return byte > 0x20 && byte < 0x7F ? "\"\(Character(Unicode.Scalar(byte)))\"" : "byte \(byte)"
    }

    func failure(_ reason: String) -> ByteIOError {
        ByteIOError(.invalidJSON, "invalid JSON: \(reason)", path: path, offset: offset)
    }

    private func invalidUTF8(at start: Int) -> ByteIOError {
        ByteIOError(.invalidJSON, "invalid JSON: a string is not valid UTF-8", path: path, offset: start)
    }
}

extension String {
    /// The text in quotes, shortened, with control characters escaped: fit for one line of an error message.
    public var quotedForMessage: String {
        var text = "\""
        for scalar in unicodeScalars.prefix(80) {
            switch scalar.properties.generalCategory {
            case .control, .lineSeparator, .paragraphSeparator, .format, .privateUse, .unassigned, .surrogate:
                text += "\\u{" + String(scalar.value, radix: 16) + "}"
            default: text.unicodeScalars.append(scalar)
            }
        }
        if unicodeScalars.count > 80 { text += "…" }
        return text + "\""
    }
}

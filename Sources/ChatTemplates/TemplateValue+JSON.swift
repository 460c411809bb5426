// Reading values from JSON: messages, tools and variables usually come as such.

extension TemplateValue {
    /// The value of a JSON text. Objects keep the order of their keys; a key given again takes the later value.
    ///
    /// - Throws: ``TemplateError`` with line and column in the JSON text. Nesting is bounded, and a whole number has to
    ///   fit into 64 bits.
    public init(json: String) throws(TemplateError) {
        let scalars = json.unicodeScalars.map(\.value)
        var reader = JSONReader(scalars)
        do {
            self = try reader.readAll()
        } catch {
            throw error.located(in: scalars, at: reader.position)
        }
    }
}

private struct JSONReader {
    private let text: [UInt32]
    private(set) var position = 0
    private var depth = 0

    init(_ text: [UInt32]) { self.text = text }

    mutating func readAll() throws(TemplateError) -> TemplateValue {
        let value = try read()
        skipSpace()
        guard position == text.count else { throw fail("There is more behind the JSON value.") }
        return value
    }

    private func fail(_ message: String) -> TemplateError { TemplateError(.badJSON, message) }

    private mutating func skipSpace() {
        while position < text.count, [0x20, 9, 10, 13].contains(text[position]) { position += 1 }
    }

    private mutating func skip(_ scalar: UInt32) -> Bool {
        skipSpace()
        guard position < text.count, text[position] == scalar else { return false }
        position += 1
        return true
    }

    private mutating func read() throws(TemplateError) -> TemplateValue {
        skipSpace()
        guard position < text.count else { throw fail("A JSON value is expected.") }
        switch text[position] {
        case 0x22: return .string(try readString())
        case 0x5B, 0x7B:
            depth += 1
            defer { depth -= 1 }
            guard depth <= TemplateLimits.standard.nesting else {
                throw fail("The JSON nests more than \(TemplateLimits.standard.nesting) levels deep.")
            }
            return text[position] == 0x5B ? try readArray() : try readObject()
        case 0x2D, 0x30...0x39: return try readNumber()
        default:
            for (word, value) in [("null", TemplateValue.none), ("true", true), ("false", false)] {
                let scalars = word.unicodeScalars.map(\.value)
                if text[position...].starts(with: scalars) {
                    position += scalars.count
                    return value
                }
            }
            throw fail("A JSON value is expected.")
        }
    }

    private mutating func readArray() throws(TemplateError) -> TemplateValue {
        position += 1
        var items: [TemplateValue] = []
        if skip(0x5D) { return .list(items) }
        while true {
            items.append(try read())
            if skip(0x5D) { return .list(items) }
            guard skip(0x2C) else { throw fail("',' or ']' is expected.") }
        }
    }

    private mutating func readObject() throws(TemplateError) -> TemplateValue {
        position += 1
        var pairs: [(TemplateValue, TemplateValue)] = []
        if skip(0x7D) { return .dictionary(TemplateDictionary(pairs: pairs)) }
        while true {
            skipSpace()
            guard position < text.count, text[position] == 0x22 else { throw fail("A key is expected.") }
            let key = try readString()
            guard skip(0x3A) else { throw fail("':' is expected.") }
            pairs.append((.string(key), try read()))
            if skip(0x7D) { return .dictionary(TemplateDictionary(pairs: pairs)) }
            guard skip(0x2C) else { throw fail("',' or '}' is expected.") }
        }
    }

    private mutating func readNumber() throws(TemplateError) -> TemplateValue {
        let start = position
        func isDigit(_ place: Int) -> Bool { place < text.count && (0x30...0x39).contains(text[place]) }
        func at(_ scalars: Set<UInt32>) -> Bool { position < text.count && scalars.contains(text[position]) }
        var isWhole = true
        if at([0x2D]) { position += 1 }
        guard isDigit(position) else { throw fail("A digit is expected.") }
        if text[position] == 0x30 && isDigit(position + 1) { throw fail("A number has no leading zero.") }
        while isDigit(position) { position += 1 }
        if at([0x2E]) {
            isWhole = false
            position += 1
            guard isDigit(position) else { throw fail("A digit is expected behind the point.") }
            while isDigit(position) { position += 1 }
        }
        if at([0x65, 0x45]) {
            isWhole = false
            position += 1
            if at([0x2B, 0x2D]) { position += 1 }
            guard isDigit(position) else { throw fail("A digit is expected in the exponent.") }
            while isDigit(position) { position += 1 }
        }
        let digits = TemplateText(text[start..<position]).string
        if isWhole {
            guard let value = Int(digits) else { throw fail("The number does not fit into 64 bits.") }
            return .int(value)
        }
        guard let value = Double(digits) else { throw fail("The number is not understood.") }
        return .double(value)
    }

    private mutating func readString() throws(TemplateError) -> TemplateText {
        position += 1
        var result = TemplateText(scalars: [])
        while position < text.count {
            let scalar = text[position]
            position += 1
            switch scalar {
            case 0x22: return result
            case 0..<0x20: throw fail("A control character stands in a string.")
            case 0x5C:
                guard position < text.count else { break }
                let escape = text[position]
                position += 1
                switch escape {
                case 0x22, 0x5C, 0x2F: result.scalars.append(escape)
                case 0x62: result.scalars.append(8)
                case 0x66: result.scalars.append(12)
                case 0x6E: result.scalars.append(10)
                case 0x72: result.scalars.append(13)
                case 0x74: result.scalars.append(9)
                case 0x75: result.scalars.append(try readUnicode())
                default: throw fail("The escape in a string is not understood.")
                }
            default: result.scalars.append(scalar)
            }
        }
        throw fail("A string has no end.")
    }

    private mutating func readUnicode() throws(TemplateError) -> UInt32 {
        let high = try readHexadecimal()
        guard (0xD800..<0xDC00).contains(high), position + 1 < text.count, text[position] == 0x5C,
            text[position + 1] == 0x75
        else { return high }
        let mark = position
        position += 2
        let low = try readHexadecimal()
        guard (0xDC00..<0xE000).contains(low) else {
            position = mark
            return high
        }
        return 0x10000 + (high - 0xD800) << 10 + (low - 0xDC00)
    }

    private mutating func readHexadecimal() throws(TemplateError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard position < text.count, text[position] < 0x80,
                let digit = Character(TemplateText.scalar(text[position])).hexDigitValue
            else { throw fail("An escape needs four hexadecimal digits.") }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }
}

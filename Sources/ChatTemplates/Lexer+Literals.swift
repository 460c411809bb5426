// Numbers and strings, as Python writes them.

extension Lexer {
    /// An integer (decimal, `0x`, `0o`, `0b`) or a decimal number; digits may be grouped by single underscores.
    mutating func readNumber() throws(TemplateError) {
        let start = position
        let isAfterDot = start > 0 && source[start - 1] == 0x2E
        if source[start] == 0x30, start + 1 < source.count {
            let radix: Int? =
                switch source[start + 1] | 0x20 {
                case 0x78: 16
                case 0x6F: 8
                case 0x62: 2
                default: nil
                }
            if let radix {
                position = start + 2
                let digits = takeDigits(radix, leadingUnderscore: true)
                if !digits.isEmpty {
                    try addInteger(digits, radix, start)
                    return
                }
                position = start
            }
        }
        var number = takeDigits(10, leadingUnderscore: false)
        let integerEnd = position
        var isDouble = false
        if !isAfterDot {
            if position + 1 < source.count, source[position] == 0x2E, isDigit(source[position + 1], 10) {
                position += 1
                number += "." + takeDigits(10, leadingUnderscore: false)
                isDouble = true
            }
            if position + 1 < source.count, source[position] | 0x20 == 0x65 {
                var place = position + 1
                var exponent = "e"
                if source[place] == 0x2B || source[place] == 0x2D {
                    exponent += source[place] == 0x2D ? "-" : ""
                    place += 1
                }
                if place < source.count, isDigit(source[place], 10) {
                    position = place
                    number += exponent + takeDigits(10, leadingUnderscore: false)
                    isDouble = true
                }
            }
        }
        if isDouble {
            tokens.append(Token(kind: .double, value: .double(Double(number) ?? .infinity), offset: start))
            return
        }
        position = integerEnd
        // A decimal integer has no leading zeros: "012" is the two numbers 0 and 12.
        if number.count > 1, number.first == "0" {
            let zeros = number.prefix { $0 == "0" }
            if zeros.count < number.count {
                while position > start && source[position - 1] != 0x30 { position -= 1 }
                number = "0"
            }
        }
        try addInteger(number, 10, start)
    }

    private func isDigit(_ scalar: UInt32, _ radix: Int) -> Bool {
        guard let scalar = Unicode.Scalar(scalar), scalar.isASCII else { return false }
        return (Character(scalar).hexDigitValue).map { $0 < radix } ?? false
    }

    private mutating func takeDigits(_ radix: Int, leadingUnderscore: Bool) -> String {
        var digits = ""
        while position < source.count {
            if isDigit(source[position], radix) {
                digits.unicodeScalars.append(TemplateText.scalar(source[position]))
                position += 1
            } else if source[position] == 0x5F, leadingUnderscore || !digits.isEmpty, position + 1 < source.count,
                isDigit(source[position + 1], radix)
            {
                position += 1
            } else {
                break
            }
        }
        return digits
    }

    private mutating func addInteger(_ digits: String, _ radix: Int, _ start: Int) throws(TemplateError) {
        guard let value = Int(digits, radix: radix) else {
            throw fail("The number does not fit into 64 bits.", start)
        }
        tokens.append(Token(kind: .integer, value: .int(value), offset: start))
    }

    // MARK: - Strings

    mutating func readString(quote: UInt32) throws(TemplateError) {
        let start = position
        position += 1
        var text = TemplateText(scalars: [])
        while position < source.count {
            let scalar = source[position]
            position += 1
            if scalar == quote {
                tokens.append(Token(kind: .string, text: text, offset: start))
                return
            }
            if scalar == 0x5C {
                guard position < source.count else { break }
                try readEscape(into: &text)
            } else {
                text.scalars.append(scalar)
            }
        }
        throw fail("A string has no end.", start)
    }

    /// What follows a backslash. One that means nothing stays, with its backslash.
    private mutating func readEscape(into text: inout TemplateText) throws(TemplateError) {
        let start = position - 1
        let scalar = source[position]
        position += 1
        switch scalar {
        case 0x0A: break
        case 0x5C, 0x27, 0x22: text.scalars.append(scalar)
        case 0x61: text.scalars.append(7)
        case 0x62: text.scalars.append(8)
        case 0x66: text.scalars.append(12)
        case 0x6E: text.scalars.append(10)
        case 0x72: text.scalars.append(13)
        case 0x74: text.scalars.append(9)
        case 0x76: text.scalars.append(11)
        case 0x30...0x37:
            var value = scalar - 0x30
            for _ in 0..<2 where position < source.count && (0x30...0x37).contains(source[position]) {
                value = value * 8 + source[position] - 0x30
                position += 1
            }
            text.scalars.append(value)
        case 0x78: text.scalars.append(try readHexadecimal(2, start))
        case 0x75: text.scalars.append(try readHexadecimal(4, start))
        case 0x55: text.scalars.append(try readHexadecimal(8, start))
        case 0x4E: throw fail("Characters by name, \\N{…}, are not supported.", start)
        case 0x80...:
            // Python reaches such a scalar as an escape of its own, so that only that escape's text remains.
            let width = scalar < 0x100 ? 2 : scalar < 0x10000 ? 4 : 8
            let digits = String(scalar, radix: 16)
            text.append(
                "\\" + (width == 2 ? "x" : width == 4 ? "u" : "U") + String(repeating: "0", count: width - digits.count)
                    + digits)
        default: text.scalars += [0x5C, scalar]
        }
    }

    private mutating func readHexadecimal(_ count: Int, _ start: Int) throws(TemplateError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard position < source.count, isDigit(source[position], 16),
                let digit = Character(TemplateText.scalar(source[position])).hexDigitValue
            else { throw fail("An escape needs \(count) hexadecimal digits.", start) }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        guard value <= 0x10FFFF else { throw fail("There is no such character.", start) }
        return value
    }
}

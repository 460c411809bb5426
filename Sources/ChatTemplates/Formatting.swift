import Foundation

/// How one value is to be written: `[[fill]align][sign][#][0][width][,][.precision][type]`.
struct FormatSpecification {
    var fill: UInt32 = 0x20
    /// `<`, `>`, `^`, `=`, or none.
    var align: Character?
    var sign: Character = "-"
    var isAlternate = false
    var width = 0
    var groups: Character?
    var precision: Int?
    var type: Character?

    /// Reads a specification as `str.format` has it.
    init(_ text: TemplateText) throws(TemplateError) {
        var position = 0
        func peek(_ place: Int) -> Character? {
            place < text.count ? Character(TemplateText.scalar(text[place])) : nil
        }
        if let align = peek(1), "<>^=".contains(align) {
            fill = text.scalars[0]
            self.align = align
            position = 2
        } else if let align = peek(0), "<>^=".contains(align) {
            self.align = align
            position = 1
        }
        if let sign = peek(position), "+- ".contains(sign) {
            self.sign = sign
            position += 1
        }
        if peek(position) == "#" {
            isAlternate = true
            position += 1
        }
        if peek(position) == "0" {
            if align == nil {
                fill = 0x30
                align = "="
            }
            position += 1
        }
        func number() throws(TemplateError) -> Int? {
            var value: Int?
            while let digit = peek(position)?.wholeNumberValue, text[position] < 0x80 {
                value = (value ?? 0) * 10 + digit
                guard let value, value <= TemplateLimits.sourceLength else {
                    throw TemplateError(.limit, "A width in a format is too large.")
                }
                position += 1
            }
            return value
        }
        width = try number() ?? 0
        if let group = peek(position), ",_".contains(group) {
            groups = group
            position += 1
        }
        if peek(position) == "." {
            position += 1
            guard let value = try number() else { throw TemplateError(.value, "A precision is missing in a format.") }
            precision = value
        }
        if let type = peek(position) {
            self.type = type
            position += 1
        }
        guard position == text.count else {
            throw TemplateError(.value, "The format '\(text)' is not understood.")
        }
    }

    init() {}

    /// Whether nothing is specified, so that `True` stays a word and does not become 1.
    var isPlain: Bool {
        align == nil && sign == "-" && !isAlternate && width == 0 && groups == nil && precision == nil && type == nil
    }
}

extension Evaluator {
    /// Writes a value as a specification says.
    func formatted(_ value: TemplateValue, _ format: FormatSpecification) throws(TemplateError) -> TemplateText {
        if case .undefined(let undefined) = value, format.type != nil || format.width > 0 { throw undefined.error }
        switch value {
        case .bool where format.isPlain, .none, .string, .list, .tuple, .dictionary, .object, .undefined:
            guard format.type == nil || format.type == "s", format.align != "=", format.groups == nil else {
                throw TemplateError(.value, "The format does not go with a value of type \(value.typeName).")
            }
            var text = try text(value)
            if let precision = format.precision { text = text.slice(0, min(precision, text.count)) }
            return try aligned(text, prefix: 0, format, default: "<")
        default:
            let number = try numberText(value, format)
            let text = TemplateText(number.sign + number.digits)
            return try aligned(text, prefix: number.sign.count, format, default: ">")
        }
    }

    private func aligned(
        _ text: TemplateText, prefix: Int, _ format: FormatSpecification, default fallback: Character
    ) throws(TemplateError) -> TemplateText {
        switch format.align ?? fallback {
        case "<": return try padded(text, format.width, side: .left, with: format.fill)
        case "^":
            guard format.width > text.count else { return text }
            let before = (format.width - text.count) / 2
            let left = try padded(text, text.count + before, side: .right, with: format.fill)
            return try padded(left, format.width, side: .left, with: format.fill)
        case "=":
            var result = text.slice(0, prefix)
            result.append(
                try padded(
                    text.slice(prefix, text.count), format.width - prefix, side: .right, with: format.fill))
            return result
        default: return try padded(text, format.width, side: .right, with: format.fill)
        }
    }

    private func numberText(
        _ value: TemplateValue, _ format: FormatSpecification
    ) throws(TemplateError) -> (sign: String, digits: String) {
        let type = format.type
        if let integer = value.integer, type == nil || "dbcoxXn".contains(type ?? "d") {
            guard format.precision == nil else { throw TemplateError(.value, "An integer has no precision.") }
            let sign = integer < 0 ? "-" : format.sign == "-" ? "" : String(format.sign)
            let radix = type == "b" ? 2 : type == "o" ? 8 : type == "x" || type == "X" ? 16 : 10
            if type == "c" {
                guard let scalar = UInt32(exactly: integer).flatMap({ Unicode.Scalar($0) }) else {
                    throw TemplateError(.value, "There is no such character.")
                }
                return ("", String(Character(scalar)))
            }
            var digits = String(integer.magnitude, radix: radix, uppercase: type == "X")
            if let group = format.groups { digits = grouped(digits, group, by: radix == 10 ? 3 : 4) }
            if format.isAlternate, radix != 10, let type { return (sign + "0" + String(type), digits) }
            return (sign, digits)
        }
        guard let number = value.number else {
            throw TemplateError(.value, "The format does not go with a value of type \(value.typeName).")
        }
        let isNegative = number.sign == .minus && !number.isNaN
        let sign = isNegative ? "-" : format.sign == "-" ? "" : String(format.sign)
        let precision = min(format.precision ?? 6, 100)
        let magnitude = number.magnitude
        var digits: String
        switch type {
        case "f", "F": digits = NumberText.fixed(magnitude, decimals: precision)
        case "%": digits = NumberText.fixed(magnitude * 100, decimals: precision) + "%"
        case "e", "E": digits = String(format: type == "e" ? "%.*e" : "%.*E", precision, magnitude)
        case "g", "G": digits = String(format: type == "g" ? "%.*g" : "%.*G", precision, magnitude)
        case nil where format.precision == nil: digits = NumberText.python(magnitude)
        case nil:
            digits = String(format: "%.*g", precision, magnitude)
            if !digits.contains("e"), !digits.contains("."), magnitude.isFinite { digits += ".0" }
        default: throw TemplateError(.value, "The format does not go with a value of type \(value.typeName).")
        }
        if let group = format.groups,
            let end = digits.firstIndex(where: { !$0.isNumber }) ?? digits.endIndex as String.Index?
        {
            digits = grouped(String(digits[..<end]), group, by: 3) + digits[end...]
        }
        return (sign, digits)
    }

    private func grouped(_ digits: String, _ separator: Character, by size: Int) -> String {
        var result = ""
        for (index, digit) in digits.enumerated() {
            if index > 0 && (digits.count - index) % size == 0 { result.append(separator) }
            result.append(digit)
        }
        return result
    }

    // MARK: - `format % values`

    func percentFormat(_ format: TemplateText, _ values: TemplateValue) throws(TemplateError) -> TemplateText {
        var arguments: [TemplateValue] = [values]
        if case .tuple(let list) = values { arguments = list.items }
        var used = 0
        func next() throws(TemplateError) -> TemplateValue {
            guard used < arguments.count else { throw TemplateError(.type, "A format has more places than values.") }
            used += 1
            return arguments[used - 1]
        }
        var result = TemplateText(scalars: [])
        var isNamed = false
        var position = 0
        while position < format.count {
            guard format[position] == 0x25 else {
                result.scalars.append(format.scalars[position])
                position += 1
                continue
            }
            position += 1
            var value: TemplateValue?
            if position < format.count, format[position] == 0x28 {
                guard let end = format.range(of: ")", from: position), case .dictionary(let dictionary) = values else {
                    throw TemplateError(.type, "A format with names wants a dictionary.")
                }
                let key = format.slice(position + 1, end)
                guard let found = dictionary[.string(key)] else {
                    throw TemplateError(.value, "The value '\(key)' of a format is not given.")
                }
                value = found
                isNamed = true
                position = end + 1
            }
            let start = position
            while position < format.count,
                "#0- +.123456789".unicodeScalars.contains(TemplateText.scalar(format[position]))
            {
                position += 1
            }
            guard position < format.count else { throw TemplateError(.value, "A format ends behind '%'.") }
            let type = Character(TemplateText.scalar(format[position]))
            let flags = format.slice(start, position)
            position += 1
            if type == "%" {
                result.append("%")
                continue
            }
            if value == nil { value = try next() }
            let part = try percentPart(value ?? .none, flags, type)
            try budget.chargeText(part.count + result.count / 64)
            result.append(part)
        }
        if !isNamed, used < arguments.count {
            if case .tuple = values { throw TemplateError(.type, "A format has fewer places than values.") }
            if used == 0 {
                switch values {
                case .dictionary, .list, .object: break
                default: throw TemplateError(.type, "A format has fewer places than values.")
                }
            }
        }
        try budget.chargeText(result.count)
        return result
    }

    private func percentPart(
        _ value: TemplateValue, _ flags: TemplateText, _ type: Character
    ) throws(TemplateError) -> TemplateText {
        // The flags of % in the order that a specification has them.
        var rest = flags.string[...]
        var isLeft = false
        var isZero = false
        var sign = ""
        var alternate = ""
        while let flag = rest.first, "#0- +".contains(flag) {
            rest.removeFirst()
            switch flag {
            case "-": isLeft = true
            case "0": isZero = true
            case "+": sign = "+"
            case " ": sign = sign.isEmpty ? " " : sign
            default: alternate = "#"
            }
        }
        var size = String(rest)
        if size.hasSuffix(".") { size += "0" }
        var value = value
        var type = type
        switch type {
        case "s", "r", "a":
            value = .string(type == "s" ? try text(value) : try representation(value))
            type = "s"
            isZero = false
            sign = ""
            alternate = ""
        case "d", "i", "u":
            if case .undefined(let undefined) = value { throw undefined.error }
            if case .double(let number) = value {
                guard let integer = Int(exactly: number.rounded(.towardZero)) else { throw Operators.tooLarge }
                value = .int(integer)
            }
            guard value.integer != nil else {
                throw TemplateError(.type, "%\(type) wants a number, not \(value.typeName).")
            }
            value = .int(value.integer ?? 0)
            type = "d"
        case "x", "X", "o": break
        case "c": if value.text?.count == 1 { type = "s" }
        case "f", "F", "e", "E", "g", "G": break
        default: throw TemplateError(.value, "There is no format '%\(type)'.")
        }
        let align = isLeft ? "<" : isZero ? "0=" : ">"
        return try formatted(value, FormatSpecification(TemplateText(align + sign + alternate + size + String(type))))
    }
}

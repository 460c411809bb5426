// `str.format`.

extension Evaluator {
    func braceFormat(
        _ format: TemplateText, _ positional: [TemplateValue], _ keywords: [(String, TemplateValue)]
    ) throws(TemplateError) -> TemplateText {
        var result = TemplateText(scalars: [])
        var automatic = 0
        try self.format(format, positional, keywords, &automatic, into: &result, level: 0)
        try budget.chargeText(result.count)
        return result
    }

    private func format(
        _ format: TemplateText, _ positional: [TemplateValue], _ keywords: [(String, TemplateValue)],
        _ automatic: inout Int, into result: inout TemplateText, level: Int
    ) throws(TemplateError) {
        guard level < 2 else { throw TemplateError(.value, "A format is nested too deeply.") }
        var position = 0
        while position < format.count {
            let scalar = format[position]
            let isDoubled = position + 1 < format.count && format[position + 1] == scalar
            switch scalar {
            case 0x7B where !isDoubled:
                let end = try closingBrace(format, position)
                let part = try field(format.slice(position + 1, end), positional, keywords, &automatic, level)
                try budget.chargeText(part.count + result.count / 64)
                result.append(part)
                position = end + 1
            case 0x7D where !isDoubled: throw TemplateError(.value, "A format has a '}' that closes nothing.")
            default:
                result.scalars.append(format.scalars[position])
                position += scalar == 0x7B || scalar == 0x7D ? 2 : 1
            }
        }
    }

    private func closingBrace(_ format: TemplateText, _ start: Int) throws(TemplateError) -> Int {
        var open = 0
        for position in start..<format.count {
            if format[position] == 0x7B { open += 1 }
            if format[position] == 0x7D { open -= 1 }
            if open == 0 { return position }
        }
        throw TemplateError(.value, "A format has a '{' without '}'.")
    }

    /// `name[.attribute|[index]]…[!conversion][:specification]`
    private func field(
        _ field: TemplateText, _ positional: [TemplateValue], _ keywords: [(String, TemplateValue)],
        _ automatic: inout Int, _ level: Int
    ) throws(TemplateError) -> TemplateText {
        var nameEnd = 0
        var brackets = 0
        while nameEnd < field.count {
            let scalar = field[nameEnd]
            if scalar == 0x5B { brackets += 1 }
            if scalar == 0x5D { brackets -= 1 }
            if brackets == 0 && (scalar == 0x21 || scalar == 0x3A) { break }
            nameEnd += 1
        }
        var value = try lookup(field.slice(0, nameEnd), positional, keywords, &automatic)
        var rest = nameEnd
        if rest < field.count, field[rest] == 0x21 {
            guard rest + 1 < field.count else { throw TemplateError(.value, "A conversion is missing in a format.") }
            switch field[rest + 1] {
            case 0x73: value = .string(try text(value))
            case 0x72, 0x61: value = .string(try representation(value))
            default: throw TemplateError(.value, "A format has the conversions !s and !r.")
            }
            rest += 2
        }
        guard rest < field.count else { return try formatted(value, FormatSpecification()) }
        guard field[rest] == 0x3A else { throw TemplateError(.value, "':' is expected in a format.") }
        var specification = TemplateText(scalars: [])
        try self.format(
            field.slice(rest + 1, field.count), positional, keywords, &automatic, into: &specification, level: level + 1
        )
        return try formatted(value, FormatSpecification(specification))
    }

    private func lookup(
        _ path: TemplateText, _ positional: [TemplateValue], _ keywords: [(String, TemplateValue)],
        _ automatic: inout Int
    ) throws(TemplateError) -> TemplateValue {
        var end = 0
        while end < path.count && path[end] != 0x2E && path[end] != 0x5B { end += 1 }
        let name = path.slice(0, end).string
        var value: TemplateValue
        if name.isEmpty || name.allSatisfy({ $0.isASCII && $0.isNumber }) {
            let index = name.isEmpty ? automatic : Int(name) ?? .max
            if name.isEmpty { automatic += 1 }
            guard index < positional.count else { throw TemplateError(.value, "A format has more places than values.") }
            value = positional[index]
        } else {
            guard let found = keywords.first(where: { $0.0 == name }) else {
                throw TemplateError(.value, "The value '\(name)' of a format is not given.")
            }
            value = found.1
        }
        while end < path.count {
            try budget.charge(1)
            let start = end + 1
            if path[end] == 0x2E {
                end = start
                while end < path.count && path[end] != 0x2E && path[end] != 0x5B { end += 1 }
                value = try attribute(path.slice(start, end), of: value)
            } else {
                guard path[end] == 0x5B, let close = path.range(of: "]", from: start) else {
                    throw TemplateError(.value, "A format has '[' without ']'.")
                }
                let key = path.slice(start, close)
                value = try item(Int(key.string).map { .int($0) } ?? .string(key), of: value)
                end = close + 1
            }
        }
        return value
    }
}

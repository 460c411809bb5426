/// JSON as Python's `json.dumps` writes it.
struct JSONText {
    var escapesNonASCII = false
    /// `nil` for one line.
    var indent: TemplateText?
    var itemSeparator: TemplateText = ", "
    var keySeparator: TemplateText = ": "
    var sortsKeys = false

    /// JSON of a value.
    func text(_ value: TemplateValue, _ evaluator: Evaluator) throws(TemplateError) -> TemplateText {
        var result = TemplateText(scalars: [])
        try write(value, &result, level: 0, evaluator)
        try evaluator.budget.chargeText(result.count)
        return result
    }

    private func write(
        _ value: TemplateValue, _ result: inout TemplateText, level: Int, _ evaluator: Evaluator
    ) throws(TemplateError) {
        try evaluator.budget.charge(Budget.step / 2)
        switch value {
        case .none: result.append("null")
        case .bool(let value): result.append(value ? "true" : "false")
        case .int(let value): result.append(String(value))
        case .double(let value): result.append(number(value))
        case .string(let text):
            try evaluator.budget.charge(text.count / 8)
            write(text, &result)
        case .list(let list), .tuple(let list):
            try writeItems(list.items, "[", "]", &result, level, evaluator)
        case .dictionary(let dictionary):
            try writePairs(dictionary, &result, level, evaluator)
        default:
            throw TemplateError(.type, "A value of type \(value.typeName) cannot be written as JSON.")
        }
    }

    private func writeItems(
        _ items: [TemplateValue], _ open: String, _ close: String, _ result: inout TemplateText, _ level: Int,
        _ evaluator: Evaluator
    ) throws(TemplateError) {
        result.append(open)
        for (index, item) in items.enumerated() {
            if index > 0 { result.append(itemSeparator) }
            try breakLine(&result, level + 1, evaluator)
            try write(item, &result, level: level + 1, evaluator)
        }
        if !items.isEmpty { try breakLine(&result, level, evaluator) }
        result.append(close)
    }

    private func writePairs(
        _ dictionary: TemplateDictionary, _ result: inout TemplateText, _ level: Int, _ evaluator: Evaluator
    ) throws(TemplateError) {
        var pairs = dictionary.pairs
        if sortsKeys { pairs = try evaluator.sorted(pairs) { $0.0 } }
        result.append("{")
        for (index, pair) in pairs.enumerated() {
            if index > 0 { result.append(itemSeparator) }
            try breakLine(&result, level + 1, evaluator)
            switch pair.0 {
            case .string(let text): write(text, &result)
            case .none: result.append("\"null\"")
            case .bool(let value): result.append(value ? "\"true\"" : "\"false\"")
            case .int(let value): result.append("\"\(value)\"")
            case .double(let value): result.append("\"\(number(value))\"")
            default:
                throw TemplateError(.type, "A key of type \(pair.0.typeName) cannot be written as JSON.")
            }
            result.append(keySeparator)
            try write(pair.1, &result, level: level + 1, evaluator)
        }
        if !pairs.isEmpty { try breakLine(&result, level, evaluator) }
        result.append("}")
    }

    private func breakLine(
        _ result: inout TemplateText, _ level: Int, _ evaluator: Evaluator
    ) throws(TemplateError) {
        guard let indent else { return }
        try evaluator.budget.chargeText(result.count > evaluator.budget.limits.textLength ? .max : indent.count * level)
        result.append("\n")
        for _ in 0..<level { result.append(indent) }
    }

    private func number(_ value: Double) -> String {
        value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Infinity" : "Infinity") : NumberText.python(value)
    }

    private func write(_ text: TemplateText, _ result: inout TemplateText) {
        result.append("\"")
        for element in text.scalars {
            let mark = element & TemplateText.inputMark
            let value = element & TemplateText.valueMask
            switch value {
            case 0x22, 0x5C: result.scalars += [0x5C | mark, element]
            case 10: Quoting.escape("\\n", mark, &result)
            case 13: Quoting.escape("\\r", mark, &result)
            case 9: Quoting.escape("\\t", mark, &result)
            case 12: Quoting.escape("\\f", mark, &result)
            case 8: Quoting.escape("\\b", mark, &result)
            case 0..<0x20: Quoting.escape("\\u" + Quoting.hexadecimal(value, 4), mark, &result)
            case 0x7F... where escapesNonASCII:
                if value >= 0x10000 {
                    let high = 0xD800 + (value - 0x10000) >> 10
                    let low = 0xDC00 + (value - 0x10000) & 0x3FF
                    Quoting.escape(
                        "\\u" + Quoting.hexadecimal(high, 4) + "\\u" + Quoting.hexadecimal(low, 4), mark, &result)
                } else {
                    Quoting.escape("\\u" + Quoting.hexadecimal(value, 4), mark, &result)
                }
            default: result.scalars.append(element)
            }
        }
        result.append("\"")
    }
}

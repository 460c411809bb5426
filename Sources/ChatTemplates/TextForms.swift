import Foundation

// Python's str and repr.

extension Evaluator {
    /// `str(value)`: what `{{ … }}` prints.
    func text(_ value: TemplateValue) throws(TemplateError) -> TemplateText {
        if case .string(let text) = value { return text }
        if case .undefined = value { return TemplateText(scalars: []) }
        return try representation(value)
    }

    /// `repr(value)`: as in `str` of a list.
    func representation(_ value: TemplateValue) throws(TemplateError) -> TemplateText {
        var result = TemplateText(scalars: [])
        try represent(value, into: &result, depth: 0)
        try budget.chargeText(result.count)
        return result
    }

    private func represent(
        _ value: TemplateValue, into result: inout TemplateText, depth: Int
    ) throws(TemplateError) {
        try budget.charge(Budget.step / 2)  // a node costs some calls and appends, more than a unit of copying
        try budget.check(depth: depth)
        switch value {
        case .undefined: result.append("Undefined")
        case .none: result.append("None")
        case .bool(let value): result.append(value ? "True" : "False")
        case .int(let value): result.append(String(value))
        case .double(let value): result.append(NumberText.python(value))
        case .string(let text):
            try budget.charge(text.count / 8)
            Quoting.python(text, into: &result)
        case .list(let list):
            result.append("[")
            try represent(list.items, into: &result, depth: depth + 1)
            result.append("]")
        case .tuple(let list):
            result.append("(")
            try represent(list.items, into: &result, depth: depth + 1)
            result.append(list.items.count == 1 ? ",)" : ")")
        case .dictionary(let dictionary):
            try represent(dictionary.pairs, into: &result, depth: depth + 1)
        case .object(let object):
            if let namespace = object as? TemplateNamespace {
                result.append("<Namespace ")
                let pairs = namespace.names.map { (TemplateValue.string($0), namespace.values[$0] ?? .none) }
                try represent(pairs, into: &result, depth: depth + 1)
                result.append(">")
            } else if let sequence = object as? TemplateSequence, sequence.length != nil, !sequence.isRange {
                result.append(sequence.typeName + "([")
                try represent(sequence.items, into: &result, depth: depth + 1)
                result.append("])")
            } else {
                result.append(object.representation)
            }
        }
    }

    private func represent(
        _ items: [TemplateValue], into result: inout TemplateText, depth: Int
    ) throws(TemplateError) {
        for (index, item) in items.enumerated() {
            if index > 0 { result.append(", ") }
            try represent(item, into: &result, depth: depth)
        }
    }

    private func represent(
        _ pairs: [(TemplateValue, TemplateValue)], into result: inout TemplateText, depth: Int
    ) throws(TemplateError) {
        result.append("{")
        for (index, pair) in pairs.enumerated() {
            if index > 0 { result.append(", ") }
            try represent(pair.0, into: &result, depth: depth)
            result.append(": ")
            try represent(pair.1, into: &result, depth: depth)
        }
        result.append("}")
    }
}

/// Numbers as Python writes them.
enum NumberText {
    /// The shortest digits that read back as the same number; an exponent from 1e16 on and below 1e-4.
    static func python(_ value: Double) -> String {
        if value.isNaN { return "nan" }
        if value.isInfinite { return value < 0 ? "-inf" : "inf" }
        if value == 0 { return value.sign == .minus ? "-0.0" : "0.0" }
        var (digits, exponent) = shortest(value.magnitude)
        let sign = value < 0 ? "-" : ""
        if exponent < -4 || exponent >= 16 {
            let rest = digits.count > 1 ? "." + digits.dropFirst() : ""
            let magnitude = abs(exponent)
            return
                "\(sign)\(digits.prefix(1))\(rest)e\(exponent < 0 ? "-" : "+")\(magnitude < 10 ? "0" : "")\(magnitude)"
        }
        if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + digits }
        if digits.count <= exponent + 1 {
            digits += String(repeating: "0", count: exponent + 1 - digits.count)
            return sign + digits + ".0"
        }
        return sign + digits.prefix(exponent + 1) + "." + digits.dropFirst(exponent + 1)
    }

    /// Digits d₀d₁… and the exponent e of d₀.d₁… × 10ᵉ. Swift's description has the same digits as Python's.
    private static func shortest(_ value: Double) -> (String, Int) {
        let parts = value.description.lowercased().split(separator: "e")
        var exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
        let halves = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        let whole = String(halves[0])
        var digits = whole + (halves.count > 1 ? String(halves[1]) : "")
        exponent += whole.count - 1
        let zeros = digits.prefix { $0 == "0" }.count
        digits = String(digits.dropFirst(zeros))
        exponent -= zeros
        while digits.count > 1 && digits.hasSuffix("0") { digits.removeLast() }
        return (digits, exponent)
    }

    /// With a fixed number of decimals (at most 100), correctly rounded.
    static func fixed(_ value: Double, decimals: Int) -> String {
        if value.isNaN { return "nan" }
        if value.isInfinite { return value < 0 ? "-inf" : "inf" }
        return String(format: "%.*f", min(max(decimals, 0), 100), value)
    }
}

/// Text in quotes as Python writes it.
enum Quoting {
    static func python(_ text: TemplateText, into result: inout TemplateText) {
        var hasSingle = false
        var hasDouble = false
        for index in 0..<text.count {
            if text[index] == 0x27 { hasSingle = true }
            if text[index] == 0x22 { hasDouble = true }
        }
        let quote: UInt32 = hasSingle && !hasDouble ? 0x22 : 0x27
        result.scalars.append(quote)
        for element in text.scalars {
            let mark = element & TemplateText.inputMark
            let value = element & TemplateText.valueMask
            switch value {
            case quote, 0x5C: result.scalars += [0x5C | mark, element]
            case 10: escape("\\n", mark, &result)
            case 13: escape("\\r", mark, &result)
            case 9: escape("\\t", mark, &result)
            case 0x20...0x7E: result.scalars.append(element)
            default:
                if value >= 0x80 && isPrintable(value) {
                    result.scalars.append(element)
                } else if value < 0x100 {
                    escape("\\x" + hexadecimal(value, 2), mark, &result)
                } else if value < 0x10000 {
                    escape("\\u" + hexadecimal(value, 4), mark, &result)
                } else {
                    escape("\\U" + hexadecimal(value, 8), mark, &result)
                }
            }
        }
        result.scalars.append(quote)
    }

    static func escape(_ escape: String, _ mark: UInt32, _ result: inout TemplateText) {
        for scalar in escape.unicodeScalars { result.scalars.append(scalar.value | mark) }
    }

    static func hexadecimal(_ value: UInt32, _ width: Int) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    /// Python prints what is neither a control, format, surrogate, private or unassigned character nor a separator.
    private static func isPrintable(_ value: UInt32) -> Bool {
        guard let scalar = Unicode.Scalar(value) else { return false }
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator,
            .spaceSeparator:
            return false
        default: return true
        }
    }
}

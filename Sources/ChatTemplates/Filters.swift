/// The filters, by name. `Filters+Text.swift` and `Filters+Sequences.swift` have those that are more than a line.
enum Filters {
    typealias Body = @Sendable (Evaluator, TemplateValue, inout Arguments) throws(TemplateError) -> TemplateValue

    /// Every filter that exists: the one place where a filter is added.
    static let all: [String: Body] = [
        // Any value
        "default": fallback, "d": fallback,
        "string": { evaluator, value, _ throws(TemplateError) in .string(try evaluator.text(value)) },
        "length": length, "count": length,
        "tojson": json,
        "attr": { evaluator, value, arguments throws(TemplateError) in
            let name = try arguments.requireText("name")
            if case .dictionary = value {
                return .undefined(TemplateUndefined("'dict object' has no attribute '\(name)'"))
            }
            return try evaluator.attribute(name, of: value)
        },
        // Numbers
        "int": int, "float": float, "abs": magnitude, "round": round,
        // Text
        "upper": onText { $0.uppercased() },
        "lower": onText { $0.lowercased() },
        "capitalize": onText { $0.capitalized() },
        "title": onText(title),
        "trim": trim, "replace": replace, "indent": indent, "format": format, "center": center,
        "truncate": truncate, "wordcount": wordCount, "urlencode": urlEncode,
        "escape": escape, "e": escape, "safe": safe,
        "forceescape": onText { text in
            var plain = text
            plain.isMarkup = false
            return plain.escaped()
        },
        // Sequences
        "first": first, "last": last, "join": join, "list": list, "items": items, "reverse": reverse,
        "sort": sort, "dictsort": dictSort, "unique": unique,
        "min": { evaluator, value, arguments throws(TemplateError) in
            try extreme(evaluator, value, &arguments, largest: false)
        },
        "max": { evaluator, value, arguments throws(TemplateError) in
            try extreme(evaluator, value, &arguments, largest: true)
        },
        "sum": sum, "map": map, "batch": batch, "slice": slice, "groupby": groupBy,
        "select": { evaluator, value, arguments throws(TemplateError) in
            try select(evaluator, value, &arguments, keeps: true, byAttribute: false)
        },
        "reject": { evaluator, value, arguments throws(TemplateError) in
            try select(evaluator, value, &arguments, keeps: false, byAttribute: false)
        },
        "selectattr": { evaluator, value, arguments throws(TemplateError) in
            try select(evaluator, value, &arguments, keeps: true, byAttribute: true)
        },
        "rejectattr": { evaluator, value, arguments throws(TemplateError) in
            try select(evaluator, value, &arguments, keeps: false, byAttribute: true)
        },
    ]

    /// Jinja's filters for web pages, and those with a random result: no chat template has a use for them.
    private static let unsupported: Set<String> = [
        "filesizeformat", "pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr",
    ]

    static func unknown(_ name: String) -> TemplateError {
        unsupported.contains(name)
            ? TemplateError(.unsupported, "The filter '\(name)' is not supported.")
            : TemplateError(.unknownFilter, "There is no filter '\(name)'.")
    }

    // MARK: - Any value

    private static let fallback: Body = { _, value, arguments throws(TemplateError) in
        let other = try arguments.take("default_value") ?? ""
        let replacesFalse = try arguments.flag("boolean")
        return value.isUndefined || (replacesFalse && !value.isTrue) ? other : value
    }

    private static let length: Body = { _, value, _ throws(TemplateError) in
        switch value {
        case .string(let text): return .int(text.count)
        case .list(let list), .tuple(let list): return .int(list.items.count)
        case .dictionary(let dictionary): return .int(dictionary.count)
        case .undefined: return 0
        case .object(let object):
            if let sequence = object as? TemplateSequence, let length = sequence.length { return .int(length) }
            if let loop = object as? TemplateLoop { return .int(loop.items.count) }
        default: break
        }
        throw TemplateError(.type, "A value of type \(value.typeName) has no length.")
    }

    private static let json: Body = { evaluator, value, arguments throws(TemplateError) in
        var json = JSONText()
        json.escapesNonASCII = try arguments.flag("ensure_ascii")
        switch try arguments.take("indent") {
        case nil, .some(.none): break
        case .string(let text): json.indent = text
        case .some(let value):
            guard let width = value.integer else {
                throw TemplateError(.type, "tojson wants a number of spaces for 'indent', not \(value.typeName).")
            }
            try evaluator.budget.chargeText(max(width, 0))
            json.indent = TemplateText(scalars: [UInt32](repeating: 0x20, count: max(width, 0)))
        }
        if json.indent != nil { json.itemSeparator = "," }
        if let separators = try arguments.take("separators"), separators.isTrue {
            let pair = try evaluator.iterate(separators)
            guard pair.count == 2, let item = pair[0].text, let key = pair[1].text else {
                throw TemplateError(.type, "tojson wants two texts for 'separators'.")
            }
            json.itemSeparator = item
            json.keySeparator = key
        }
        json.sortsKeys = try arguments.flag("sort_keys")
        return .string(try json.text(value, evaluator))
    }

    // MARK: - Numbers

    private static let int: Body = { _, value, arguments throws(TemplateError) in
        let other = try arguments.take("default") ?? 0
        let base = try arguments.integer("base") ?? 10
        switch value {
        case .string(let text):
            if let integer = integer(text, base: base) { return .int(integer) }
            guard let number = double(text) else { return other }
            return try truncated(number, other)
        case .double(let number): return try truncated(number, other)
        case .undefined(let undefined): throw undefined.error
        default: return value.integer.map { .int($0) } ?? other
        }
    }

    private static func truncated(_ number: Double, _ other: TemplateValue) throws(TemplateError) -> TemplateValue {
        guard number.isFinite else { return other }
        guard let integer = Int(exactly: number.rounded(.towardZero)) else { throw Operators.tooLarge }
        return .int(integer)
    }

    /// An integer as Python's `int` reads it: white space around, a sign, underscores between digits.
    private static func integer(_ text: TemplateText, base: Int) -> Int? {
        var digits = text.stripped(where: TemplateText.isSpace).string.lowercased()
        guard digits.utf8.count <= 80 else { return nil }
        var sign = ""
        if let first = digits.first, first == "-" || first == "+" {
            sign = first == "-" ? "-" : ""
            digits.removeFirst()
        }
        var base = base
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where digits.hasPrefix(prefix) {
            if base == radix || base == 0 {
                digits.removeFirst(2)
                base = radix
            }
        }
        if base == 0 { base = 10 }
        guard (2...36).contains(base), let first = digits.first, first != "_", first != "+", first != "-",
            !digits.hasSuffix("_"), !digits.contains("__")
        else { return nil }
        return Int(sign + digits.filter { $0 != "_" }, radix: base)
    }

    private static let float: Body = { _, value, arguments throws(TemplateError) in
        let other = try arguments.take("default") ?? 0.0
        switch value {
        case .string(let text): return double(text).map { .double($0) } ?? other
        case .undefined(let undefined): throw undefined.error
        default: return value.number.map { .double($0) } ?? other
        }
    }

    /// A number as Python's `float` reads it.
    private static func double(_ text: TemplateText) -> Double? {
        let digits = text.stripped(where: TemplateText.isSpace).string.lowercased()
        let unsigned = digits.drop { $0 == "-" || $0 == "+" }
        guard digits.utf8.count <= 400, digits.utf8.count - unsigned.utf8.count <= 1 else { return nil }
        if ["inf", "infinity", "nan"].contains(unsigned) { return Double(digits) }
        guard unsigned.allSatisfy({ "0123456789.e+-_".contains($0) }), !unsigned.hasPrefix("_"),
            !unsigned.hasSuffix("_"), !unsigned.contains("__")
        else { return nil }
        return Double(digits.filter { $0 != "_" })
    }

    private static let magnitude: Body = { _, value, _ throws(TemplateError) in
        if case .double(let number) = value { return .double(number.magnitude) }
        if case .undefined(let undefined) = value { throw undefined.error }
        guard let integer = value.integer else {
            throw TemplateError(.type, "A value of type \(value.typeName) has no magnitude.")
        }
        guard integer != .min else { throw Operators.tooLarge }
        return .int(abs(integer))
    }

    private static let round: Body = { _, value, arguments throws(TemplateError) in
        let precision = try arguments.integer("precision") ?? 0
        let method = try arguments.text("method")?.string ?? "common"
        guard abs(precision) <= 300 else { throw TemplateError(.value, "round takes at most 300 digits.") }
        if case .undefined(let undefined) = value { throw undefined.error }
        guard let number = value.number else {
            throw TemplateError(.type, "A value of type \(value.typeName) cannot be rounded.")
        }
        switch method {
        case "common":
            if precision >= 0, let integer = value.integer { return .int(integer) }
            if precision >= 0 { return .double(Double(NumberText.fixed(number, decimals: precision)) ?? number) }
            let scale = power10(-precision)
            let rounded = (number / scale).rounded(.toNearestOrEven) * scale
            if value.integer != nil, let integer = Int(exactly: rounded) { return .int(integer) }
            return .double(rounded)
        case "ceil", "floor":
            let scale = power10(abs(precision))
            let scaled = precision < 0 ? number / scale : number * scale
            let rounded = scaled.rounded(method == "ceil" ? .up : .down)
            return .double(precision < 0 ? rounded * scale : rounded / scale)
        default: throw TemplateError(.value, "round takes the methods common, ceil and floor.")
        }
    }

    private static func power10(_ exponent: Int) -> Double { Double("1e\(exponent)") ?? .infinity }
}

/// The methods of Python's types that templates may call, by name.
enum Methods {
    typealias Body = @Sendable (Evaluator, TemplateValue, inout Arguments) throws(TemplateError) -> TemplateValue
}

enum DictionaryMethods {
    /// Those that change a dictionary: the sandbox forbids them.
    static let changing: Set<String> = ["clear", "pop", "popitem", "setdefault", "update"]

    static let all: [String: Methods.Body] = [
        "get": { evaluator, value, arguments throws(TemplateError) in
            let key = try arguments.require("key")
            let other = try arguments.take("default") ?? TemplateValue.none
            try evaluator.checkHashable(key)
            return dictionary(value)[key] ?? other
        },
        "keys": { evaluator, value, _ throws(TemplateError) in
            .object(try TemplateSequence(.keys, dictionary(value).keys, budget: evaluator.budget))
        },
        "values": { evaluator, value, _ throws(TemplateError) in
            .object(try TemplateSequence(.values, dictionary(value).values, budget: evaluator.budget))
        },
        "items": { evaluator, value, _ throws(TemplateError) in
            .object(try TemplateSequence(.items, dictionary(value).items, budget: evaluator.budget))
        },
        "copy": { _, value, _ in value },
    ]

    private static func dictionary(_ value: TemplateValue) -> TemplateDictionary {
        if case .dictionary(let dictionary) = value { dictionary } else { TemplateDictionary(pairs: []) }
    }
}

/// Of lists and tuples.
enum ListMethods {
    /// Those that change a list: the sandbox forbids them.
    static let changing: Set<String> = ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"]

    static let all: [String: Methods.Body] = [
        "index": { evaluator, value, arguments throws(TemplateError) in
            let sought = try arguments.require("value")
            for (index, item) in try evaluator.iterate(value).enumerated() where try evaluator.equal(item, sought) {
                return .int(index)
            }
            throw TemplateError(.value, "The list does not have the item that 'index' looks for.")
        },
        "count": { evaluator, value, arguments throws(TemplateError) in
            let sought = try arguments.require("value")
            var count = 0
            for item in try evaluator.iterate(value) where try evaluator.equal(item, sought) { count += 1 }
            return .int(count)
        },
        "copy": { _, value, _ in value },
    ]
}

/// Of text. `TextMethods+Search.swift` has those that look for text in text.
enum TextMethods {
    static let all: [String: Methods.Body] = [
        // Case
        "upper": onText { $0.uppercased() }, "lower": onText { $0.lowercased() },
        "casefold": onText { $0.lowercased() }, "title": onText { $0.titled() },
        "capitalize": onText { $0.capitalized() }, "swapcase": onText { $0.swappedCase() },
        // Ends
        "strip": stripping(left: true, right: true), "lstrip": stripping(left: true, right: false),
        "rstrip": stripping(left: false, right: true),
        "removeprefix": { _, value, arguments throws(TemplateError) in
            let (text, prefix) = (value.text ?? "", try arguments.requireText("prefix"))
            return .string(text.matches(prefix, at: 0) ? text.slice(prefix.count, text.count) : text)
        },
        "removesuffix": { _, value, arguments throws(TemplateError) in
            let (text, suffix) = (value.text ?? "", try arguments.requireText("suffix"))
            let start = text.count - suffix.count
            return .string(!suffix.isEmpty && text.matches(suffix, at: start) ? text.slice(0, start) : text)
        },
        "startswith": { evaluator, value, arguments throws(TemplateError) in
            .bool(try ends(evaluator, value, &arguments) { $0.matches($1, at: 0) })
        },
        "endswith": { evaluator, value, arguments throws(TemplateError) in
            .bool(try ends(evaluator, value, &arguments) { $0.matches($1, at: $0.count - $1.count) })
        },
        // Parts
        "split": splitting(fromEnd: false), "rsplit": splitting(fromEnd: true),
        "splitlines": { evaluator, value, arguments throws(TemplateError) in
            let text = value.text ?? ""
            try evaluator.budget.chargeText(text.count)
            return .list(
                try evaluator.list(text.lines(keepingEnds: try arguments.flag("keepends")).map { .string($0) }))
        },
        "partition": partitioning(fromEnd: false), "rpartition": partitioning(fromEnd: true),
        "join": { evaluator, value, arguments throws(TemplateError) in
            try join(evaluator, value.text ?? "", try arguments.require("iterable"))
        },
        "replace": { evaluator, value, arguments throws(TemplateError) in
            let old = try arguments.requireText("old")
            let new = try arguments.requireText("new")
            return .string(try evaluator.replaced(value.text ?? "", old, new, try arguments.integer("count") ?? -1))
        },
        // Search
        "find": finding(last: false, orFail: nil), "rfind": finding(last: true, orFail: nil),
        "index": finding(last: false, orFail: "index"), "rindex": finding(last: true, orFail: "rindex"),
        "count": { evaluator, value, arguments throws(TemplateError) in
            let text = value.text ?? ""
            let part = try arguments.requireText("sub")
            let (from, to) = try bounds(&arguments, text.count)
            try evaluator.chargeSearch(part, in: text)
            return .int(text.occurrences(of: part, from: from, to: to))
        },
        // Width
        "center": padding(.both), "ljust": padding(.left), "rjust": padding(.right),
        "zfill": { evaluator, value, arguments throws(TemplateError) in
            let text = value.text ?? ""
            let width = try arguments.integer("width") ?? 0
            guard text.count > 0, text[0] == 0x2B || text[0] == 0x2D else {
                return .string(try evaluator.padded(text, width, side: .right, with: 0x30))
            }
            guard width > text.count else { return .string(text) }
            var result = text.slice(0, 1)
            result.append(
                try evaluator.padded(text.slice(1, text.count), width - 1, side: .right, with: 0x30))
            return .string(result)
        },
        // Kinds of characters
        "isspace": { _, value, _ in
            .bool(
                value.text.map {
                    !$0.isEmpty && $0.scalars.allSatisfy { TemplateText.isSpace($0 & TemplateText.valueMask) }
                } ?? false)
        },
        "isalpha": kind { isLetter($0) },
        "isdigit": kind { $0.numericType == .decimal || $0.numericType == .digit },
        "isdecimal": kind { $0.numericType == .decimal },
        "isnumeric": kind { $0.numericType != nil },
        "isalnum": kind { isLetter($0) || $0.numericType != nil },
        "isascii": { _, value, _ in
            .bool(value.text.map { $0.scalars.allSatisfy { $0 & TemplateText.valueMask < 128 } } ?? false)
        },
        "islower": { _, value, _ in .bool(value.text?.isCase(upper: false) ?? false) },
        "isupper": { _, value, _ in .bool(value.text?.isCase(upper: true) ?? false) },
        // Formatting
        "format": { evaluator, value, arguments throws(TemplateError) in
            let keywords = arguments.takeKeywords()
            return .string(
                try evaluator.braceFormat(value.text ?? "", arguments.takeAll(), keywords.map { ($0.name, $0.value) }))
        },
        "format_map": { evaluator, value, arguments throws(TemplateError) in
            guard case .dictionary(let dictionary) = try arguments.require("mapping") else {
                throw TemplateError(.type, "format_map wants a dictionary.")
            }
            var keywords: [(String, TemplateValue)] = []
            for (key, value) in dictionary.pairs { if let name = key.text { keywords.append((name.string, value)) } }
            return .string(try evaluator.braceFormat(value.text ?? "", [], keywords))
        },
    ]

    private static func isLetter(_ properties: Unicode.Scalar.Properties) -> Bool {
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }

    private static func onText(_ transform: @escaping @Sendable (TemplateText) -> TemplateText) -> Methods.Body {
        { evaluator, value, _ throws(TemplateError) in
            try evaluator.budget.chargeMapping(value.text?.count ?? 0)
            let result = transform(value.text ?? "")
            try evaluator.budget.chargeText(result.count)
            return .string(result)
        }
    }

    private static func kind(_ holds: @escaping @Sendable (Unicode.Scalar.Properties) -> Bool) -> Methods.Body {
        { evaluator, value, _ throws(TemplateError) in
            try evaluator.budget.charge((value.text?.count ?? 0) / 8)
            return .bool(value.text?.allSatisfy(holds) ?? false)
        }
    }

    private static func padding(_ side: Evaluator.Side) -> Methods.Body {
        { evaluator, value, arguments throws(TemplateError) in
            let width = try arguments.integer("width") ?? 0
            let fill = try arguments.text("fillchar") ?? " "
            guard fill.count == 1 else { throw TemplateError(.type, "The fill character is one character.") }
            return .string(try evaluator.padded(value.text ?? "", width, side: side, with: fill.scalars[0]))
        }
    }
}

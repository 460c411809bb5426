// Filters on text. Anything else is turned into text first, as Jinja does.

extension Filters {
    /// A filter without arguments from a function of text; text that was markup stays so.
    static func onText(_ transform: @escaping @Sendable (TemplateText) -> TemplateText) -> Body {
        { evaluator, value, _ throws(TemplateError) in
            let text = try evaluator.text(value)
            try evaluator.budget.chargeMapping(text.count)
            let result = transform(text)
            try evaluator.budget.chargeText(result.count)
            return .string(result)
        }
    }

    /// A capital at the start and behind `-`, `(`, `{`, `[`, `<` and white space, the rest small.
    static func title(_ text: TemplateText) -> TemplateText {
        var result = TemplateText(scalars: [])
        var start = 0
        func isBreak(_ scalar: UInt32) -> Bool {
            TemplateText.isSpace(scalar) || [0x2D, 0x28, 0x7B, 0x5B, 0x3C].contains(scalar)
        }
        while start < text.count {
            let breaks = isBreak(text[start])
            var end = start + 1
            while end < text.count && isBreak(text[end]) == breaks { end += 1 }
            if breaks {
                result.append(text.slice(start, end))
            } else {
                result.append(text.slice(start, start + 1).uppercased())
                result.append(text.slice(start + 1, end).lowercased())
            }
            start = end
        }
        return result
    }

    static let trim: Body = { evaluator, value, arguments throws(TemplateError) in
        let characters = try arguments.text("chars")
        let text = try evaluator.text(value)
        try evaluator.budget.chargeText(text.count)
        return .string(TextMethods.strip(text, characters))
    }

    static let replace: Body = { evaluator, value, arguments throws(TemplateError) in
        let old = try evaluator.text(try arguments.require("old"))
        let new = try evaluator.text(try arguments.require("new"))
        let count = try arguments.integer("count") ?? -1
        return .string(try evaluator.replaced(try evaluator.text(value), old, new, count))
    }

    static let indent: Body = { evaluator, value, arguments throws(TemplateError) in
        let width = try arguments.take("width") ?? 4
        let first = try arguments.flag("first")
        let blank = try arguments.flag("blank")
        var indentation = TemplateText(scalars: [])
        if let text = width.text {
            indentation = text
        } else if let count = width.integer {
            try evaluator.budget.chargeText(max(count, 0))
            indentation.scalars = [UInt32](repeating: 0x20, count: max(count, 0))
        } else {
            throw TemplateError(.type, "indent wants a number of spaces, not \(width.typeName).")
        }
        // A line break at the end begins a line of its own.
        var text = try evaluator.text(value)
        text.append("\n")
        let lines = text.lines()
        try evaluator.budget.chargeItems(lines.count)
        let (more, overflow) = lines.count.multipliedReportingOverflow(by: indentation.count)
        try evaluator.budget.chargeText(overflow ? .max : more)
        try evaluator.budget.chargeText(text.count + more)
        var result = TemplateText(scalars: [])
        for (index, line) in lines.enumerated() {
            if index > 0 { result.append("\n") }
            if index == 0 ? first : blank || !line.isEmpty { result.append(indentation) }
            result.append(line)
        }
        return .string(result)
    }

    static let format: Body = { evaluator, value, arguments throws(TemplateError) in
        let keywords = arguments.takeKeywords()
        let positional = arguments.takeAll()
        if !keywords.isEmpty && !positional.isEmpty {
            throw TemplateError(.type, "format takes arguments with or without names, not both.")
        }
        let values: TemplateValue =
            keywords.isEmpty
            ? .tuple(try evaluator.list(positional))
            : try evaluator.dictionary(keywords.map { (.string($0.name), $0.value) })
        return .string(try evaluator.percentFormat(try evaluator.text(value), values))
    }

    static let center: Body = { evaluator, value, arguments throws(TemplateError) in
        let width = try arguments.integer("width") ?? 80
        return .string(try evaluator.padded(try evaluator.text(value), width, side: .both, with: 0x20))
    }

    static let truncate: Body = { evaluator, value, arguments throws(TemplateError) in
        let length = try arguments.integer("length") ?? 255
        let cutsWords = try arguments.flag("killwords")
        let end = try arguments.text("end") ?? "..."
        let leeway = try arguments.integer("leeway") ?? 5
        guard length >= end.count, leeway >= 0 else {
            throw TemplateError(.value, "truncate wants a length of at least that of the end.")
        }
        let text = try evaluator.text(value)
        try evaluator.budget.chargeText(text.count)
        if text.count - leeway <= length { return .string(text) }
        var result = text.slice(0, length - end.count)
        if !cutsWords, let space = result.range(of: " ", last: true) { result = result.slice(0, space) }
        result.append(end)
        return .string(result)
    }

    static let wordCount: Body = { evaluator, value, _ throws(TemplateError) in
        let text = try evaluator.text(value)
        try evaluator.budget.chargeText(text.count)
        var count = 0
        var isInside = false
        for element in text.scalars {
            let properties = TemplateText.scalar(element).properties
            let isWord =
                properties.isAlphabetic || properties.numericType != nil || element & TemplateText.valueMask == 0x5F
            if isWord && !isInside { count += 1 }
            isInside = isWord
        }
        return .int(count)
    }

    static let urlEncode: Body = { evaluator, value, _ throws(TemplateError) in
        func quoted(_ value: TemplateValue, keepsSlash: Bool) throws(TemplateError) -> TemplateText {
            let text = try evaluator.text(value)
            try evaluator.budget.chargeText(3 * text.count)
            var result = TemplateText(scalars: [])
            for byte in text.string.utf8 {
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: result.scalars.append(UInt32(byte))
                case 0x2F where keepsSlash: result.scalars.append(0x2F)
                case 0x20 where !keepsSlash: result.append("+")
                default: result.append("%" + Quoting.hexadecimal(UInt32(byte), 2).uppercased())
                }
            }
            return result
        }
        var pairs: [TemplateValue]
        switch value {
        case .dictionary(let dictionary): pairs = dictionary.items
        case .list, .tuple, .object: pairs = try evaluator.iterate(value)
        default: return .string(try quoted(value, keepsSlash: true))
        }
        var result = TemplateText(scalars: [])
        for (index, pair) in pairs.enumerated() {
            let parts = try evaluator.iterate(pair)
            guard parts.count == 2 else { throw TemplateError(.value, "urlencode wants pairs.") }
            if index > 0 { result.append("&") }
            result.append(try quoted(parts[0], keepsSlash: false))
            result.append("=")
            result.append(try quoted(parts[1], keepsSlash: false))
        }
        return .string(result)
    }

    // MARK: - Markup

    static let escape: Body = { evaluator, value, _ throws(TemplateError) in
        let text = try evaluator.text(value)
        try evaluator.budget.chargeText(6 * text.count)
        return .string(text.isMarkup ? text : text.escaped())
    }

    static let safe: Body = { evaluator, value, _ throws(TemplateError) in
        var text = try evaluator.text(value)
        text.isMarkup = true
        return .string(text)
    }
}

// Methods that look for text in text.

extension TextMethods {
    /// The text without leading and trailing characters of `characters`, or white space without them.
    static func strip(
        _ text: TemplateText, _ characters: TemplateText?, left: Bool = true, right: Bool = true
    ) -> TemplateText {
        guard let characters else { return text.stripped(left: left, right: right, where: TemplateText.isSpace) }
        let set = Set(characters.scalars.map { $0 & TemplateText.valueMask })
        return text.stripped(left: left, right: right) { set.contains($0) }
    }

    static func stripping(left: Bool, right: Bool) -> Methods.Body {
        { evaluator, value, arguments throws(TemplateError) in
            let text = value.text ?? ""
            try evaluator.budget.chargeText(text.count)
            return .string(strip(text, try arguments.text("chars"), left: left, right: right))
        }
    }

    /// Whether the text, or the part of it between two positions, has one of the given ends.
    static func ends(
        _ evaluator: Evaluator, _ value: TemplateValue, _ arguments: inout Arguments,
        _ holds: (TemplateText, TemplateText) -> Bool
    ) throws(TemplateError) -> Bool {
        let affix = try arguments.require("affix")
        var text = value.text ?? ""
        if arguments.count > 0 {
            let (from, to) = try bounds(&arguments, text.count)
            guard from <= to else { return false }
            text = text.slice(from, to)
        }
        try evaluator.budget.charge(text.count / 64)
        let choices: [TemplateValue]
        if case .tuple(let list) = affix { choices = list.items } else { choices = [affix] }
        for choice in choices {
            if case .undefined(let undefined) = choice { throw undefined.error }
            guard let part = choice.text else {
                throw TemplateError(.type, "\(arguments.callee) wants text, not \(choice.typeName).")
            }
            try evaluator.budget.charge(1 + part.count / 64)
            if holds(text, part) { return true }
        }
        return false
    }

    /// Two optional positions, as in slices.
    static func bounds(_ arguments: inout Arguments, _ count: Int) throws(TemplateError) -> (Int, Int) {
        let from = try arguments.integer("start") ?? 0
        let to = try arguments.integer("end") ?? count
        // A start behind the end stays there: nothing is found then, not even empty text.
        return (from < 0 ? max(from &+ count, 0) : min(from, count + 1), to < 0 ? max(to &+ count, 0) : min(to, count))
    }

    static func finding(last: Bool, orFail name: String?) -> Methods.Body {
        { evaluator, value, arguments throws(TemplateError) in
            let text = value.text ?? ""
            let part = try arguments.requireText("sub")
            let (from, to) = try bounds(&arguments, text.count)
            if let found = try evaluator.find(part, in: text, from: from, to: to, last: last) { return .int(found) }
            guard let name else { return -1 }
            throw TemplateError(.value, "The text does not have the part that '\(name)' looks for.")
        }
    }

    static func splitting(fromEnd: Bool) -> Methods.Body {
        { evaluator, value, arguments throws(TemplateError) in
            let text = value.text ?? ""
            let separator = try arguments.text("sep")
            let limit = try arguments.integer("maxsplit") ?? -1
            try evaluator.budget.chargeText(text.count)
            let parts: [TemplateText]
            if let separator {
                guard !separator.isEmpty else { throw TemplateError(.value, "Text cannot be split at empty text.") }
                try evaluator.chargeSearch(separator, in: text)
                parts = text.split(by: separator, limit: limit, fromEnd: fromEnd)
            } else {
                parts = text.words(limit: limit, fromEnd: fromEnd)
            }
            return .list(try evaluator.list(parts.map { .string($0) }))
        }
    }

    static func partitioning(fromEnd: Bool) -> Methods.Body {
        { evaluator, value, arguments throws(TemplateError) in
            let text = value.text ?? ""
            let separator = try arguments.requireText("sep")
            guard !separator.isEmpty else { throw TemplateError(.value, "Text cannot be split at empty text.") }
            try evaluator.budget.chargeText(text.count)
            guard let found = try evaluator.find(separator, in: text, last: fromEnd) else {
                return fromEnd ? .tuple(["", "", .string(text)]) : .tuple([.string(text), "", ""])
            }
            let end = found + separator.count
            return .tuple(
                [.string(text.slice(0, found)), .string(text.slice(found, end)), .string(text.slice(end, text.count))])
        }
    }

    /// Python's `join`, which takes nothing but text.
    static func join(
        _ evaluator: Evaluator, _ separator: TemplateText, _ sequence: TemplateValue
    ) throws(TemplateError) -> TemplateValue {
        var result = TemplateText(scalars: [])
        for (index, item) in try evaluator.iterate(sequence).enumerated() {
            guard let part = item.text else {
                if case .undefined(let undefined) = item { throw undefined.error }
                throw TemplateError(.type, "join wants text, and item \(index) is a value of type \(item.typeName).")
            }
            try evaluator.budget.chargeText(part.count + separator.count)
            if index > 0 { result.append(separator) }
            result.append(part)
            guard result.count <= evaluator.budget.limits.textLength else {
                throw TemplateError(
                    .limit, "The template makes text of more than \(evaluator.budget.limits.textLength) characters.")
            }
        }
        return .string(result)
    }
}

// Attributes, items and slices.

extension Evaluator {
    /// `value.name`: a method or attribute of Python's type, else the item of this name.
    func attribute(_ name: TemplateText, of value: TemplateValue) throws(TemplateError) -> TemplateValue {
        if let found = try pythonAttribute(name, of: value) { return found }
        if case .dictionary(let dictionary) = value, let found = dictionary[.string(name)] { return found }
        return missing(name, of: value)
    }

    /// `value[key]`: an item, else the attribute of this name.
    func item(_ key: TemplateValue, of value: TemplateValue) throws(TemplateError) -> TemplateValue {
        switch value {
        case .undefined(let undefined): throw undefined.error
        case .dictionary(let dictionary):
            switch key {
            case .list, .dictionary: break
            default:
                try checkHashable(key)
                if let found = dictionary[key] { return found }
            }
        case .list(let list), .tuple(let list):
            if let found = element(key, of: list.items) { return found }
        case .string(let text):
            if let index = index(key, count: text.count) { return .string(text.slice(index, index + 1)) }
        case .object(let object):
            if let sequence = object as? TemplateSequence, sequence.isRange,
                let found = element(key, of: sequence.items)
            {
                return found
            }
        default: break
        }
        guard let name = key.text else {
            return .undefined(TemplateUndefined("\(value.objectDescription) has no element \(try shortText(key))"))
        }
        return try pythonAttribute(name, of: value) ?? missing(name, of: value)
    }

    private func element(_ key: TemplateValue, of items: [TemplateValue]) -> TemplateValue? {
        index(key, count: items.count).map { items[$0] }
    }

    /// A position from the start, for one that may count from the end.
    private func index(_ key: TemplateValue, count: Int) -> Int? {
        guard let index = key.integer else { return nil }
        let position = index < 0 ? index &+ count : index
        return position >= 0 && position < count ? position : nil
    }

    private func missing(_ name: TemplateText, of value: TemplateValue) -> TemplateValue {
        if name.count >= 2, name[0] == 0x5F, name[1] == 0x5F {
            return .undefined(unsafe(name, value))
        }
        return .undefined(TemplateUndefined("\(value.objectDescription) has no attribute '\(shown(name))'"))
    }

    private func unsafe(_ name: TemplateText, _ value: TemplateValue) -> TemplateUndefined {
        TemplateUndefined(
            "templates may not use the attribute '\(shown(name))' of a value of type \(value.typeName)", code: .security
        )
    }

    /// Text for a message.
    private func shown(_ text: TemplateText) -> String {
        text.count > 60 ? text.slice(0, 60).string + "…" : text.string
    }

    private func shortText(_ value: TemplateValue) throws(TemplateError) -> String {
        shown(try representation(value))
    }

    // MARK: - Python's attributes

    private func pythonAttribute(
        _ name: TemplateText, of value: TemplateValue
    ) throws(TemplateError) -> TemplateValue? {
        switch value {
        case .undefined(let undefined): throw undefined.error
        case .object(let object): return try object.attribute(name)
        case .string: return method(name, of: value, TextMethods.all, changing: [])
        case .list: return method(name, of: value, ListMethods.all, changing: ListMethods.changing)
        case .tuple: return method(name, of: value, ListMethods.all, changing: [])
        case .dictionary:
            return method(name, of: value, DictionaryMethods.all, changing: DictionaryMethods.changing)
        default: return nil
        }
    }

    private func method(
        _ name: TemplateText, of value: TemplateValue, _ methods: [String: Methods.Body], changing: Set<String>
    ) -> TemplateValue? {
        guard name.count <= 16 else { return nil }
        let plain = name.string
        if changing.contains(plain) { return .undefined(unsafe(name, value)) }
        guard let body = methods[plain] else { return nil }
        return .object(
            TemplateFunction(plain, receiver: value) { evaluator, arguments throws(TemplateError) in
                try body(evaluator, value, &arguments)
            })
    }

    // MARK: - Slices

    func slice(
        _ value: TemplateValue, from: Int?, to: Int?, step: Int?
    ) throws(TemplateError) -> TemplateValue {
        let step = step ?? 1
        guard step != 0 else { throw TemplateError(.value, "The step of a slice is not zero.") }
        func positions(_ count: Int) -> (start: Int, end: Int, count: Int) {
            func bound(_ position: Int?, _ fallback: Int) -> Int {
                guard let position else { return fallback }
                if position < 0 { return max(position &+ count, step < 0 ? -1 : 0) }
                return min(position, step < 0 ? count - 1 : count)
            }
            let start = bound(from, step < 0 ? count - 1 : 0)
            let end = bound(to, step < 0 ? -1 : count)
            let span = step < 0 ? start - end : end - start
            let magnitude = step.magnitude
            return (start, end, span <= 0 ? 0 : Int((UInt(span) - 1) / magnitude) + 1)
        }
        switch value {
        case .string(let text):
            let (start, end, length) = positions(text.count)
            try budget.chargeText(length)
            if step == 1 { return .string(text.slice(start, max(start, end))) }
            var result = TemplateText(scalars: [])
            for index in 0..<length { result.scalars.append(text.scalars[start + index * step]) }
            return .string(result)
        case .list(let items): return .list(try list(sliced(items.items, positions(items.items.count), step)))
        case .tuple(let items): return .tuple(try list(sliced(items.items, positions(items.items.count), step)))
        case .object(let object):
            guard let sequence = object as? TemplateSequence, sequence.isRange else { break }
            let items = sequence.items
            return .object(try TemplateSequence(.range, sliced(items, positions(items.count), step), budget: budget))
        case .undefined(let undefined): throw undefined.error
        default: break
        }
        throw TemplateError(.type, "A value of type \(value.typeName) has no slices.")
    }

    private func sliced(
        _ items: [TemplateValue], _ positions: (start: Int, end: Int, count: Int), _ step: Int
    ) -> [TemplateValue] {
        (0..<positions.count).map { items[positions.start + $0 * step] }
    }
}

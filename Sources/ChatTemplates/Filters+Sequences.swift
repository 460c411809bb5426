// Filters on sequences.

extension Filters {
    static let first: Body = { evaluator, value, _ throws(TemplateError) in
        if case .object(let object) = value, let sequence = object as? TemplateSequence {
            return sequence.first() ?? .undefined(TemplateUndefined("there is no first item, the sequence is empty"))
        }
        if case .string(let text) = value, !text.isEmpty { return .string(text.slice(0, 1)) }
        let items = try evaluator.iterate(value)
        return items.first ?? .undefined(TemplateUndefined("there is no first item, the sequence is empty"))
    }

    static let last: Body = { evaluator, value, _ throws(TemplateError) in
        if case .object(let object) = value, let sequence = object as? TemplateSequence, sequence.isOnce {
            throw TemplateError(.type, "A generator has no last item; turn it into a list first.")
        }
        let items = try evaluator.iterate(value)
        return items.last ?? .undefined(TemplateUndefined("there is no last item, the sequence is empty"))
    }

    static let list: Body = { evaluator, value, _ throws(TemplateError) in
        .list(try evaluator.list(try evaluator.iterate(value)))
    }

    static let items: Body = { evaluator, value, _ throws(TemplateError) in
        switch value {
        case .undefined: return .object(try TemplateSequence(.generator, [], budget: evaluator.budget))
        case .dictionary(let dictionary):
            return .object(try TemplateSequence(.generator, dictionary.items, budget: evaluator.budget))
        default: throw TemplateError(.type, "Only a dictionary has pairs, not a value of type \(value.typeName).")
        }
    }

    static let reverse: Body = { evaluator, value, _ throws(TemplateError) in
        if case .string(let text) = value {
            try evaluator.budget.chargeText(text.count)
            return .string(text.reversed())
        }
        let items = Array(try evaluator.iterate(value).reversed())
        return .object(try TemplateSequence(.reversed, items, budget: evaluator.budget))
    }

    static let join: Body = { evaluator, value, arguments throws(TemplateError) in
        let separator = try evaluator.text(try arguments.take("d") ?? "")
        let attribute = try arguments.take("attribute")
        var result = TemplateText(scalars: [])
        for (index, item) in try evaluator.iterate(value).enumerated() {
            let part = try evaluator.text(try evaluator.attribute(path: attribute, of: item))
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

    static let sum: Body = { evaluator, value, arguments throws(TemplateError) in
        let attribute = try arguments.take("attribute")
        var total = try arguments.take("start") ?? 0
        for item in try evaluator.iterate(value) {
            total = try evaluator.binary(.add, total, try evaluator.attribute(path: attribute, of: item))
        }
        return total
    }

    // MARK: - Order

    static let sort: Body = { evaluator, value, arguments throws(TemplateError) in
        let reverse = try arguments.flag("reverse")
        let isExact = try arguments.flag("case_sensitive")
        let attribute = try arguments.take("attribute")
        var keyed: [(TemplateValue, TemplateValue)] = []
        var paths: [TemplateValue?] = [attribute]
        if let text = attribute?.text { paths = text.split(by: ",", limit: -1).map { .string($0) } }
        for item in try evaluator.iterate(value) {
            var keys: [TemplateValue] = []
            for path in paths {
                keys.append(evaluator.folded(try evaluator.attribute(path: path, of: item), isExact))
            }
            keyed.append((keys.count == 1 ? keys[0] : .tuple(keys), item))
        }
        return .list(try evaluator.list(try evaluator.sorted(keyed, reverse: reverse) { $0.0 }.map(\.1)))
    }

    static let dictSort: Body = { evaluator, value, arguments throws(TemplateError) in
        let isExact = try arguments.flag("case_sensitive")
        let by = try arguments.text("by")?.string ?? "key"
        let reverse = try arguments.flag("reverse")
        guard by == "key" || by == "value" else {
            throw TemplateError(.value, "dictsort sorts by 'key' or 'value'.")
        }
        if case .undefined(let undefined) = value { throw undefined.error }
        guard case .dictionary(let dictionary) = value else {
            throw TemplateError(.type, "dictsort wants a dictionary, not \(value.typeName).")
        }
        let pairs = dictionary.pairs
        let sorted = try evaluator.sorted(pairs, reverse: reverse) {
            evaluator.folded(by == "key" ? $0.0 : $0.1, isExact)
        }
        return .list(try evaluator.list(sorted.map { .tuple([$0.0, $0.1]) }))
    }

    static let unique: Body = { evaluator, value, arguments throws(TemplateError) in
        let isExact = try arguments.flag("case_sensitive")
        let attribute = try arguments.take("attribute")
        var seen = Set<TemplateValue>()
        var kept: [TemplateValue] = []
        for item in try evaluator.iterate(value) {
            let key = evaluator.folded(try evaluator.attribute(path: attribute, of: item), isExact)
            try evaluator.checkHashable(key)
            if seen.insert(key).inserted { kept.append(item) }
        }
        return .object(try TemplateSequence(.generator, kept, budget: evaluator.budget))
    }

    static func extreme(
        _ evaluator: Evaluator, _ value: TemplateValue, _ arguments: inout Arguments, largest: Bool
    ) throws(TemplateError) -> TemplateValue {
        let isExact = try arguments.flag("case_sensitive")
        let attribute = try arguments.take("attribute")
        var best: (key: TemplateValue, item: TemplateValue)?
        for item in try evaluator.iterate(value) {
            let key = evaluator.folded(try evaluator.attribute(path: attribute, of: item), isExact)
            if let current = best {
                let order = try evaluator.order(key, current.key) ?? 0
                if largest ? order > 0 : order < 0 { best = (key, item) }
            } else {
                best = (key, item)
            }
        }
        return best?.item ?? .undefined(TemplateUndefined("there is no item to choose, the sequence is empty"))
    }

    // MARK: - Choice

    static func select(
        _ evaluator: Evaluator, _ value: TemplateValue, _ arguments: inout Arguments, keeps: Bool, byAttribute: Bool
    ) throws(TemplateError) -> TemplateValue {
        let attribute: TemplateValue? = byAttribute ? try arguments.require("attribute") : nil
        let test = arguments.count > 0 ? try arguments.requireText("test").string : nil
        let positional = arguments.takeAll()
        let keywords = arguments.takeKeywords()
        var kept: [TemplateValue] = []
        for item in value.isTrue ? try evaluator.iterate(value) : [] {
            let tested = try evaluator.attribute(path: attribute, of: item)
            var holds = tested.isTrue
            if let test {
                var bound = Arguments("The test '\(test)'", positional, keywords)
                holds = try evaluator.test(tested, test, &bound)
            }
            if holds == keeps { kept.append(item) }
        }
        return .object(try TemplateSequence(.generator, kept, budget: evaluator.budget))
    }

    static let map: Body = { evaluator, value, arguments throws(TemplateError) in
        var results: [TemplateValue] = []
        let items = value.isTrue ? try evaluator.iterate(value) : []
        if arguments.count == 0 {
            guard let attribute = arguments.takeKeyword("attribute") else {
                throw TemplateError(.type, "map wants the name of a filter, or an attribute.")
            }
            let other = arguments.takeKeyword("default")
            for item in items {
                let found = try evaluator.attribute(path: attribute, of: item, default: other)
                results.append(found)
            }
        } else {
            let name = try arguments.requireText("filter").string
            let positional = arguments.takeAll()
            let keywords = arguments.takeKeywords()
            for item in items {
                var bound = Arguments("The filter '\(name)'", positional, keywords)
                results.append(try evaluator.filter(item, name, &bound))
            }
        }
        return .object(try TemplateSequence(.generator, results, budget: evaluator.budget))
    }

    // MARK: - Groups

    static let batch: Body = { evaluator, value, arguments throws(TemplateError) in
        let width = try arguments.integer("linecount") ?? 0
        let filler = try arguments.take("fill_with")
        guard width > 0 else { throw TemplateError(.value, "batch wants a positive number.") }
        let items = try evaluator.iterate(value)
        var batches: [TemplateValue] = []
        var start = 0
        while start < items.count {
            var part = Array(items[start..<min(items.count - start, width) + start])
            if let filler, filler != .none, part.count < width {
                try evaluator.budget.chargeItems(width)
                part += [TemplateValue](repeating: filler, count: width - part.count)
            }
            batches.append(.list(try evaluator.list(part)))
            start += part.count
        }
        return .object(try TemplateSequence(.generator, batches, budget: evaluator.budget))
    }

    static let slice: Body = { evaluator, value, arguments throws(TemplateError) in
        let count = try arguments.integer("slices") ?? 0
        let filler = try arguments.take("fill_with")
        guard count > 0 else { throw TemplateError(.value, "slice wants a positive number.") }
        try evaluator.budget.chargeItems(count)
        let items = try evaluator.iterate(value)
        let (length, longer) = (items.count / count, items.count % count)
        var parts: [TemplateValue] = []
        var start = 0
        for index in 0..<count {
            let end = start + length + (index < longer ? 1 : 0)
            var part = Array(items[start..<end])
            if let filler, filler != .none, index >= longer { part.append(filler) }
            parts.append(.list(try evaluator.list(part)))
            start = end
        }
        return .object(try TemplateSequence(.generator, parts, budget: evaluator.budget))
    }

    static let groupBy: Body = { evaluator, value, arguments throws(TemplateError) in
        let attribute = try arguments.require("attribute")
        let other = try arguments.take("default")
        let isExact = try arguments.flag("case_sensitive")
        var keyed: [(TemplateValue, TemplateValue)] = []
        for item in try evaluator.iterate(value) {
            keyed.append((try evaluator.attribute(path: attribute, of: item, default: other), item))
        }
        keyed = try evaluator.sorted(keyed) { evaluator.folded($0.0, isExact) }
        var groups: [(key: TemplateValue, items: [TemplateValue])] = []
        for (key, item) in keyed {
            if let current = groups.last,
                try evaluator.equal(evaluator.folded(current.key, isExact), evaluator.folded(key, isExact))
            {
                groups[groups.count - 1].items.append(item)
            } else {
                groups.append((key, [item]))
            }
        }
        var results: [TemplateValue] = []
        for group in groups { results.append(.tuple(try evaluator.list([group.key, .list(group.items)]))) }
        return .list(try evaluator.list(results))
    }
}

// MARK: - What filters share

extension Evaluator {
    /// The value at a path such as `"function.name"` or `0`; the item itself without one.
    func attribute(
        path: TemplateValue?, of item: TemplateValue, default other: TemplateValue? = nil
    ) throws(TemplateError) -> TemplateValue {
        guard let path, path != .none else { return item }
        var value = item
        if let text = path.text {
            for part in text.split(by: ".", limit: -1) {
                let digits = part.allSatisfy { $0.numericType == .decimal } ? Int(part.string) : nil
                value = try self.item(digits.map { .int($0) } ?? .string(part), of: value)
                if value.isUndefined, let other { value = other }
            }
            return value
        }
        value = try self.item(path, of: value)
        if value.isUndefined, let other { return other }
        return value
    }

    /// Text in small letters unless the comparison is exact.
    func folded(_ value: TemplateValue, _ isExact: Bool) -> TemplateValue {
        guard !isExact, case .string(let text) = value else { return value }
        return .string(text.lowercased())
    }

    /// A stable sort by merging.
    func sorted<Element>(
        _ elements: [Element], reverse: Bool = false, key: (Element) -> TemplateValue
    ) throws(TemplateError) -> [Element] {
        try budget.chargeItems(elements.count)
        var runs = elements.map { (key: key($0), element: $0) }
        if reverse { runs.reverse() }
        var width = 1
        while width < runs.count {
            var merged: [(key: TemplateValue, element: Element)] = []
            merged.reserveCapacity(runs.count)
            var start = 0
            while start < runs.count {
                let middle = min(start + width, runs.count)
                let end = min(middle + width, runs.count)
                var (left, right) = (start, middle)
                while left < middle || right < end {
                    if left == middle {
                        merged.append(runs[right])
                        right += 1
                    } else if right == end {
                        merged.append(runs[left])
                        left += 1
                    } else if (try order(runs[right].key, runs[left].key) ?? 0) < 0 {
                        merged.append(runs[right])
                        right += 1
                    } else {
                        merged.append(runs[left])
                        left += 1
                    }
                }
                start = end
            }
            runs = merged
            width *= 2
        }
        if reverse { runs.reverse() }
        return runs.map(\.element)
    }

    /// Replaces at most `count` occurrences, all of them if that is negative.
    func replaced(
        _ text: TemplateText, _ old: TemplateText, _ new: TemplateText, _ count: Int
    ) throws(TemplateError) -> TemplateText {
        try chargeSearch(old, in: text)
        let occurrences = text.occurrences(of: old)
        let times = count < 0 ? occurrences : min(count, occurrences)
        let (added, overflow) = times.multipliedReportingOverflow(by: new.count)
        try budget.chargeText(overflow ? .max : added)
        try budget.chargeText(text.count + added)
        var result = TemplateText(scalars: [])
        result.isMarkup = text.isMarkup
        if old.isEmpty {
            for index in 0..<text.count {
                if index < times { result.append(new) }
                result.scalars.append(text.scalars[index])
            }
            if times > text.count { result.append(new) }
            return result
        }
        for (index, part) in text.split(by: old, limit: times).enumerated() {
            if index > 0 { result.append(new) }
            result.append(part)
        }
        return result
    }

    enum Side { case left, right, both }

    /// Text filled up to a width; `side` is where the text stands.
    func padded(_ text: TemplateText, _ width: Int, side: Side, with fill: UInt32) throws(TemplateError) -> TemplateText
    {
        guard width > text.count else { return text }
        try budget.chargeText(width)
        let missing = width - text.count
        let before: Int
        switch side {
        case .left: before = 0
        case .right: before = missing
        case .both: before = missing / 2 + (missing & width & 1)
        }
        var result = TemplateText(scalars: [UInt32](repeating: fill, count: before))
        result.append(text)
        result.scalars += [UInt32](repeating: fill, count: missing - before)
        result.isMarkup = text.isMarkup
        return result
    }
}

/// The arguments of a call, as functions, filters, tests and methods take them.
struct Arguments {
    /// What is called, for messages.
    let callee: String
    private var positional: [TemplateValue]
    private var keywords: [(name: String, value: TemplateValue)]
    private var position = 0

    init(_ callee: String, _ positional: [TemplateValue] = [], _ keywords: [(name: String, value: TemplateValue)] = [])
    {
        self.callee = callee
        self.positional = positional
        self.keywords = keywords
    }

    var count: Int { positional.count - position }

    /// The next positional argument, else the one of this name.
    mutating func take(_ name: String) throws(TemplateError) -> TemplateValue? {
        let named = takeKeyword(name)
        guard position < positional.count else { return named }
        if named != nil {
            throw TemplateError(.type, "\(callee) has two values for its argument '\(name)'.")
        }
        position += 1
        return positional[position - 1]
    }

    mutating func takeKeyword(_ name: String) -> TemplateValue? {
        guard let place = keywords.firstIndex(where: { $0.name == name }) else { return nil }
        return keywords.remove(at: place).value
    }

    mutating func require(_ name: String) throws(TemplateError) -> TemplateValue {
        guard let value = try take(name) else {
            throw TemplateError(.type, "\(callee) needs an argument '\(name)'.")
        }
        return value
    }

    mutating func flag(_ name: String, default fallback: Bool = false) throws(TemplateError) -> Bool {
        try take(name).map(\.isTrue) ?? fallback
    }

    mutating func integer(_ name: String) throws(TemplateError) -> Int? {
        guard let value = try take(name) else { return nil }
        if case .none = value { return nil }
        guard let integer = value.integer else {
            throw TemplateError(.type, "\(callee) wants an integer for '\(name)', not \(value.typeName).")
        }
        return integer
    }

    /// Text, where `None` is as good as nothing.
    mutating func text(_ name: String) throws(TemplateError) -> TemplateText? {
        guard let value = try take(name) else { return nil }
        if case .none = value { return nil }
        guard let text = value.text else {
            throw TemplateError(.type, "\(callee) wants text for '\(name)', not \(value.typeName).")
        }
        return text
    }

    mutating func requireText(_ name: String) throws(TemplateError) -> TemplateText {
        guard let text = try text(name) else {
            throw TemplateError(.type, "\(callee) needs text for '\(name)'.")
        }
        return text
    }

    /// All positional arguments that are left.
    mutating func takeAll() -> [TemplateValue] {
        defer { position = positional.count }
        return Array(positional[position...])
    }

    /// All keyword arguments that are left.
    mutating func takeKeywords() -> [(name: String, value: TemplateValue)] {
        defer { keywords = [] }
        return keywords
    }

    /// Checks that no argument is left.
    func finish() throws(TemplateError) {
        if position < positional.count {
            throw TemplateError(.type, "\(callee) takes at most \(position) argument\(position == 1 ? "" : "s").")
        }
        if let first = keywords.first {
            throw TemplateError(.type, "\(callee) takes no argument '\(first.name)'.")
        }
    }
}

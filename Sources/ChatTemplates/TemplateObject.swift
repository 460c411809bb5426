/// A thing that exists during one rendering only: a namespace, a function, a loop, an iterator.
///
/// Rendering makes objects, uses them on one thread and lets none of them out, so that marking the class as sendable,
/// which `TemplateValue` needs, is sound although some subclasses have state.
public class TemplateObject: @unchecked Sendable {
    /// How deep the values that it holds are nested, plus one: what keeps chains of objects short.
    let depth: Int32

    init(depth: Int32 = 1) { self.depth = depth }

    var typeName: String { "object" }
    var isTrue: Bool { true }
    var isCallable: Bool { false }
    var representation: String { "<\(typeName)>" }

    /// An attribute, or `nil` when there is none of this name.
    func attribute(_ name: TemplateText) throws(TemplateError) -> TemplateValue? { nil }
}

/// What `namespace(…)` makes: the one thing that templates can change.
final class TemplateNamespace: TemplateObject, @unchecked Sendable {
    var names: [TemplateText] = []
    var values: [TemplateText: TemplateValue] = [:]

    override var typeName: String { "Namespace" }
    override func attribute(_ name: TemplateText) -> TemplateValue? { values[name] }

    func set(_ name: TemplateText, _ value: TemplateValue) throws(TemplateError) {
        if name.count > 0 && name[0] == 0x5F {
            throw TemplateError(
                .security, "A namespace cannot have the attribute '\(name)': it begins with an underscore.")
        }
        if values.updateValue(value, forKey: name) == nil { names.append(name) }
    }
}

/// Items that are gone through in order: a range, a view of a dictionary, or a generator, which can be gone through once.
final class TemplateSequence: TemplateObject, @unchecked Sendable {
    enum Kind: String {
        case range, keys = "dict_keys", values = "dict_values", items = "dict_items", generator, reversed =
            "list_reverseiterator"
    }

    let kind: Kind
    private let contents: [TemplateValue]
    private let bounds: (start: Int, end: Int, step: Int)?
    private var position = 0

    /// - Parameter bounds: a range as it was asked for; without it one is made up from the items.
    init(
        _ kind: Kind, _ items: [TemplateValue], bounds: (start: Int, end: Int, step: Int)? = nil, budget: Budget
    ) throws(TemplateError) {
        self.kind = kind
        self.bounds = bounds
        contents = items
        let depth = TemplateList.depth(items)
        try budget.check(depth: Int(depth))
        try budget.chargeItems(items.count)
        super.init(depth: depth)
    }

    override var typeName: String { kind.rawValue }
    override var isTrue: Bool { isOnce || !contents.isEmpty }
    var isOnce: Bool { kind == .generator || kind == .reversed }
    var isRange: Bool { kind == .range }

    /// `nil` for what has no length.
    var length: Int? { isOnce ? nil : contents.count }

    /// The items that are left; a generator has none afterwards.
    func take() -> [TemplateValue] {
        guard isOnce else { return contents }
        defer { position = contents.count }
        return position == 0 ? contents : Array(contents[position...])
    }

    /// The next item of a generator, or the first of any other sequence.
    func first() -> TemplateValue? {
        guard position < contents.count else { return nil }
        defer { if isOnce { position += 1 } }
        return contents[position]
    }

    /// All items, for a sequence with a length.
    var items: [TemplateValue] { contents }

    override var representation: String {
        guard isRange else { return "<\(typeName)>" }
        var (start, end, step) = bounds ?? (0, 0, 1)
        // A slice of a range knows its items only.
        if bounds == nil, let first = contents.first?.integer, let last = contents.last?.integer {
            step = contents.count > 1 ? (contents[1].integer ?? 0) &- first : 1
            (start, end) = (first, last &+ (step > 0 ? 1 : -1))
        }
        return step == 1 ? "range(\(start), \(end))" : "range(\(start), \(end), \(step))"
    }
}

/// A function, or a method with its receiver.
final class TemplateFunction: TemplateObject, @unchecked Sendable {
    typealias Body = (Evaluator, inout Arguments) throws(TemplateError) -> TemplateValue

    let name: String
    private let body: Body

    init(_ name: String, receiver: TemplateValue? = nil, _ body: @escaping Body) {
        self.name = name
        self.body = body
        super.init(depth: (receiver?.depth ?? 0) + 1)
    }

    override var typeName: String { "function" }
    override var isCallable: Bool { true }
    override var representation: String { "<function \(name)>" }

    func call(_ evaluator: Evaluator, _ arguments: inout Arguments) throws(TemplateError) -> TemplateValue {
        try body(evaluator, &arguments)
    }
}

/// A macro with the variables it sees, or the body of a `call` block as `caller`.
final class TemplateMacro: TemplateObject, @unchecked Sendable {
    let definition: Macro
    let scope: Scope

    init(_ definition: Macro, scope: Scope) {
        self.definition = definition
        self.scope = scope
        super.init()
    }

    override var typeName: String { "Macro" }
    override var isCallable: Bool { true }
    override var representation: String {
        definition.name.map { "<Macro '\($0)'>" } ?? "<Macro anonymous>"
    }

    override func attribute(_ name: TemplateText) -> TemplateValue? {
        switch name.string {
        case "name": definition.name.map { .string($0) } ?? TemplateValue.none
        case "arguments": .tuple(definition.parameters.map { .string($0.name) })
        case "catch_kwargs": .bool(definition.usesKeywordArguments)
        case "catch_varargs": .bool(definition.usesFurtherArguments)
        case "caller": .bool(definition.usesCaller)
        default: nil
        }
    }
}

/// `loop` inside a `for`.
final class TemplateLoop: TemplateObject, @unchecked Sendable {
    let items: [TemplateValue]
    let level: Int
    /// The loop itself and where it stands, when it is recursive.
    let recursion: (node: ForLoop, scope: Scope)?
    var index = 0
    private var lastChanged: [TemplateValue]?

    init(
        items: [TemplateValue], level: Int, recursion: (node: ForLoop, scope: Scope)?, budget: Budget
    ) throws(TemplateError) {
        self.items = items
        self.level = level
        self.recursion = recursion
        let depth = TemplateList.depth(items)
        try budget.check(depth: Int(depth))
        super.init(depth: depth)
    }

    override var typeName: String { "LoopContext" }
    override var isTrue: Bool { !items.isEmpty }
    override var isCallable: Bool { recursion != nil }
    override var representation: String { "<LoopContext \(index + 1)/\(items.count)>" }

    override func attribute(_ name: TemplateText) throws(TemplateError) -> TemplateValue? {
        switch name.string {
        case "index": .int(index + 1)
        case "index0": .int(index)
        case "revindex": .int(items.count - index)
        case "revindex0": .int(items.count - index - 1)
        case "first": .bool(index == 0)
        case "last": .bool(index == items.count - 1)
        case "length": .int(items.count)
        case "depth": .int(level + 1)
        case "depth0": .int(level)
        case "previtem":
            index > 0 ? items[index - 1] : .undefined(TemplateUndefined("there is no previous item"))
        case "nextitem":
            index + 1 < items.count ? items[index + 1] : .undefined(TemplateUndefined("there is no next item"))
        case "cycle":
            .object(
                TemplateFunction("cycle", receiver: .object(self)) { [self] _, arguments throws(TemplateError) in
                    let choices = arguments.takeAll()
                    guard !choices.isEmpty else { throw TemplateError(.type, "loop.cycle needs items.") }
                    return choices[index % choices.count]
                })
        case "changed":
            .object(
                TemplateFunction("changed", receiver: .object(self)) {
                    [self] evaluator, arguments throws(TemplateError) in
                    let values = arguments.takeAll()
                    let new = TemplateValue.tuple(values)
                    try evaluator.budget.check(depth: Int(new.depth))
                    if let lastChanged, try evaluator.equal(.tuple(lastChanged), new) { return false }
                    lastChanged = values
                    // What it remembers may hold this very loop: the evaluator forgets it in the end.
                    evaluator.release { [weak self] in self?.lastChanged = nil }
                    return true
                })
        default: nil
        }
    }
}

/// Variables, and those around them.
final class Scope {
    var variables: [String: TemplateValue] = [:]
    let parent: Scope?

    init(parent: Scope?) { self.parent = parent }

    func lookup(_ name: String) -> TemplateValue? {
        var scope: Scope? = self
        while let current = scope {
            if let value = current.variables[name] { return value }
            scope = current.parent
        }
        return nil
    }
}

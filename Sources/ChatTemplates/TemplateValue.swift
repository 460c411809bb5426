/// A value in a template, with Python's meaning of equality, truth and order.
///
/// Lists, tuples and dictionaries cannot be changed by a template, as in the sandbox that chat templates are written for.
/// Integers have 64 bits; a result beyond that is an error, where Python would go on.
public enum TemplateValue: Sendable {
    case undefined(TemplateUndefined)
    case none
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(TemplateText)
    case list(TemplateList)
    case tuple(TemplateList)
    case dictionary(TemplateDictionary)
    /// Namespaces, functions, loops, iterators: what exists during a rendering only.
    case object(TemplateObject)
}

/// A value that is not there; using it, other than to test, print or iterate over it, fails with this message.
public final class TemplateUndefined: Sendable {
    let message: String
    let code: TemplateError.Code

    init(_ message: String, code: TemplateError.Code = .undefined) {
        self.message = message
        self.code = code
    }

    var error: TemplateError { TemplateError(code, message) }
}

/// Items, and how deep they are nested.
public struct TemplateList: Sendable {
    public let items: [TemplateValue]
    /// 1 for a list of plain values.
    let depth: Int32

    public init(_ items: [TemplateValue]) {
        self.items = items
        depth = TemplateList.depth(items)
    }

    static func depth(_ items: [TemplateValue]) -> Int32 {
        var deepest: Int32 = 0
        for item in items { deepest = max(deepest, item.depth) }
        return deepest + 1
    }
}

// MARK: - Making values

extension TemplateValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .string(TemplateText(value)) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int) { self = .int(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(arrayLiteral elements: TemplateValue...) { self = .list(TemplateList(elements)) }
    public init(dictionaryLiteral elements: (String, TemplateValue)...) {
        self = .dictionary(TemplateDictionary(elements))
    }
    public init(nilLiteral: ()) { self = .none }

    /// Text, not marked as input.
    public static func string(_ text: String) -> TemplateValue { .string(TemplateText(text)) }
    /// A list.
    public static func list(_ items: [TemplateValue]) -> TemplateValue { .list(TemplateList(items)) }
    static func tuple(_ items: [TemplateValue]) -> TemplateValue { .tuple(TemplateList(items)) }

    /// The same value with all text in it marked as having come in from outside, keys included.
    public func markedAsInput() -> TemplateValue {
        switch self {
        case .string(let text): .string(text.markedAsInput())
        case .list(let list): .list(list.items.map { $0.markedAsInput() })
        case .tuple(let list): .tuple(list.items.map { $0.markedAsInput() })
        case .dictionary(let dictionary): .dictionary(dictionary.markedAsInput())
        default: self
        }
    }
}

// MARK: - What a value is

extension TemplateValue {
    /// 0 for plain values.
    var depth: Int32 {
        switch self {
        case .list(let list), .tuple(let list): list.depth
        case .dictionary(let dictionary): dictionary.depth
        case .object(let object): object.depth
        default: 0
        }
    }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }

    var text: TemplateText? { if case .string(let text) = self { text } else { nil } }

    /// A whole number; `true` and `false` are 1 and 0.
    var integer: Int? {
        switch self {
        case .int(let value): value
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }

    /// Any number.
    var number: Double? {
        switch self {
        case .double(let value): value
        case .int(let value): Double(value)
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }

    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .double(let value): value != 0
        case .string(let text): !text.isEmpty
        case .list(let list), .tuple(let list): !list.items.isEmpty
        case .dictionary(let dictionary): dictionary.count > 0
        case .object(let object): object.isTrue
        }
    }

    /// The name of the type in Python.
    var typeName: String {
        switch self {
        case .undefined: "Undefined"
        case .none: "NoneType"
        case .bool: "bool"
        case .int: "int"
        case .double: "float"
        case .string(let text): text.isMarkup ? "Markup" : "str"
        case .list: "list"
        case .tuple: "tuple"
        case .dictionary: "dict"
        case .object(let object): object.typeName
        }
    }

    /// As in Jinja's messages about attributes that are not there.
    var objectDescription: String {
        switch self {
        case .none: "'None'"
        case .undefined: "'undefined'"
        default: "'\(typeName) object'"
        }
    }
}

// MARK: - Equality

extension TemplateValue: Hashable {
    /// Python's `==`. The cost grows with the values' unfolded size; templates go through `Operators`, which is bounded.
    public static func == (a: TemplateValue, b: TemplateValue) -> Bool {
        if let equal = plainEquality(a, b) { return equal }
        switch (a, b) {
        case (.list(let x), .list(let y)), (.tuple(let x), .tuple(let y)): return x.items == y.items
        case (.dictionary(let x), .dictionary(let y)): return x.isEqual(to: y)
        default: return false
        }
    }

    /// Whether two values are equal, where that needs no look into a container.
    static func plainEquality(_ a: TemplateValue, _ b: TemplateValue) -> Bool? {
        switch (a, b) {
        case (.list, .list), (.tuple, .tuple), (.dictionary, .dictionary): return nil
        case (.string(let x), .string(let y)): return x == y
        case (.none, .none), (.undefined, .undefined): return true
        case (.object(let x), .object(let y)): return x === y
        case (.double(let x), .double(let y)): return x == y
        case (.double(let x), _): return b.integer.map { exactlyEqual($0, x) } ?? false
        case (_, .double(let y)): return a.integer.map { exactlyEqual($0, y) } ?? false
        default:
            guard let x = a.integer, let y = b.integer else { return false }
            return x == y
        }
    }

    private static func exactlyEqual(_ whole: Int, _ number: Double) -> Bool {
        Int(exactly: number).map { $0 == whole } ?? false
    }

    public func hash(into hasher: inout Hasher) {
        switch self {
        case .string(let text): hasher.combine(text)
        case .bool, .int, .double: hasher.combine(number ?? 0)
        case .list(let list), .tuple(let list): hasher.combine(list.items)
        case .dictionary(let dictionary): hasher.combine(dictionary.count)
        case .object(let object): hasher.combine(ObjectIdentifier(object))
        case .none, .undefined: hasher.combine(0)
        }
    }
}

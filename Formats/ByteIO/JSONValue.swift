/// A JSON value that keeps exact 64-bit integers apart from floating point.
///
/// Made by ``parse(_:path:options:)`` or from literals:
///
///     let config: JSONValue = ["schemaVersion": 1, "tags": ["a", "b"]]
///     let bytes = config.canonicalBytes()
public enum JSONValue: Sendable {
    case null
    case bool(Bool)
    /// A number written without fraction and exponent that fits 64 signed bits.
    case integer(Int64)
    /// As `integer`, for values above `Int64.max`. Smaller values are never stored here by the parser.
    case unsigned(UInt64)
    /// Any other number. Not finite values are written as `null`.
    case double(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)
}

/// The members of a JSON object, in their order, with unique keys compared by their bytes.
public struct JSONObject: Sendable {
    public struct Member: Sendable {
        public var key: String
        public var value: JSONValue
    }

    public private(set) var members: [Member] = []
    /// Present only above a few members, where a scan would cost more.
    private var index: [ExactString: Int]?

    private static let scanLimit = 12

    public init() {}

    /// - Precondition: keys are unique.
    public init(_ members: some Sequence<(String, JSONValue)>) {
        for (key, value) in members {
            precondition(append(key, value), "duplicate key \(key)")
        }
    }

    public var count: Int { members.count }
    public var isEmpty: Bool { members.isEmpty }
    public var keys: [String] { members.map(\.key) }

    /// The value under a key; setting nil removes the member, setting a new key appends it.
    public subscript(key: String) -> JSONValue? {
        get { position(of: key).map { members[$0].value } }
        set {
            switch (position(of: key), newValue) {
            case (let found?, let value?): members[found].value = value
            case (let found?, nil):
                members.remove(at: found)
                rebuildIndex()
            case (nil, let value?): _ = append(key, value)
            case (nil, nil): break
            }
        }
    }

    /// Appends a member unless the key is there already.
    /// - Returns: whether it was appended.
    public mutating func append(_ key: String, _ value: JSONValue) -> Bool {
        if index != nil {
            // Hashed once; a repeated key puts the place of the first back.
            let exact = ExactString(key)
            if let first = index?.updateValue(members.count, forKey: exact) {
                index?[exact] = first
                return false
            }
            members.append(Member(key: key, value: value))
        } else {
            guard position(of: key) == nil else { return false }
            members.append(Member(key: key, value: value))
            if members.count > Self.scanLimit { rebuildIndex() }
        }
        return true
    }

    private func position(of key: String) -> Int? {
        if let index { return index[ExactString(key)] }
        return members.firstIndex { ExactString.equal($0.key, key) }
    }

    private mutating func rebuildIndex() {
        index = nil
        guard members.count > Self.scanLimit else { return }
        var fresh = [ExactString: Int](minimumCapacity: members.count)
        for (position, member) in members.enumerated() { fresh[ExactString(member.key)] = position }
        index = fresh
    }
}

// MARK: - Access

extension JSONValue {
    public var isNull: Bool { if case .null = self { true } else { false } }
    public var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var stringValue: String? { if case .string(let value) = self { value } else { nil } }
    public var arrayValue: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
    public var objectValue: JSONObject? { if case .object(let value) = self { value } else { nil } }

    /// The value as an `Int` when it is a whole number written as such.
    public var intValue: Int? { if case .integer(let value) = self { Int(exactly: value) } else { nil } }

    /// The value as a `UInt64` when it is a whole, non-negative number written as such.
    public var unsignedValue: UInt64? {
        switch self {
        case .integer(let value): UInt64(exactly: value)
        case .unsigned(let value): value
        default: nil
        }
    }

    /// Any number as a `Double`, rounded where it must be.
    public var doubleValue: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .unsigned(let value): Double(value)
        case .double(let value): value
        default: nil
        }
    }

    /// The member of an object; nil when there is none or this is no object.
    public subscript(key: String) -> JSONValue? { objectValue?[key] }

    /// What kind of value this is, for error messages.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer, .unsigned: "an integer"
        case .double: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

// MARK: - Conformances

extension JSONValue: Equatable {
    /// Strings and keys compare by bytes, objects without regard to order, integers by value.
    public static func == (left: JSONValue, right: JSONValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.integer(let a), .integer(let b)): a == b
        case (.unsigned(let a), .unsigned(let b)): a == b
        case (.integer(let a), .unsigned(let b)), (.unsigned(let b), .integer(let a)): UInt64(exactly: a) == b
        case (.double(let a), .double(let b)): a == b
        case (.string(let a), .string(let b)): ExactString.equal(a, b)
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)): a == b
        default: false
        }
    }
}

extension JSONObject: Equatable {
    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.count == right.count && left.members.allSatisfy { right[$0.key] == $0.value }
    }
}

extension JSONValue: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(nilLiteral: ()) { self = .null }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(stringLiteral value: String) { self = .string(value) }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSONValue)...) { self = .object(JSONObject(elements)) }
    public init(_ value: Int) { self = .integer(Int64(value)) }
}

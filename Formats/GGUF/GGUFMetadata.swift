import ByteIO

/// The key-value pairs of a GGUF file, in their order.
///
/// The getters that throw name the key, what was expected and what is there, so that their errors can be shown as they
/// are. Integers are accepted in any width that holds the value.
public struct GGUFMetadata: Sendable {
    /// One pair.
    public struct Entry: Sendable, Hashable {
        public var key: String
        public var value: GGUFValue
    }

    public private(set) var entries: [Entry] = []
    private var index: [ExactString: Int] = [:]
    /// Names the file in errors.
    public var path: String?

    public init() {}

    public var count: Int { entries.count }
    public var keys: [String] { entries.map(\.key) }

    /// The value under a key; setting keeps the place of a key that is there, appends one that is not, nil removes.
    public subscript(key: String) -> GGUFValue? {
        get { index[ExactString(key)].map { entries[$0].value } }
        set {
            let exact = ExactString(key)
            switch (index[exact], newValue) {
            case (let found?, let value?): entries[found].value = value
            case (let found?, nil):
                entries.remove(at: found)
                index.removeAll(keepingCapacity: true)
                for (position, entry) in entries.enumerated() { index[ExactString(entry.key)] = position }
            case (nil, let value?): _ = append(key, value)
            case (nil, nil): break
            }
        }
    }

    /// Gives a pair another key, in its place.
    /// - Precondition: `key` is there and `newKey` is not.
    public mutating func rename(_ key: String, to newKey: String) {
        guard let position = index[ExactString(key)], index[ExactString(newKey)] == nil else {
            preconditionFailure("\(key) cannot be renamed to \(newKey)")
        }
        index[ExactString(key)] = nil
        index[ExactString(newKey)] = position
        entries[position].key = newKey
    }

    /// Appends a pair unless the key is there already, and says whether it did.
    @discardableResult
    public mutating func append(_ key: String, _ value: GGUFValue) -> Bool {
        let exact = ExactString(key)
        guard index[exact] == nil else { return false }
        index[exact] = entries.count
        entries.append(Entry(key: key, value: value))
        return true
    }
}

extension GGUFMetadata: ExpressibleByDictionaryLiteral {
    /// - Precondition: keys are unique.
    public init(dictionaryLiteral pairs: (String, GGUFValue)...) {
        self.init()
        for (key, value) in pairs { precondition(append(key, value), "duplicate key \(key)") }
    }
}

// MARK: - Typed getters

extension GGUFMetadata {
    /// An integer of any width.
    public func int(_ key: String) throws(GGUFError) -> Int { try require(key, intIfPresent(key), "an integer") }

    /// An integer of any width, or nil when the key is missing. Throws when the value is something else.
    public func intIfPresent(_ key: String) throws(GGUFError) -> Int? {
        try convert(key, "an integer that fits 64 bits", \.intValue)
    }

    /// An integer that is at least `minimum`, as counts are.
    public func count(_ key: String, atLeast minimum: Int = 1) throws(GGUFError) -> Int {
        let value = try int(key)
        guard value >= minimum else {
            throw GGUFError(
                .malformed, "metadata key \(key) is \(value); at least \(minimum) is expected", path: path, key: key)
        }
        return value
    }

    /// A float, or an integer taken as one.
    public func float(_ key: String) throws(GGUFError) -> Float { try require(key, floatIfPresent(key), "a number") }

    public func floatIfPresent(_ key: String) throws(GGUFError) -> Float? {
        try convert(key, "a number") { value in value.doubleValue.map { Float($0) } }
    }

    public func bool(_ key: String) throws(GGUFError) -> Bool { try require(key, boolIfPresent(key), "a bool") }

    public func boolIfPresent(_ key: String) throws(GGUFError) -> Bool? {
        try convert(key, "a bool") { value in if case .bool(let flag) = value { flag } else { nil } }
    }

    /// A text; bytes that are not UTF-8 appear as U+FFFD (see ``GGUFString`` for the exact bytes).
    public func string(_ key: String) throws(GGUFError) -> String {
        try require(key, stringIfPresent(key), "a string")
    }

    public func stringIfPresent(_ key: String) throws(GGUFError) -> String? {
        try convert(key, "a string") { value in if case .string(let text) = value { text.text } else { nil } }
    }

    public func strings(_ key: String) throws(GGUFError) -> [String] {
        try require(key, stringsIfPresent(key), "an array of strings")
    }

    public func stringsIfPresent(_ key: String) throws(GGUFError) -> [String]? {
        try convert(key, "an array of strings") { value in
            if case .array(let array) = value { array.strings } else { nil }
        }
    }

    /// An array of integers, or a single integer taken as an array of one.
    public func ints(_ key: String) throws(GGUFError) -> [Int] {
        try require(key, intsIfPresent(key), "an array of integers")
    }

    public func intsIfPresent(_ key: String) throws(GGUFError) -> [Int]? {
        try convert(key, "an array of integers") { value in
            if case .array(let array) = value { array.ints } else { value.intValue.map { [$0] } }
        }
    }

    public func floats(_ key: String) throws(GGUFError) -> [Float] {
        try require(key, floatsIfPresent(key), "an array of numbers")
    }

    public func floatsIfPresent(_ key: String) throws(GGUFError) -> [Float]? {
        try convert(key, "an array of numbers") { value in
            if case .array(let array) = value { array.floats } else { value.doubleValue.map { [Float($0)] } }
        }
    }

    /// The array under a key without materialising its elements.
    public func arrayIfPresent(_ key: String) throws(GGUFError) -> GGUFArray? {
        try convert(key, "an array") { value in if case .array(let array) = value { array } else { nil } }
    }

    /// `general.architecture`.
    public func architecture() throws(GGUFError) -> String { try string("general.architecture") }

    private func convert<T>(
        _ key: String, _ expected: String, _ conversion: (GGUFValue) -> T?
    ) throws(GGUFError) -> T? {
        guard let value = self[key] else { return nil }
        guard let result = conversion(value) else {
            throw GGUFError(
                .unexpectedType, "metadata key \(key) should be \(expected) but is \(value.typeText)", path: path,
                key: key)
        }
        return result
    }

    private func require<T>(_ key: String, _ value: T?, _ expected: String) throws(GGUFError) -> T {
        guard let value else {
            throw GGUFError(
                .missingKey, "metadata key \(key) is missing; \(expected) is expected there", path: path, key: key)
        }
        return value
    }
}

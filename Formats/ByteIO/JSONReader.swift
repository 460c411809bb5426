/// Reading one piece at a time, for texts of many entries that need not exist as a value.
///
///     var reader = JSONReader(bytes)
///     try reader.openObject()
///     while let key = try reader.nextKey() { … try reader.value() … }
///     try reader.finish()
///
/// The same is refused as by `JSONValue.parse`, except for repeated keys: whoever reads an object piece by piece looks
/// for those. After a key and after ``nextElement()`` exactly one value must be read.
extension JSONReader {
    /// What the next value is, by its first byte.
    public enum Kind: Sendable {
        case object, array, string, number, other
    }

    public var nextKind: Kind {
        mutating get {
            skipSpace()
            guard offset < bytes.count else { return .other }
            return switch bytes[offset] {
            case UInt8(ascii: "{"): .object
            case UInt8(ascii: "["): .array
            case UInt8(ascii: "\""): .string
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): .number
            default: .other
            }
        }
    }

    /// Enters an object.
    /// - Throws: ``ByteIOError`` of code `invalidJSON` when the next value is something else or lies too deep.
    public mutating func openObject() throws(ByteIOError) {
        guard nextKind == .object else { throw failure("expected an object, found \(found)") }
        try open()
    }

    /// Enters an array. Throws as ``openObject()``.
    public mutating func openArray() throws(ByteIOError) {
        guard nextKind == .array else { throw failure("expected an array, found \(found)") }
        try open()
    }

    /// Where the next key of the object that was entered last begins, for errors about it; reads nothing.
    public var keyOffset: Int {
        var ahead = self
        ahead.skipSpace()
        if !ahead.isAtStart, ahead.peek(UInt8(ascii: ",")) {
            ahead.offset += 1
            ahead.skipSpace()
        }
        return ahead.offset
    }

    /// The next key of the object that was entered last; nil when it has no more, which leaves it.
    public mutating func nextKey() throws(ByteIOError) -> String? {
        guard try nextItem(before: UInt8(ascii: "}"), of: "an object") else { return nil }
        guard peek(UInt8(ascii: "\"")) else { throw failure("expected a key in quotes, found \(found)") }
        let key = try parseString()
        skipSpace()
        guard peek(UInt8(ascii: ":")) else { throw failure("expected \":\" after a key, found \(found)") }
        offset += 1
        skipSpace()
        return key
    }

    /// Whether the array that was entered last has another element, which is then to be read; false leaves the array.
    public mutating func nextElement() throws(ByteIOError) -> Bool {
        try nextItem(before: UInt8(ascii: "]"), of: "an array")
    }

    /// Reads a whole value of any kind.
    public mutating func value() throws(ByteIOError) -> JSONValue {
        skipSpace()
        isAtStart = false
        return try parseValue()
    }

    /// Reads a value when it is a string; otherwise reads nothing and gives nil.
    public mutating func stringIfNext() throws(ByteIOError) -> String? {
        guard nextKind == .string else { return nil }
        isAtStart = false
        return try parseString()
    }

    /// Checks that nothing but white space is left.
    public mutating func finish() throws(ByteIOError) {
        skipSpace()
        guard offset == bytes.count else { throw failure("unexpected \(found) after the JSON value") }
    }

    private mutating func open() throws(ByteIOError) {
        try enter()
        offset += 1
        isAtStart = true
    }

    private mutating func nextItem(before end: UInt8, of what: String) throws(ByteIOError) -> Bool {
        skipSpace()
        let isFirst = isAtStart
        isAtStart = false
        if peek(end) {
            offset += 1
            depth -= 1
            return false
        }
        if isFirst { return true }
        guard peek(UInt8(ascii: ",")) else {
            throw failure("expected \",\" or \"\(Character(Unicode.Scalar(end)))\" in \(what), found \(found)")
        }
        offset += 1
        skipSpace()
        return true
    }
}

extension JSONValue {
    /// The canonical text: UTF-8, keys sorted by their bytes, no white space, only the escapes JSON demands.
    ///
    /// Two equal values give the same bytes. Doubles are written in the shortest form that reads back as the same
    /// value and always show that they are no integers ("1.0"); those that are not finite become `null`.
    public func canonicalBytes() -> [UInt8] {
        var writer = JSONTextWriter(sortsKeys: true, indent: nil)
        writer.write(self, level: 0)
        return writer.bytes
    }

    /// The members in their own order, without white space.
    public func compactBytes() -> [UInt8] {
        var writer = JSONTextWriter(sortsKeys: false, indent: nil)
        writer.write(self, level: 0)
        return writer.bytes
    }

    /// A text for people, indented, without a final newline.
    public func prettyBytes(indent: Int = 2, sortingKeys: Bool = false) -> [UInt8] {
        var writer = JSONTextWriter(sortsKeys: sortingKeys, indent: indent)
        writer.write(self, level: 0)
        return writer.bytes
    }

    public var canonicalText: String { String(decoding: canonicalBytes(), as: UTF8.self) }
    public var compactText: String { String(decoding: compactBytes(), as: UTF8.self) }
    public var prettyText: String { String(decoding: prettyBytes(), as: UTF8.self) }
}

struct JSONTextWriter {
    var bytes: [UInt8] = []
    let sortsKeys: Bool
    let indent: Int?

    init(sortsKeys: Bool, indent: Int?) {
        self.sortsKeys = sortsKeys
        self.indent = indent
    }

    mutating func write(_ value: JSONValue, level: Int) {
        switch value {
        case .null: write(ascii: "null")
        case .bool(let flag): write(ascii: flag ? "true" : "false")
        case .integer(let number): write(ascii: String(number))
        case .unsigned(let number): write(ascii: String(number))
        case .double(let number): write(ascii: number.isFinite ? String(describing: number) : "null")
        case .string(let text): write(string: text)
        case .array(let elements):
            write(open: "[", close: "]", count: elements.count, level: level) { writer, position in
                writer.write(elements[position], level: level + 1)
            }
        case .object(let object):
            var members = object.members
            if sortsKeys { members.sort { ExactString($0.key) < ExactString($1.key) } }
            write(open: "{", close: "}", count: members.count, level: level) { writer, position in
                writer.write(string: members[position].key)
                writer.write(ascii: writer.indent == nil ? ":" : ": ")
                writer.write(members[position].value, level: level + 1)
            }
        }
    }

    private mutating func write(
        open: String, close: String, count: Int, level: Int, element: (inout JSONTextWriter, Int) -> Void
    ) {
        write(ascii: open)
        for position in 0..<count {
            if position > 0 { write(ascii: ",") }
            newLine(level: level + 1)
            element(&self, position)
        }
        if count > 0 { newLine(level: level) }
        write(ascii: close)
    }

    private mutating func newLine(level: Int) {
        guard let indent else { return }
        bytes.append(0x0A)
        bytes.append(contentsOf: repeatElement(0x20, count: indent * level))
    }

    private mutating func write(ascii text: String) { bytes.append(contentsOf: text.utf8) }

    mutating func write(string text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): write(ascii: "\\\"")
            case UInt8(ascii: "\\"): write(ascii: "\\\\")
            case 0x08: write(ascii: "\\b")
            case 0x09: write(ascii: "\\t")
            case 0x0A: write(ascii: "\\n")
            case 0x0C: write(ascii: "\\f")
            case 0x0D: write(ascii: "\\r")
            case 0..<0x20:
                write(ascii: byte < 0x10 ? "\\u000" : "\\u00")
                write(ascii: String(byte, radix: 16))
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}

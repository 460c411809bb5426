/// A JSON document as a tree, with exactly one way to write it.
///
/// ``parse(_:maximumDepth:)`` is strict (RFC 8259, UTF-8, no duplicate keys, bounded nesting) since manifests come from
/// strangers and two readers must never disagree on what one says. ``canonical`` sorts keys by their UTF-8 bytes and
/// writes neither white space nor escaped slashes, so that equal content has equal bytes and an equal digest.
public enum JSONNode: Hashable, Sendable {
    case null
    case bool(Bool)
    case integer(Int)
    /// A number that is no 64-bit integer, as it was written.
    case number(String)
    case string(String)
    case array([JSONNode])
    case object([String: JSONNode])

    /// The nesting that documents may have. Manifests need 6.
    public static let maximumDepth = 64

    /// Parses a whole document.
    ///
    /// - Throws: `.jsonInvalid` naming the byte offset and what was expected there.
    public static func parse(_ bytes: [UInt8], maximumDepth: Int = maximumDepth) throws(OCIArtifactError) -> JSONNode {
        var parser = JSONParser(bytes: bytes, maximumDepth: maximumDepth)
        return try parser.document()
    }

    public subscript(key: String) -> JSONNode? {
        if case .object(let members) = self { members[key] } else { nil }
    }

    public var string: String? { if case .string(let text) = self { text } else { nil } }
    public var integer: Int? { if case .integer(let value) = self { value } else { nil } }
    public var array: [JSONNode]? { if case .array(let items) = self { items } else { nil } }
    public var object: [String: JSONNode]? { if case .object(let members) = self { members } else { nil } }

    /// The one canonical form, UTF-8.
    public var canonical: [UInt8] {
        var out: [UInt8] = []
        write(into: &out)
        return out
    }

    private func write(into out: inout [UInt8]) {
        switch self {
        case .null: out += "null".utf8
        case .bool(let value): out += (value ? "true" : "false").utf8
        case .integer(let value): out += String(value).utf8
        case .number(let text): out += text.utf8
        case .string(let text): Self.write(text, into: &out)
        case .array(let items):
            out.append(UInt8(ascii: "["))
            for (index, item) in items.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                item.write(into: &out)
            }
            out.append(UInt8(ascii: "]"))
        case .object(let members):
            out.append(UInt8(ascii: "{"))
            let sorted = members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
            for (index, member) in sorted.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                Self.write(member.key, into: &out)
                out.append(UInt8(ascii: ":"))
                member.value.write(into: &out)
            }
            out.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ text: String, into out: inout [UInt8]) {
        let digits = Array("0123456789abcdef".utf8)
        out.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): out += "\\\"".utf8
            case UInt8(ascii: "\\"): out += "\\\\".utf8
            case 0x08: out += "\\b".utf8
            case 0x09: out += "\\t".utf8
            case 0x0a: out += "\\n".utf8
            case 0x0c: out += "\\f".utf8
            case 0x0d: out += "\\r".utf8
            case 0..<0x20:
                out += "\\u00".utf8
                out.append(digits[Int(byte >> 4)])
                out.append(digits[Int(byte & 15)])
            default: out.append(byte)
            }
        }
        out.append(UInt8(ascii: "\""))
    }
}

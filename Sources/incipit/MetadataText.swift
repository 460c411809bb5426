import ByteIO
import Foundation
import GGUF

/// Metadata values as text and back, for the command line.
enum MetadataText {
    /// The name of a value's type: "u32", "[string]".
    static func typeName(_ value: GGUFValue) -> String {
        if case .array(let array) = value { return "[\(array.elementType)]" }
        return value.type.description
    }

    /// The whole value: strings as they are, arrays as JSON.
    static func full(_ value: GGUFValue) -> String {
        if case .string(let text) = value { return text.text }
        return json(value).compactText
    }

    /// One line of at most `width` characters.
    static func brief(_ value: GGUFValue, width: Int = 80) -> String {
        if case .array(let array) = value, array.count > 8 { return "\(array.count) × \(array.elementType)" }
        let flat = full(value).replacingOccurrences(of: "\n", with: "⏎")
        return flat.count > width ? flat.prefix(width - 1) + "…" : flat
    }

    static func json(_ value: GGUFValue) -> JSONValue {
        switch value {
        case .bool(let flag): return .bool(flag)
        case .string(let text): return .string(text.text)
        case .uint64(let number): return Int64(exactly: number).map { .integer($0) } ?? .unsigned(number)
        case .float32(let number): return .double(Double("\(number)") ?? Double(number))
        case .float64(let number): return .double(number)
        case .array(let array):
            if let strings = array.strings { return .array(strings.map { .string($0) }) }
            if let flags = array.bools { return .array(flags.map { .bool($0) }) }
            if let integers = array.ints { return .array(integers.map { JSONValue($0) }) }
            return .array((array.floats ?? []).map { .double(Double("\($0)") ?? Double($0)) })
        default: return value.intValue.map { JSONValue($0) } ?? .null
        }
    }

    /// Names that `--type` takes.
    static let typeNames = GGUFValueType.allCases.filter { $0 != .array }.map(\.description)

    /// Turns a text into a value of the named type.
    static func parse(_ text: String, as typeName: String) throws -> GGUFValue {
        func refuse(_ reason: String) -> CommandFailure {
            CommandFailure(.usage, "\(text.quotedForMessage) is no \(typeName): \(reason)")
        }
        if typeName.hasPrefix("["), typeName.hasSuffix("]") {
            let element = try type(String(typeName.dropFirst().dropLast()))
            let elements: [JSONValue]
            do {
                guard let array = try JSONValue.parse(text: text).arrayValue else { throw refuse("write a JSON array") }
                elements = array
            } catch let error as ByteIOError { throw refuse(error.message) }
            return .array(try self.array(elements, element, refuse))
        }
        let type = try type(typeName)
        if type == .string { return .text(text) }
        let json: JSONValue
        do { json = try JSONValue.parse(text: text) } catch {
            guard let number = special(text) else {
                throw refuse(type == .bool ? "write true or false" : "write a number")
            }
            json = .double(number)
            // JSON has no infinity; the only types that take it read it here.
            if type == .float32 { return .float32(Float(number)) }
            if type == .float64 { return .float64(number) }
        }
        return try scalar(json, type, refuse)
    }

    private static func special(_ text: String) -> Double? {
        ["inf": Double.infinity, "-inf": -.infinity, "nan": .nan][text.lowercased()]
    }

    private static func type(_ name: String) throws -> GGUFValueType {
        guard let type = GGUFValueType.allCases.first(where: { $0.description == name }), type != .array else {
            throw CommandFailure(
                .usage,
                "there is no metadata type \(name.quotedForMessage); there are \(typeNames.joined(separator: ", ")), and arrays "
                    + "of them as [\(typeNames[4])]")
        }
        return type
    }

    private static func integer<T: FixedWidthInteger>(
        _ json: JSONValue, _ refuse: (String) -> CommandFailure
    ) throws -> T {
        let value: T? =
            switch json {
            case .integer(let number): T(exactly: number)
            case .unsigned(let number): T(exactly: number)
            default: nil
            }
        guard let value else { throw refuse("write a whole number of \(T.min)…\(T.max)") }
        return value
    }

    private static func scalar(
        _ json: JSONValue, _ type: GGUFValueType, _ refuse: (String) -> CommandFailure
    ) throws -> GGUFValue {
        switch type {
        case .uint8: return .uint8(try integer(json, refuse))
        case .int8: return .int8(try integer(json, refuse))
        case .uint16: return .uint16(try integer(json, refuse))
        case .int16: return .int16(try integer(json, refuse))
        case .uint32: return .uint32(try integer(json, refuse))
        case .int32: return .int32(try integer(json, refuse))
        case .uint64: return .uint64(try integer(json, refuse))
        case .int64: return .int64(try integer(json, refuse))
        case .float32:
            guard let number = json.doubleValue else { throw refuse("write a number") }
            return .float32(Float(number))
        case .float64:
            guard let number = json.doubleValue else { throw refuse("write a number") }
            return .float64(number)
        case .bool:
            guard let flag = json.boolValue else { throw refuse("write true or false") }
            return .bool(flag)
        case .string:
            guard let text = json.stringValue else { throw refuse("write a text in quotes") }
            return .text(text)
        case .array: throw refuse("arrays do not nest")
        }
    }

    private static func array(
        _ elements: [JSONValue], _ type: GGUFValueType, _ refuse: (String) -> CommandFailure
    ) throws -> GGUFArray {
        func map<T: FixedWidthInteger>(_: T.Type) throws -> [T] { try elements.map { try integer($0, refuse) } }
        switch type {
        case .uint8: return GGUFArray(try map(UInt8.self))
        case .int8: return GGUFArray(try map(Int8.self))
        case .uint16: return GGUFArray(try map(UInt16.self))
        case .int16: return GGUFArray(try map(Int16.self))
        case .uint32: return GGUFArray(try map(UInt32.self))
        case .int32: return GGUFArray(try map(Int32.self))
        case .uint64: return GGUFArray(try map(UInt64.self))
        case .int64: return GGUFArray(try map(Int64.self))
        case .float32, .float64:
            let numbers = try elements.map { element in
                guard let number = element.doubleValue else { throw refuse("write numbers") }
                return number
            }
            return type == .float64 ? GGUFArray(numbers) : GGUFArray(numbers.map { Float($0) })
        case .bool:
            return GGUFArray(
                try elements.map { element in
                    guard let flag = element.boolValue else { throw refuse("write true and false") }
                    return flag
                })
        case .string:
            return GGUFArray(
                try elements.map { element in
                    guard let text = element.stringValue else { throw refuse("write texts in quotes") }
                    return text
                })
        case .array: throw refuse("arrays do not nest")
        }
    }

    // MARK: - Types of keys that are not there yet

    /// The type the format's own list of keys gives to a key; nil when it has none.
    static func standardType(of key: String) -> String? {
        let types: [(String, [String])] = [
            (
                "string",
                [
                    "general.architecture", "general.type", "general.name", "general.author", "general.version",
                    "general.organization", "general.finetune", "general.basename", "general.description",
                    "general.quantized_by", "general.size_label", "general.license", "general.license.name",
                    "general.license.link", "general.url", "general.doi", "general.uuid", "general.repo_url",
                    "general.source.url", "general.source.repo_url", "general.source.doi", "general.source.uuid",
                    "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.chat_template",
                ]
            ),
            ("[string]", ["general.tags", "general.languages", "general.datasets", "tokenizer.ggml.merges"]),
            ("u32", ["general.alignment", "general.quantization_version", "general.file_type"]),
            (
                "bool",
                [
                    "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token", "tokenizer.ggml.add_sep_token",
                    "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.remove_extra_whitespaces",
                ]
            ),
        ]
        if let found = types.first(where: { $0.1.contains(key) }) { return found.0 }
        if key.hasPrefix("tokenizer.ggml."), key.hasSuffix("_token_id") { return "u32" }
        if key.hasPrefix("tokenizer.chat_template.") { return "string" }
        return nil
    }
}

import ByteIO

/// `config.json` of a Hugging Face folder, with getters that name the field and what is wrong with it.
///
/// Models that see or hear keep the language model's fields under `text_config`; those shadow the outer ones, so that a
/// mapping finds them where it looks.
public struct HuggingFaceConfig: Sendable {
    /// Names the file in errors.
    public let path: String
    /// The fields of the language model.
    public let fields: JSONObject
    /// `architectures`, the class names of transformers.
    public let classes: [String]

    /// - Throws: ``ConversionError`` when the file is not one JSON object.
    public init(path: String, json: JSONValue) throws {
        guard var fields = json.objectValue else {
            throw ConversionError(.malformed, "this is \(json.kind); an object is expected", path: path)
        }
        self.path = path
        let names = fields["architectures"]?.arrayValue ?? []
        classes = names.compactMap(\.stringValue)
        if let inner = fields["text_config"]?.objectValue {
            for member in inner.members where member.key != "architectures" { fields[member.key] = member.value }
        }
        self.fields = fields
    }

    /// Reads `config.json` of a folder.
    public init(folder: String) throws {
        let path = folder + "/config.json"
        guard let file = try? MappedFile(path: path) else {
            throw ConversionError(
                .missingFile,
                "there is no config.json to read; a Hugging Face model folder has one beside its safetensors files",
                path: folder)
        }
        try self.init(path: path, json: JSONValue.parse(file.copyBytes(), path: path))
    }

    /// The first of several names that is there and not null.
    public func value(_ names: String...) -> (name: String, value: JSONValue)? { value(names) }

    func value(_ names: [String]) -> (name: String, value: JSONValue)? {
        for name in names {
            if let value = fields[name], !value.isNull { return (name, value) }
        }
        return nil
    }

    public func int(_ names: String...) throws -> Int? { try int(names) }

    func int(_ names: [String]) throws -> Int? {
        guard let (name, value) = value(names) else { return nil }
        if let number = value.intValue { return number }
        // Some configurations write whole numbers as 4096.0.
        if case .double(let number) = value, let whole = Int(exactly: number) { return whole }
        throw wrong(name, value, "a whole number")
    }

    public func double(_ names: String...) throws -> Double? { try double(names) }

    func double(_ names: [String]) throws -> Double? {
        guard let (name, value) = value(names) else { return nil }
        guard let number = value.doubleValue else { throw wrong(name, value, "a number") }
        return number
    }

    public func bool(_ names: String...) throws -> Bool? { try bool(names) }

    func bool(_ names: [String]) throws -> Bool? {
        guard let (name, value) = value(names) else { return nil }
        guard let flag = value.boolValue else { throw wrong(name, value, "true or false") }
        return flag
    }

    public func string(_ names: String...) throws -> String? {
        guard let (name, value) = value(names) else { return nil }
        guard let text = value.stringValue else { throw wrong(name, value, "a text") }
        return text
    }

    func object(_ name: String) throws -> JSONObject? {
        guard let (name, value) = value(name) else { return nil }
        guard let object = value.objectValue else { throw wrong(name, value, "an object") }
        return object
    }

    func require<T>(_ value: T?, _ name: String) throws -> T {
        guard let value else {
            throw ConversionError(
                .malformed, "\"\(name)\" is missing; this architecture needs it", path: path)
        }
        return value
    }

    func wrong(_ name: String, _ value: JSONValue, _ expected: String) -> ConversionError {
        ConversionError(.malformed, "\"\(name)\" is \(value.kind); \(expected) is expected", path: path)
    }

    func unsupported(_ message: String) -> ConversionError { ConversionError(.unsupported, message, path: path) }

    /// A part of this configuration as one of its own, so that the same getters serve it.
    func nested(_ object: JSONObject) throws -> HuggingFaceConfig {
        try HuggingFaceConfig(path: path, json: .object(object))
    }
}

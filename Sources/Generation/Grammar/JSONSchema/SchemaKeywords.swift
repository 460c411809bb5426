import ByteIO

/// What is known about the keywords of JSON Schema (drafts 4 to 2020-12).
enum SchemaKeywords {
    /// Keywords that say something about the value and are understood, with the type they speak of.
    static let types: [String: String] = [
        "properties": "object", "required": "object", "additionalProperties": "object",
        "items": "array", "prefixItems": "array", "minItems": "array", "maxItems": "array", "additionalItems": "array",
        "minLength": "string", "maxLength": "string", "pattern": "string", "format": "string",
        "minimum": "number", "maximum": "number", "exclusiveMinimum": "number", "exclusiveMaximum": "number",
    ]

    /// Keywords that say something and cannot be expressed; those with a value of no effect pass.
    static let unsupported: Set<String> = [
        "not", "if", "then", "else", "patternProperties", "dependentRequired", "dependentSchemas", "dependencies",
        "propertyNames", "contains", "minContains", "maxContains", "uniqueItems", "multipleOf", "minProperties",
        "maxProperties", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef",
    ]

    private static let combining: Set<String> = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"]

    /// Refuses what cannot be expressed.
    static func check(_ object: JSONObject, _ place: String) throws(GrammarError) {
        for member in object.members where unsupported.contains(member.key) {
            if hasNoEffect(member) { continue }
            throw GrammarError(
                .unsupported,
                "\(place)/\(member.key): the keyword '\(member.key)' cannot be turned into a grammar; leave it out and "
                    + "check the result afterwards")
        }
    }

    private static func hasNoEffect(_ member: JSONObject.Member) -> Bool {
        switch member.key {
        case "uniqueItems": member.value.boolValue == false
        case "unevaluatedProperties", "unevaluatedItems": member.value.boolValue != nil
        case "minProperties": member.value.intValue == 0
        case "patternProperties", "dependentRequired", "dependentSchemas", "dependencies":
            member.value.objectValue?.isEmpty == true
        default: false
        }
    }

    /// Whether any keyword restricts the value.
    static func asserts(_ object: JSONObject) -> Bool {
        object.keys.contains { types[$0] != nil || combining.contains($0) }
    }

    /// The types a schema allows; none where it says nothing.
    static func types(_ object: JSONObject, _ place: String) throws(GrammarError) -> [String] {
        let known = ["object", "array", "string", "number", "integer", "boolean", "null"]
        guard let type = object["type"] else {
            // Keywords that speak of one type mean that type, as people write them.
            let meant = Set(object.keys.compactMap { types[$0] })
            return known.filter(meant.contains)
        }
        let names = type.stringValue.map { [$0] } ?? type.arrayValue?.compactMap(\.stringValue) ?? []
        guard !names.isEmpty, names.count == (type.arrayValue?.count ?? 1) else {
            throw GrammarError(.schema, "\(place)/type: a type is a name or a list of names, not \(type.kind)")
        }
        if let wrong = names.first(where: { !known.contains($0) }) {
            throw GrammarError(
                .schema, "\(place)/type: there is no type '\(wrong)'; there are \(known.joined(separator: ", "))")
        }
        let kept = known.filter(names.contains)
        return kept.contains("number") ? kept.filter { $0 != "integer" } : kept
    }

    /// Whether a value is of a type.
    static func isOf(_ type: String, _ value: JSONValue) -> Bool {
        switch (type, value) {
        case ("object", .object), ("array", .array), ("string", .string), ("boolean", .bool), ("null", .null): true
        case ("number", .integer), ("number", .unsigned), ("number", .double): true
        case ("integer", .integer), ("integer", .unsigned): true
        case ("integer", .double(let number)): number == number.rounded()
        default: false
        }
    }

    /// A whole number of at least 0.
    static func count(_ object: JSONObject, _ key: String, _ place: String) throws(GrammarError) -> Int? {
        guard let value = object[key] else { return nil }
        let number = value.intValue ?? value.doubleValue.flatMap { Int(exactly: $0) }
        guard let number, number >= 0 else {
            throw GrammarError(
                .schema, "\(place)/\(key): this is a whole number of at least 0, not \(value.compactText)")
        }
        guard number <= Grammar.Limits.repetitions else {
            throw GrammarError(
                .limit, "\(place)/\(key): \(number) is more than the \(Grammar.Limits.repetitions) offered")
        }
        return number
    }
}

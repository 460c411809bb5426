import ByteIO

extension SchemaGrammar {
    mutating func visitString(_ object: JSONObject, _ place: String, name: String) throws(GrammarError) -> String {
        let least = try SchemaKeywords.count(object, "minLength", place) ?? 0
        let most = try SchemaKeywords.count(object, "maxLength", place)
        if let most, most < least {
            throw GrammarError(.schema, "\(place): maxLength \(most) is less than minLength \(least)")
        }
        let isBounded = least > 0 || most != nil
        if let pattern = object["pattern"] {
            guard let text = pattern.stringValue else {
                throw GrammarError(.schema, "\(place)/pattern: this is a string, not \(pattern.kind)")
            }
            if isBounded {
                throw GrammarError(
                    .unsupported,
                    "\(place): pattern together with minLength or maxLength; put the lengths in the pattern")
            }
            let body = try PatternGrammar.gbnf(text, at: "\(place)/pattern", char: basic("char"))
            return rule(name, "\"\\\"\" \(body) \"\\\"\"")
        }
        if let format = object["format"]?.stringValue, BasicRules.formats.contains(format), !isBounded {
            return rule(name, "\"\\\"\" \(basic(format)) \"\\\"\"")
        }
        guard isBounded else { return basic("string") }
        if most == 0 { return GBNF.literal("\"\"") }
        return rule(name, "\"\\\"\" \(GBNF.repeated(basic("char"), least, most)) \"\\\"\"")
    }

    mutating func visitInteger(_ object: JSONObject, _ place: String, name: String) throws(GrammarError) -> String {
        let bounds = try NumberBounds(object, place)
        guard bounds.isGiven else { return basic("integer") }
        return rule(name, try bounds.integers(place))
    }

    mutating func visitNumber(_ object: JSONObject, _ place: String, name: String) throws(GrammarError) -> String {
        let bounds = try NumberBounds(object, place)
        guard bounds.isGiven else { return basic("number") }
        return rule(name, try bounds.numbers(place))
    }

    // MARK: - Values given

    /// Those of an `enum` that the keywords beside it allow, as far as types and bounds go.
    func matching(
        _ values: [JSONValue], _ object: JSONObject, _ place: String
    ) throws(GrammarError) -> [JSONValue] {
        let types = object["type"] == nil ? [] : try SchemaKeywords.types(object, place)
        for key in object.keys where SchemaKeywords.types[key] != nil && key != "format" {
            throw GrammarError(
                .unsupported, "\(place)/\(key): beside enum or const only a type is looked at; leave '\(key)' out")
        }
        return values.filter { value in types.isEmpty || types.contains { SchemaKeywords.isOf($0, value) } }
    }

    func requireMatch(_ values: [JSONValue], _ object: JSONObject, _ place: String) throws(GrammarError) {
        if try matching(values, object, place).isEmpty {
            throw GrammarError(.schema, "\(place)/const: the value does not have the type that stands beside it")
        }
    }

    // MARK: - Merging

    /// A schema that accepts what both accept; with `additionalProperties: false` on either side, only its properties.
    func merge(_ a: JSONObject, _ b: JSONObject, _ place: String) throws(GrammarError) -> JSONObject {
        try SchemaKeywords.check(a, place)
        try SchemaKeywords.check(b, place)
        var result = a
        for (key, value) in b.members.map({ ($0.key, $0.value) }) {
            guard let old = result[key], old != value else {
                result[key] = value
                continue
            }
            switch key {
            case "type":
                let left = try SchemaKeywords.types(JSONObject([("type", old)]), place)
                let right = try SchemaKeywords.types(JSONObject([("type", value)]), place)
                var both = left.filter(right.contains)
                if !both.contains("integer"),
                    left.contains("integer") && right.contains("number")
                        || right.contains("integer") && left.contains("number")
                {
                    both.append("integer")
                }
                guard !both.isEmpty else {
                    throw GrammarError(
                        .schema, "\(place): the types \(old.compactText) and \(value.compactText) exclude each other")
                }
                result[key] = .array(both.map { .string($0) })
            case "required":
                result[key] = .array((old.arrayValue ?? []) + (value.arrayValue ?? []))
            case "properties":
                var members = old.objectValue ?? JSONObject()
                for member in (value.objectValue ?? JSONObject()).members {
                    members[member.key] = members[member.key].map { Self.both($0, member.value) } ?? member.value
                }
                result[key] = .object(members)
            case "minimum", "exclusiveMinimum", "minLength", "minItems":
                result[key] = (old.doubleValue ?? 0) >= (value.doubleValue ?? 0) ? old : value
            case "maximum", "exclusiveMaximum", "maxLength", "maxItems":
                result[key] = (old.doubleValue ?? 0) <= (value.doubleValue ?? 0) ? old : value
            case "enum":
                let both = (old.arrayValue ?? []).filter { (value.arrayValue ?? []).contains($0) }
                guard !both.isEmpty else {
                    throw GrammarError(.schema, "\(place): the lists under enum have no value in common")
                }
                result[key] = .array(both)
            case "const": throw GrammarError(.schema, "\(place): two different constants exclude each other")
            case "items": result[key] = Self.both(old, value)
            case "additionalProperties":
                if old.boolValue == false || value.boolValue == false {
                    result[key] = .bool(false)
                } else if old.boolValue == true {
                    result[key] = value
                } else if value.boolValue != true {
                    result[key] = Self.both(old, value)
                }
            case "allOf": result[key] = .array((old.arrayValue ?? []) + (value.arrayValue ?? []))
            case "anyOf", "oneOf", "pattern", "prefixItems", "format":
                throw GrammarError(.unsupported, "\(place)/\(key): '\(key)' on both sides of a combination")
            default: break  // Notes: either will do.
            }
        }
        try closeProperties(a, b, &result, place)
        return result
    }

    private static func both(_ a: JSONValue, _ b: JSONValue) -> JSONValue {
        .object(JSONObject([("allOf", .array([a, b]))]))
    }

    /// Takes out the properties that the other side's `additionalProperties: false` forbids.
    private func closeProperties(
        _ a: JSONObject, _ b: JSONObject, _ result: inout JSONObject, _ place: String
    ) throws(GrammarError) {
        for (closed, other) in [(a, b), (b, a)] where closed["additionalProperties"]?.boolValue == false {
            let known = closed["properties"]?.objectValue ?? JSONObject()
            guard var members = result["properties"]?.objectValue else { continue }
            for key in (other["properties"]?.objectValue ?? JSONObject()).keys where known[key] == nil {
                if (result["required"]?.arrayValue ?? []).contains(.string(key)) {
                    throw GrammarError(
                        .schema,
                        "\(place): '\(key)' is required by one part and forbidden by another's additionalProperties")
                }
                members[key] = nil
            }
            result["properties"] = .object(members)
        }
    }
}

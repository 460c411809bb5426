import ByteIO

extension SchemaGrammar {
    /// Members in the order of `properties`; each member's rule stands once, so that the size is linear in their number:
    ///
    ///     first_i ::= member_i rest_i+1 | first_i+1        (the alternative only where member_i may be missing)
    ///     rest_i  ::= ("," space member_i)? rest_i+1
    mutating func visitObject(_ object: JSONObject, _ place: String, name: String) throws(GrammarError) -> String {
        let properties = object["properties"]?.objectValue ?? JSONObject()
        if let given = object["properties"], given.objectValue == nil {
            throw GrammarError(.schema, "\(place)/properties: this is an object, not \(given.kind)")
        }
        var required: [String] = []
        if let given = object["required"] {
            guard let list = given.arrayValue, list.allSatisfy({ $0.stringValue != nil }) else {
                throw GrammarError(.schema, "\(place)/required: this is a list of names, not \(given.kind)")
            }
            required = list.compactMap(\.stringValue)
        }
        let additional = object["additionalProperties"] ?? .bool(properties.isEmpty)
        var members = properties.members.map { (key: $0.key, value: $0.value) }
        for name in required where properties[name] == nil {
            guard additional.boolValue != false || object["additionalProperties"] == nil else {
                throw GrammarError(
                    .schema, "\(place)/required: '\(name)' is required, but additionalProperties forbids it")
            }
            guard !members.contains(where: { ExactString.equal($0.key, name) }) else { continue }
            let schema = object["additionalProperties"] ?? .bool(true)
            members.append((key: name, value: schema))
        }
        if members.isEmpty, additional.boolValue == true { return basic("object") }
        let space = basic("space")
        var rest = space
        var first = ""
        if additional.boolValue != false {
            let value = try visit(additional, "\(place)/additionalProperties", name: name + "-additional")
            let key = members.isEmpty ? basic("string") : otherKey(than: members.map(\.key), name: name)
            let other = rule(name + "-other", "\(key) \":\" \(space) \(value)")
            rest = rule(name + "-others", "(\",\" \(space) \(other))* \(space)")
            first = rule(name + "-none", "(\(other) \(rest))?")
        }
        for member in members.reversed() {
            // A member that accepts nothing is one that must not be there.
            let isRequired = required.contains { ExactString.equal($0, member.key) }
            if member.value.boolValue == false, !isRequired { continue }
            let at = "\(place)/properties/\(member.key)"
            let value = try visit(member.value, at, name: name + "-" + member.key)
            let key = GBNF.literal(JSONValue.string(member.key).compactText + ":")
            let pair = rule(name + "-" + member.key + "-kv", "\(key) \(space) \(value)")
            let oldFirst = first
            let begun = "\(pair) \(rest)"
            let choice = oldFirst.isEmpty ? "(\(begun))?" : "\(begun) | \(oldFirst)"
            first = rule(name + "-" + member.key + "-first", isRequired ? begun : choice)
            let next = isRequired ? "\",\" \(space) \(pair) \(rest)" : "(\",\" \(space) \(pair))? \(rest)"
            rest = rule(name + "-" + member.key + "-rest", next)
        }
        return rule(name, "\"{\" \(space) \(first) \"}\"")
    }

    /// A JSON string that is none of these keys, however it is spelled: a tree of their characters, left at the first that
    /// differs.
    private mutating func otherKey(than keys: [String], name: String) -> String {
        let spelled = keys.map { key in key.unicodeScalars.map { PatternGrammar.spelling(of: $0) } }
        let start = otherKeyNode(spelled, depth: 0, name: name + "-key")
        return rule(name + "-key", "\"\\\"\" \(start)")
    }

    private mutating func otherKeyNode(_ keys: [[String]], depth: Int, name: String) -> String {
        let char = basic("char")
        var children: [(spelling: String, keys: [[String]])] = []
        for key in keys where key.count > depth {
            if let index = children.firstIndex(where: { $0.spelling == key[depth] }) {
                children[index].keys.append(key)
            } else {
                children.append((key[depth], [key]))
            }
        }
        let plain = children.compactMap { child -> ClosedRange<UInt32>? in
            guard child.spelling.unicodeScalars.count == 1, let scalar = child.spelling.unicodeScalars.first else {
                return nil
            }
            return scalar.value...scalar.value
        }
        let excluded = CodePoints.normalized(plain + PatternGrammar.unspellable)
        let escapes = ["\\\"", "\\\\", "\\b", "\\f", "\\n", "\\r", "\\t"].filter { escape in
            !children.contains { $0.spelling == escape }
        }
        var choices = [
            "(\(GBNF.characters(CodePoints.complement(excluded))) | "
                + escapes.map(GBNF.literal).joined(separator: " | ") + ") \(char)* \"\\\"\""
        ]
        // Where a key ends, ending here would be that key.
        if !keys.contains(where: { $0.count == depth }) { choices.append("\"\\\"\"") }
        for child in children {
            let next = otherKeyNode(child.keys, depth: depth + 1, name: name)
            choices.append("\(GBNF.literal(child.spelling)) \(next)")
        }
        return rule(name, choices.joined(separator: " | "))
    }

    /// Items, separated by commas; `prefixItems` first, each with its own schema.
    mutating func visitArray(_ object: JSONObject, _ place: String, name: String) throws(GrammarError) -> String {
        let space = basic("space")
        let least = try SchemaKeywords.count(object, "minItems", place) ?? 0
        let most = try SchemaKeywords.count(object, "maxItems", place)
        if let most, most < least {
            throw GrammarError(.schema, "\(place): maxItems \(most) is less than minItems \(least)")
        }
        var leading = object["prefixItems"]
        var items = object["items"]
        // Before 2020-12 a list under `items` was what is `prefixItems` now.
        if leading == nil, items?.arrayValue != nil { (leading, items) = (items, object["additionalItems"]) }
        var parts: [String] = []
        let fixed = if let leading { try list(leading, "\(place)/prefixItems") } else { [JSONValue]() }
        for (index, schema) in fixed.enumerated() where index < most ?? .max {
            parts.append(try visit(schema, "\(place)/prefixItems/\(index)", name: "\(name)-\(index)"))
        }
        var item = ""
        let isClosed = items?.boolValue == false || (leading != nil && items == nil && least <= parts.count)
        if isClosed, least > parts.count {
            throw GrammarError(
                .schema, "\(place): minItems is \(least), but no more than \(parts.count) items may be there")
        }
        if !isClosed { item = try visit(items ?? .bool(true), "\(place)/items", name: name + "-item") }
        let moreLeast = max(0, least - parts.count)
        let moreMost = isClosed ? 0 : most.map { max(0, $0 - parts.count) }
        var body = parts.joined(separator: " \",\" \(space) ")
        if parts.isEmpty {
            if moreMost == 0 { return rule(name, "\"[\" \(space) \"]\"") }
            let others = GBNF.repeated("(\",\" \(space) \(item))", max(0, moreLeast - 1), moreMost.map { $0 - 1 })
            body = moreMost == 1 ? "\(item) \(space)" : "\(item) \(others) \(space)"
            if moreLeast == 0 { body = "(\(body))?" }
        } else {
            if moreMost != 0 { body += " " + GBNF.repeated("(\",\" \(space) \(item))", moreLeast, moreMost) }
            body += " \(space)"
        }
        return rule(name, "\"[\" \(space) \(body) \"]\"")
    }
}

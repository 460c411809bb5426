import ByteIO

/// Turns a JSON schema into GBNF: every text of the grammar is JSON that the schema accepts.
///
/// Understood are `type` (one or several), `enum`, `const`, `properties`, `required`, `additionalProperties`, `items`,
/// `prefixItems`, `minItems`, `maxItems`, `minLength`, `maxLength`, `pattern` (see `PatternGrammar`), `format` (`date`,
/// `time`, `date-time`, `uuid`, `ipv4`, `email`; others are notes), `minimum`, `maximum` and their exclusive forms, `$ref`
/// within the document (recursive ones too), `anyOf`, `oneOf` and `allOf`. A keyword that asserts something and cannot be
/// expressed is an error, not passed over.
///
/// Where a schema leaves freedom the grammar is narrower, so that models stay on course: members come in the order of
/// `properties`; `additionalProperties` is false unless stated, if there are `properties`; `oneOf` is `anyOf`; all of
/// `prefixItems` are present; numbers have at most 16 digits in each part.
struct SchemaGrammar {
    /// The GBNF text, root first.
    ///
    /// - Throws: `GrammarError` naming the keyword and its place as a JSON pointer.
    static func gbnf(for schema: JSONValue) throws(GrammarError) -> String {
        var builder = SchemaGrammar(document: schema)
        let root = try builder.visit(schema, "#", name: "")
        let body = "root ::= \(root)\n"
        return body + builder.rules.map { "\($0.name) ::= \($0.body)\n" }.joined()
    }

    private let document: JSONValue
    private(set) var rules: [(name: String, body: String)] = []
    private var names: Set<String> = ["root"]
    private var basics: Set<String> = []
    /// The rules of `$ref`s, so that each is made once and may contain itself.
    private var references: [String: String] = [:]
    private var visits = 0
    private var depth = 0

    /// Subschemas looked at, and how deep they may be nested.
    private static let visitLimit = 20_000, nesting = 100

    private init(document: JSONValue) { self.document = document }

    // MARK: - Rules

    /// Adds a rule under a name like this one and returns the name.
    mutating func rule(_ wanted: String, _ body: String) -> String {
        let name = reserve(wanted)
        rules.append((name, body))
        return name
    }

    private mutating func reserve(_ wanted: String) -> String {
        let letters = wanted.unicodeScalars.map { scalar -> Character in
            switch scalar {
            case "a"..."z", "A"..."Z", "0"..."9": Character(scalar)
            default: "-"
            }
        }
        let base = letters.isEmpty ? "part" : "v-" + String(letters.prefix(60))
        var name = base
        var number = 2
        while !names.insert(name).inserted {
            name = "\(base)-\(number)"
            number += 1
        }
        return name
    }

    /// Makes sure that a basic rule and those it needs are there; returns its name.
    mutating func basic(_ name: String) -> String {
        guard basics.insert(name).inserted, let rule = BasicRules.all[name] else { return name }
        names.insert(name)
        rules.append((name, rule.body))
        for other in rule.needs { _ = basic(other) }
        return name
    }

    // MARK: - Schemas

    /// An expression for a schema: the name of a rule, or something as short.
    mutating func visit(_ schema: JSONValue, _ place: String, name: String) throws(GrammarError) -> String {
        visits += 1
        depth += 1
        defer { depth -= 1 }
        guard visits <= Self.visitLimit, depth <= Self.nesting else {
            throw GrammarError(
                .limit,
                "\(place): the schema is nested more than \(Self.nesting) levels deep or grows beyond "
                    + "\(Self.visitLimit) parts when its combinations are written out")
        }
        if let any = schema.boolValue {
            if any { return basic("value") }
            throw GrammarError(
                .schema, "\(place): the schema 'false' accepts nothing, so nothing can be written for it")
        }
        guard let object = schema.objectValue else {
            throw GrammarError(.schema, "\(place): a schema is an object, true or false, not \(schema.kind)")
        }
        try SchemaKeywords.check(object, place)
        if let reference = object["$ref"] { return try visitReference(reference, object, place) }
        if let parts = object["allOf"] {
            var merged = object
            merged["allOf"] = nil
            for (index, part) in try list(parts, "\(place)/allOf").enumerated() {
                merged = try merge(merged, try resolved(part, "\(place)/allOf/\(index)"), place)
            }
            return try visit(.object(merged), place, name: name)
        }
        for keyword in ["anyOf", "oneOf"] {
            if let choices = object[keyword] { return try visitChoices(choices, keyword, object, place, name) }
        }
        if let value = object["const"] {
            try requireMatch([value], object, place)
            return GBNF.literal(value.compactText)
        }
        if let values = object["enum"] {
            let values = try list(values, "\(place)/enum")
            let kept = try matching(values, object, place)
            guard !kept.isEmpty else {
                throw GrammarError(.schema, "\(place)/enum: no value fits the other keywords beside it")
            }
            return rule(name + "-enum", kept.map { GBNF.literal($0.compactText) }.joined(separator: " | "))
        }
        let types = try SchemaKeywords.types(object, place)
        if types.count > 1 {
            var choices: [String] = []
            for type in types {
                var one = object
                one["type"] = .string(type)
                choices.append(try visit(.object(one), place, name: name + "-" + type))
            }
            return rule(name, choices.joined(separator: " | "))
        }
        switch types.first {
        case nil: return basic("value")
        case "object": return try visitObject(object, place, name: name)
        case "array": return try visitArray(object, place, name: name)
        case "string": return try visitString(object, place, name: name)
        case "integer": return try visitInteger(object, place, name: name)
        case "number": return try visitNumber(object, place, name: name)
        case let type?: return basic(type)
        }
    }

    func list(_ value: JSONValue, _ place: String) throws(GrammarError) -> [JSONValue] {
        guard let list = value.arrayValue, !list.isEmpty else {
            throw GrammarError(.schema, "\(place): this is a list with at least one entry, not \(value.kind)")
        }
        return list
    }

    private mutating func visitChoices(
        _ choices: JSONValue, _ keyword: String, _ object: JSONObject, _ place: String, _ name: String
    ) throws(GrammarError) -> String {
        var base = object
        base[keyword] = nil
        let asserts = SchemaKeywords.asserts(base)
        var parts: [String] = []
        var failure: GrammarError?
        for (index, choice) in try list(choices, "\(place)/\(keyword)").enumerated() {
            let at = "\(place)/\(keyword)/\(index)"
            guard asserts else {
                parts.append(try visit(choice, at, name: "\(name)-\(index)"))
                continue
            }
            do {
                let merged = try merge(base, try resolved(choice, at), at)
                parts.append(try visit(.object(merged), at, name: "\(name)-\(index)"))
            } catch  where error.code == .schema {
                // A choice that contradicts what stands beside it cannot be taken; another may.
                failure = error
            }
        }
        if parts.isEmpty, let failure { throw failure }
        return parts.count == 1 ? parts[0] : rule(name, parts.joined(separator: " | "))
    }

    // MARK: - References

    private mutating func visitReference(
        _ reference: JSONValue, _ object: JSONObject, _ place: String
    ) throws(GrammarError) -> String {
        guard let pointer = reference.stringValue else {
            throw GrammarError(.schema, "\(place)/$ref: a reference is a string, not \(reference.kind)")
        }
        var rest = object
        rest["$ref"] = nil
        if SchemaKeywords.asserts(rest) {
            let merged = try merge(rest, try resolved(.object(JSONObject([("$ref", reference)])), place), place)
            return try visit(.object(merged), place, name: pointer)
        }
        if let name = references[pointer] { return name }
        let target = try lookUp(pointer, place)
        let name = reserve("ref-" + (pointer.split(separator: "/").last.map(String.init) ?? ""))
        references[pointer] = name
        // The depth counts nesting written in the document, not the way through references.
        let saved = depth
        depth = 0
        let body = try visit(target, pointer, name: name)
        depth = saved
        rules.append((name, body))
        return name
    }

    /// The object that a schema stands for, references followed; `true` is the empty one.
    private func resolved(_ schema: JSONValue, _ place: String) throws(GrammarError) -> JSONObject {
        var schema = schema
        for _ in 0..<100 {
            if schema.boolValue == true { return JSONObject() }
            guard let object = schema.objectValue else {
                throw GrammarError(.schema, "\(place): a schema is an object, true or false, not \(schema.kind)")
            }
            guard let reference = object["$ref"] else { return object }
            guard let pointer = reference.stringValue else {
                throw GrammarError(.schema, "\(place)/$ref: a reference is a string, not \(reference.kind)")
            }
            var rest = object
            rest["$ref"] = nil
            if SchemaKeywords.asserts(rest) {
                throw GrammarError(
                    .unsupported, "\(place): keywords beside a $ref that is itself part of allOf, anyOf or oneOf")
            }
            schema = try lookUp(pointer, place)
        }
        throw GrammarError(.schema, "\(place): the references lead round in a circle")
    }

    /// What a reference within the document names.
    private func lookUp(_ pointer: String, _ place: String) throws(GrammarError) -> JSONValue {
        guard pointer == "#" || pointer.hasPrefix("#/") else {
            throw GrammarError(
                .unsupported,
                "\(place)/$ref: '\(pointer)' lies outside this schema; copy it into $defs and refer to '#/$defs/NAME'")
        }
        var value = document
        for part in pointer.dropFirst().split(separator: "/", omittingEmptySubsequences: true) {
            let key = part.replacing("~1", with: "/").replacing("~0", with: "~").replacing("%24", with: "$")
            let next =
                value[String(key)]
                ?? value.arrayValue.flatMap { list in
                    Int(key).flatMap { list.indices.contains($0) ? list[$0] : nil }
                }
            guard let next else {
                throw GrammarError(.schema, "\(place)/$ref: the schema has nothing at '\(pointer)'")
            }
            value = next
        }
        return value
    }
}

import ByteIO
import Fixtures
import Foundation
import Testing

@testable import Generation

/// Which JSON texts the grammar of a schema takes and which it does not. Python's jsonschema judges the same pairs in
/// `Tests/Oracles/json_schemas.py`.
@Suite struct JSONSchemaTests {
    struct Case: Decodable {
        let good, bad: [String]
    }

    @Test func `a schema's grammar takes what the schema takes`() throws {
        let bytes = try Data(contentsOf: Fixtures.url("Golden/json-schemas.json"))
        let schemas = try #require(try JSONValue.parse(Array(bytes)).arrayValue)
        let cases = try JSONDecoder().decode([Case].self, from: bytes)
        #expect(cases.count > 30)
        for (item, entry) in zip(cases, schemas) {
            let schema = try #require(entry["schema"])
            let grammar = try Grammar(jsonSchema: schema)
            for text in item.good {
                #expect(try grammar.matches(text), "\(schema.compactText): \(text) should be taken")
            }
            for text in item.bad {
                #expect(try !grammar.matches(text), "\(schema.compactText): \(text) should be refused")
            }
        }
    }

    @Test func `integer bounds are exact`() throws {
        let bounds: [(Int?, Int?)] = [
            (0, 9), (3, 7), (5, 12), (0, 0), (17, 17), (98, 1203), (-5, 5), (-120, -7), (nil, -3), (12, nil), (-1, nil),
            (nil, 0),
            (-10, 99), (1000, 1000), (999, 1001), (0, nil), (nil, 150),
        ]
        for (low, high) in bounds {
            var members = ["\"type\": \"integer\""]
            if let low { members.append("\"minimum\": \(low)") }
            if let high { members.append("\"exclusiveMaximum\": \(high + 1)") }
            let grammar = try Grammar(jsonSchema: JSONValue.parse(text: "{\(members.joined(separator: ","))}"))
            for value in -1300...1300 {
                let fits = value >= low ?? .min && value <= high ?? .max
                let found = try grammar.matches("\(value)")
                if found != fits {
                    Issue.record("\(value) in \(low.map(String.init) ?? "…")…\(high.map(String.init) ?? "…")")
                }
            }
        }
    }

    @Test(arguments: [
        (#"{"type": "strin"}"#, "strin"), (#"{"not": {}}"#, "not"),
        (#"{"patternProperties": {"a": {}}}"#, "patternProperties"),
        (#"{"$ref": "http://x/y"}"#, "http://x/y"), (##"{"$ref": "#/$defs/none"}"##, "#/$defs/none"),
        (##"{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}"##, "root"), ("3", "integer"),
        ("false", "false"),
        (#"{"type": "array", "uniqueItems": true}"#, "uniqueItems"),
        (#"{"type": "integer", "minimum": 5, "maximum": 4}"#, "bounds"),
        (#"{"type": "string", "pattern": "(?=a)"}"#, "(?"), (#"{"type": "string", "pattern": "a("}"#, "group"),
        (#"{"enum": []}"#, "enum"), (#"{"properties": 3}"#, "properties"),
        (#"{"type": "number", "multipleOf": 2}"#, "multipleOf"),
        (#"{"allOf": [{"type": "string"}, {"type": "integer"}]}"#, "exclude"),
        (#"{"type": "string", "maxLength": 999999999}"#, "maxLength"),
        (#"{"required": ["a"], "additionalProperties": false}"#, "'a'"),
    ])
    func `what cannot be expressed is an error that names it`(schema: String, needle: String) throws {
        let error = try #require(throws: GrammarError.self) {
            try Grammar(jsonSchema: JSONValue.parse(text: schema))
        }
        #expect(error.message.contains(needle), "\(error.message)")
    }

    @Test func `combinations that explode are bounded`() throws {
        let choice = #"{"anyOf": [{"properties": {"X1": {}}}, {"properties": {"X2": {}}}]}"#
        let parts = (0..<40).map { choice.replacing("X", with: "p\($0)") }.joined(separator: ",")
        #expect(throws: GrammarError.self) {
            try Grammar(jsonSchema: JSONValue.parse(text: "{\"allOf\": [\(parts)]}"))
        }
        let deep = String(repeating: "{\"items\":", count: 110) + "{}" + String(repeating: "}", count: 110)
        #expect(throws: GrammarError.self) { try Grammar(jsonSchema: JSONValue.parse(text: deep)) }
    }
}

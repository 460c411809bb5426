/// Pieces of GBNF text.
enum GBNF {
    /// A literal: quoted, escaped.
    static func literal(_ text: String) -> String { "\"" + text.unicodeScalars.map { escaped($0) }.joined() + "\"" }

    /// A character as it may stand in a literal and in a class.
    static func escaped(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\"", "\\", "[", "]": "\\\(scalar)"
        case "\n": "\\n"
        case "\r": "\\r"
        case "\t": "\\t"
        case let s where s.value < 0x20 || s.value == 0x7F: hexadecimal(s.value, 2, "x")
        case "-", "^": hexadecimal(scalar.value, 2, "x")
        case let s where s.value < 0x80: String(s)
        case let s where s.value < 0x10000: hexadecimal(s.value, 4, "u")
        default: hexadecimal(scalar.value, 8, "U")
        }
    }

    /// A class of code points, none of them a surrogate.
    static func characters(_ ranges: [ClosedRange<UInt32>]) -> String {
        func text(_ value: UInt32) -> String { Unicode.Scalar(value).map(escaped) ?? "" }
        return "["
            + ranges.map { range in
                range.count == 1 ? text(range.lowerBound) : text(range.lowerBound) + "-" + text(range.upperBound)
            }.joined() + "]"
    }

    /// A repetition of an expression that is one symbol, or in parentheses.
    static func repeated(_ expression: String, _ lower: Int, _ upper: Int?) -> String {
        switch (lower, upper) {
        case (0, nil): expression + "*"
        case (1, nil): expression + "+"
        case (0, 1): expression + "?"
        case (1, 1): expression
        case (let m, nil): "\(expression){\(m),}"
        case (let m, let n?): m == n ? "\(expression){\(m)}" : "\(expression){\(m),\(n)}"
        }
    }

    private static func hexadecimal(_ value: UInt32, _ digits: Int, _ letter: String) -> String {
        let text = String(value, radix: 16, uppercase: true)
        return "\\" + letter + String(repeating: "0", count: digits - text.count) + text
    }
}

/// The rules that schemas share.
enum BasicRules {
    static let all: [String: (body: String, needs: [String])] = [
        // White space is offered, but not without end: small models would go on with it forever.
        "space": ("| \" \" | \"\\n\"{1,2} [ \\t]{0,20}", []),
        // Escapes never spell half a surrogate pair.
        "char": (
            "[^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" ([0-9a-ce-fA-CE-F] hex{3} | [dD] [0-7] hex{2}))",
            ["hex"]
        ),
        "hex": ("[0-9a-fA-F]", []),
        "string": ("\"\\\"\" char* \"\\\"\"", ["char"]),
        "whole": ("\"0\" | [1-9] [0-9]{0,15}", []),
        "integer": ("\"-\"? whole", ["whole"]),
        "number": ("integer (\".\" [0-9]{1,16})? ([eE] [\\x2D+]? [0-9]{1,2})?", ["integer"]),
        "boolean": ("\"true\" | \"false\"", []),
        "null": ("\"null\"", []),
        "value": (
            "object | array | string | number | boolean | null",
            [
                "object", "array", "string", "number", "boolean", "null",
            ]
        ),
        "member": ("string \":\" space value", ["string", "space", "value"]),
        "object": ("\"{\" space (member (\",\" space member)* space)? \"}\"", ["member", "space"]),
        "array": ("\"[\" space (value (\",\" space value)* space)? \"]\"", ["value", "space"]),
        "date": (
            "[0-9]{4} \"-\" ((\"0\" [13578] | \"1\" [02]) \"-\" (\"0\" [1-9] | [12] [0-9] | \"3\" [01]) | (\"0\" [469] | \"11\") "
                + "\"-\" (\"0\" [1-9] | [12] [0-9] | \"30\") | \"02-\" (\"0\" [1-9] | \"1\" [0-9] | \"2\" [0-8]))",
            []
        ),
        "time": (
            "clock \":\" [0-5] [0-9] (\".\" [0-9]{1,9})? (\"Z\" | [+\\x2D] clock)", ["clock"]
        ),
        "clock": ("([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9]", []),
        "date-time": ("date \"T\" time", ["date", "time"]),
        "uuid": ("hex{8} \"-\" hex{4} \"-\" hex{4} \"-\" hex{4} \"-\" hex{12}", ["hex"]),
        "octet": ("[0-9] | [1-9] [0-9] | \"1\" [0-9]{2} | \"2\" [0-4] [0-9] | \"25\" [0-5]", []),
        "ipv4": ("octet (\".\" octet){3}", ["octet"]),
        "label": ("[a-z0-9] ([a-z0-9\\x2D]{0,30} [a-z0-9])?", []),
        "email": ("[a-zA-Z0-9_]{1,16} ([.+\\x2D] [a-zA-Z0-9_]{1,16}){0,3} \"@\" label (\".\" label){1,3}", ["label"]),
    ]

    /// Formats of strings that are more than a note.
    static let formats: Set<String> = ["date", "time", "date-time", "uuid", "ipv4", "email"]
}

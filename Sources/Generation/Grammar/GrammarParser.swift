/// Reads GBNF, llama.cpp's dialect of BNF.
///
///     root  ::= greeting " " name{1,3} "!"?     # a comment
///     name  ::= [A-Z] [a-z]+ | "é" | "\u00E9" | . | [^0-9\n-]
///
/// `<think>` is the token with that name, `<[1000]>` the token with that id, `!<think>` any token but that one.
///
/// A rule ends at the end of its line, unless the line ends with `::=` or `|` or inside parentheses. Escapes are
/// `\n \r \t \\ \" \[ \]`, `\xHH`, `\uHHHH` and `\UHHHHHHHH`. Repetitions are `* + ? {m} {m,} {m,n}`.
struct GrammarParser {
    private let text: [Unicode.Scalar]
    private var at = 0
    private var depth = 0
    private var syntax = GrammarSyntax()

    /// Parentheses inside each other.
    private static let nesting = 200

    /// - Throws: `GrammarError` with line and column.
    static func parse(_ source: String) throws(GrammarError) -> GrammarSyntax {
        guard source.utf8.count <= Grammar.Limits.sourceBytes else {
            throw GrammarError(
                .limit, "the grammar has \(source.utf8.count) bytes; at most \(Grammar.Limits.sourceBytes) are read")
        }
        var parser = GrammarParser(source)
        return try parser.rules()
    }

    private init(_ source: String) { text = Array(source.unicodeScalars) }

    private var current: Unicode.Scalar? { at < text.count ? text[at] : nil }
    private func scalar(_ offset: Int) -> Unicode.Scalar? { at + offset < text.count ? text[at + offset] : nil }

    private func error(_ message: String, at place: Int? = nil) -> GrammarError {
        let place = min(place ?? at, text.count)
        let line = text[..<place].count { $0 == "\n" } + 1
        let start = text[..<place].lastIndex(of: "\n").map { $0 + 1 } ?? 0
        return GrammarError(.syntax, "grammar line \(line), column \(place - start + 1): \(message)")
    }

    private func found() -> String {
        switch current {
        case nil: "the text ends"
        case "\n", "\r": "the line ends"
        case let scalar?: "there is '\(scalar)'"
        }
    }

    private mutating func rules() throws(GrammarError) -> GrammarSyntax {
        skipBlanks(newlines: true)
        while current != nil {
            let place = at
            let number = syntax.number(of: try name("a rule's name"))
            skipBlanks(newlines: false)
            guard current == ":", scalar(1) == ":", scalar(2) == "=" else {
                throw error("a rule is NAME ::= EXPRESSION; here \(found()) instead of '::='")
            }
            at += 3
            skipBlanks(newlines: true)
            guard syntax.rules[number] == nil else {
                throw GrammarError(
                    .rules, error("the rule '\(syntax.names[number])' is defined twice", at: place).message)
            }
            syntax.rules[number] = try alternatives(nested: false)
            guard current == nil || current == "\n" || current == "\r" else {
                throw error("the rule '\(syntax.names[number])' should end here, but \(found())")
            }
            skipBlanks(newlines: true)
        }
        return syntax
    }

    private mutating func skipBlanks(newlines: Bool) {
        while let scalar = current {
            if scalar == "#" {
                while let inside = current, inside != "\n", inside != "\r" { at += 1 }
            } else if scalar == " " || scalar == "\t" || (newlines && (scalar == "\n" || scalar == "\r")) {
                at += 1
            } else {
                return
            }
        }
    }

    private static func isNamePart(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "-": true
        default: false
        }
    }

    private mutating func name(_ what: String) throws(GrammarError) -> String {
        let start = at
        while let scalar = current, Self.isNamePart(scalar) { at += 1 }
        guard at > start else { throw error("\(what) (letters, digits, '-') is expected, but \(found())") }
        var name = String.UnicodeScalarView()
        name.append(contentsOf: text[start..<at])
        return String(name)
    }

    private mutating func alternatives(nested: Bool) throws(GrammarError) -> GrammarSyntax.Node {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.nesting else {
            throw GrammarError(
                .limit, error("parentheses are nested more than \(Self.nesting) deep").message)
        }
        var result = [try sequence(nested: nested)]
        while current == "|" {
            at += 1
            skipBlanks(newlines: true)
            result.append(try sequence(nested: nested))
        }
        return result.count == 1 ? result[0] : .alternatives(result)
    }

    private mutating func sequence(nested: Bool) throws(GrammarError) -> GrammarSyntax.Node {
        var items: [GrammarSyntax.Node] = []
        loop: while let scalar = current {
            switch scalar {
            case "\"": items.append(try literal())
            case "[": items.append(try characterClass())
            case ".":
                at += 1
                items.append(.characters(CodePoints.all))
            case "(":
                let place = at
                at += 1
                skipBlanks(newlines: true)
                items.append(try alternatives(nested: true))
                guard current == ")" else {
                    throw error("the parenthesis opened here is not closed", at: place)
                }
                at += 1
            case "*", "+", "?", "{":
                guard let last = items.popLast() else { throw error("'\(scalar)' has nothing before it to repeat") }
                items.append(try repetition(of: last))
            case "<", "!": items.append(.token(try token()))
            case let scalar where Self.isNamePart(scalar):
                items.append(.rule(syntax.number(of: try name("a name"))))
            default: break loop
            }
            skipBlanks(newlines: nested)
        }
        return items.count == 1 ? items[0] : .sequence(items)
    }

    /// `<name>`, `<[id]>`, or either behind `!`.
    private mutating func token() throws(GrammarError) -> GrammarToken {
        let place = at
        let isNegated = current == "!"
        if isNegated { at += 1 }
        guard current == "<" else {
            throw error("after '!' a token is expected, <name> or <[id]>, but \(found())")
        }
        let start = at
        at += 1
        if current == "[" {
            at += 1
            var id = 0
            let digits = at
            while let scalar = current, ("0"..."9").contains(scalar) {
                id = min(id * 10 + Int(scalar.value - 48), Int(Int32.max))
                at += 1
            }
            guard at > digits, current == "]", scalar(1) == ">" else {
                throw error("the token's id that begins here is malformed; it is written <[1000]>", at: place)
            }
            at += 2
            return GrammarToken(name: .id(id), isNegated: isNegated)
        }
        while let scalar = current, scalar != ">", scalar != "\n", scalar != "\r" { at += 1 }
        guard current == ">", at > start + 1 else {
            throw error("the token that begins here is malformed; it is written <name> or <[id]>", at: place)
        }
        at += 1
        var name = String.UnicodeScalarView()
        name.append(contentsOf: text[start..<at])
        return GrammarToken(name: .text(String(name)), isNegated: isNegated)
    }

    private mutating func literal() throws(GrammarError) -> GrammarSyntax.Node {
        let place = at
        at += 1
        var bytes: [UInt8] = []
        while current != "\"" {
            guard current != nil else {
                throw error("the text that begins here has no closing quotation mark", at: place)
            }
            bytes.append(contentsOf: Array(String(try character()).utf8))
        }
        at += 1
        return .literal(bytes)
    }

    private mutating func characterClass() throws(GrammarError) -> GrammarSyntax.Node {
        let place = at
        at += 1
        let isNegated = current == "^"
        if isNegated { at += 1 }
        var ranges: [ClosedRange<UInt32>] = []
        while current != "]" {
            guard current != nil else { throw error("the class that begins here has no ']'", at: place) }
            let from = at
            let first = try character().value
            var last = first
            if current == "-", scalar(1) != "]" {
                at += 1
                guard current != nil else { throw error("the class that begins here has no ']'", at: place) }
                last = try character().value
                guard first <= last else { throw error("the range goes backwards", at: from) }
            }
            ranges.append(first...last)
        }
        at += 1
        let set = CodePoints.normalized(ranges)
        let result = isNegated ? CodePoints.complement(set) : set
        guard !result.isEmpty else { throw error("the class has no character in it", at: place) }
        return .characters(result)
    }

    /// One character, escaped or not.
    private mutating func character() throws(GrammarError) -> Unicode.Scalar {
        guard let scalar = current else { throw error("the text ends within a character") }
        let place = at
        at += 1
        guard scalar == "\\" else { return scalar }
        guard let kind = current else { throw error("the text ends after '\\'") }
        at += 1
        switch kind {
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "\\", "\"", "[", "]": return kind
        case "x": return try hexadecimal(2, place)
        case "u": return try hexadecimal(4, place)
        case "U": return try hexadecimal(8, place)
        default:
            throw error(
                "'\\\(kind)' is no escape; there are \\n \\r \\t \\\\ \\\" \\[ \\] \\xHH \\uHHHH \\UHHHHHHHH", at: place
            )
        }
    }

    private mutating func hexadecimal(_ digits: Int, _ place: Int) throws(GrammarError) -> Unicode.Scalar {
        var value: UInt32 = 0
        for _ in 0..<digits {
            guard let digit = Self.hex(current) else {
                throw error("this escape needs \(digits) hexadecimal digits", at: place)
            }
            value = value << 4 | digit
            at += 1
        }
        guard let scalar = Unicode.Scalar(value) else { throw error("this escape is no character", at: place) }
        return scalar
    }

    private static func hex(_ scalar: Unicode.Scalar?) -> UInt32? {
        switch scalar {
        case let s? where ("0"..."9").contains(s): s.value - 48
        case let s? where ("a"..."f").contains(s): s.value - 87
        case let s? where ("A"..."F").contains(s): s.value - 55
        default: nil
        }
    }

    private mutating func repetition(of node: GrammarSyntax.Node) throws(GrammarError) -> GrammarSyntax.Node {
        let place = at
        let sign = current
        at += 1
        switch sign {
        case "*": return .repetition(node, lower: 0, upper: nil)
        case "+": return .repetition(node, lower: 1, upper: nil)
        case "?": return .repetition(node, lower: 0, upper: 1)
        default: break
        }
        skipBlanks(newlines: true)
        let lower = try count(place)
        skipBlanks(newlines: true)
        var upper: Int? = lower
        if current == "," {
            at += 1
            skipBlanks(newlines: true)
            upper = current == "}" ? nil : try count(place)
            skipBlanks(newlines: true)
        }
        guard current == "}" else {
            throw error("the repetition {m}, {m,} or {m,n} that begins here is malformed", at: place)
        }
        at += 1
        if let upper, upper < lower { throw error("the repetition's bounds are reversed", at: place) }
        return .repetition(node, lower: lower, upper: upper)
    }

    private mutating func count(_ place: Int) throws(GrammarError) -> Int {
        var value = 0
        let start = at
        while let scalar = current, ("0"..."9").contains(scalar) {
            value = min(value * 10 + Int(scalar.value - 48), Grammar.Limits.repetitions + 1)
            at += 1
        }
        guard at > start else {
            throw error("the repetition {m}, {m,} or {m,n} that begins here needs a number", at: place)
        }
        guard value <= Grammar.Limits.repetitions else {
            throw GrammarError(
                .limit, error("more than \(Grammar.Limits.repetitions) repetitions are not offered", at: place).message)
        }
        return value
    }
}

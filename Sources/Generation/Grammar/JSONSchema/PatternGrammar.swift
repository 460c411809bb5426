/// Turns the `pattern` of a string, a regular expression, into GBNF for the JSON spelling of the strings it finds.
///
/// Offered: literals, `.`, classes, `\d \w \s` and their opposites, escapes, groups, `|`, `* + ? {m,n}` (lazy marks are
/// ignored, the language is the same), `^` at the beginning and `$` at the end of the whole pattern. As JSON Schema has it,
/// a pattern without `^` or `$` may be found anywhere in the string. Back references, look-around and boundaries are errors.
struct PatternGrammar {
    /// What a JSON string cannot hold as it is.
    static let unspellable: [ClosedRange<UInt32>] = [0...0x1F, 0x22...0x22, 0x5C...0x5C, 0x7F...0x7F]

    /// How JSON spells a character within a string.
    static func spelling(of scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\"": "\\\""
        case "\\": "\\\\"
        case "\n": "\\n"
        case "\r": "\\r"
        case "\t": "\\t"
        case "\u{8}": "\\b"
        case "\u{C}": "\\f"
        case let s where s.value < 0x20 || s.value == 0x7F:
            "\\u00" + (s.value < 16 ? "0" : "") + String(s.value, radix: 16)
        default: String(scalar)
        }
    }

    /// GBNF between the quotation marks.
    ///
    /// - Parameters:
    ///   - place: where the pattern stands, for messages.
    ///   - char: the rule of any character in a JSON string.
    static func gbnf(_ pattern: String, at place: String, char: String) throws(GrammarError) -> String {
        var parser = PatternGrammar(pattern, place)
        let isAnchored = parser.take("^")
        let body = try parser.alternatives()
        guard parser.at == parser.text.count || parser.isFinalDollar else {
            throw parser.error("')' has no '('")
        }
        let start = isAnchored ? "" : "\(char)* "
        let end = parser.isFinalDollar ? "" : " \(char)*"
        return "\(start)(\(body))\(end)"
    }

    private let text: [Unicode.Scalar]
    private let place: String
    private var at = 0
    private var depth = 0

    private init(_ pattern: String, _ place: String) {
        text = Array(pattern.unicodeScalars)
        self.place = place
    }

    private var current: Unicode.Scalar? { at < text.count ? text[at] : nil }
    private var isFinalDollar: Bool { at == text.count - 1 && text[at] == "$" }

    private func error(_ message: String) -> GrammarError {
        GrammarError(.unsupported, "\(place), character \(at + 1): \(message)")
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard current == scalar else { return false }
        at += 1
        return true
    }

    private mutating func alternatives() throws(GrammarError) -> String {
        depth += 1
        defer { depth -= 1 }
        guard depth <= 50 else { throw error("groups are nested more than 50 deep") }
        var parts = [try sequence()]
        while take("|") { parts.append(try sequence()) }
        // With anchors on one side of a bar the pattern would mean something else than it seems.
        if depth == 1, parts.count > 1, isFinalDollar || text.first == "^" {
            throw error("'|' beside '^' or '$' at the same level; put the alternatives in parentheses")
        }
        return parts.joined(separator: " | ")
    }

    private mutating func sequence() throws(GrammarError) -> String {
        var parts: [String] = []
        while let scalar = current, scalar != "|", scalar != ")", !isFinalDollar || depth > 1 {
            parts.append(try repeated(try atom()))
        }
        return parts.joined(separator: " ")
    }

    private mutating func atom() throws(GrammarError) -> String {
        guard let scalar = current else { return "" }
        switch scalar {
        case "(":
            at += 1
            if take("?") {
                guard take(":") else { throw error("of groups with '?' only (?:…) is offered") }
            }
            let body = try alternatives()
            guard take(")") else { throw error("a group is not closed") }
            return "(\(body))"
        case "[": return try characterClass()
        case ".":
            at += 1
            return Self.set(CodePoints.complement([0xA...0xA, 0xD...0xD, 0x2028...0x2029]))
        case "^", "$": throw error("'\(scalar)' is offered at the ends of the pattern only")
        case "*", "+", "?", "{": throw error("'\(scalar)' has nothing before it to repeat")
        case "\\": return Self.set(try escape())
        default:
            at += 1
            return Self.set([scalar.value...scalar.value])
        }
    }

    private mutating func repeated(_ atom: String) throws(GrammarError) -> String {
        var bounds: (Int, Int?)
        switch current {
        case "*": bounds = (0, nil)
        case "+": bounds = (1, nil)
        case "?": bounds = (0, 1)
        case "{":
            at += 1
            guard let lower = number() else {
                throw error("'{' begins a repetition {m}, {m,} or {m,n} here; write \\{ for itself")
            }
            var upper: Int? = lower
            if take(",") { upper = current == "}" ? nil : number() }
            guard current == "}", upper ?? lower >= lower else { throw error("the repetition is malformed") }
            bounds = (lower, upper)
        default: return atom
        }
        at += 1
        _ = take("?")
        if let next = current, next == "*" || next == "+" || next == "{" { throw error("a repetition of a repetition") }
        guard max(bounds.0, bounds.1 ?? 0) <= Grammar.Limits.repetitions else {
            throw error("more than \(Grammar.Limits.repetitions) repetitions are not offered")
        }
        if bounds.1 == 0 { return "\"\"" }
        return GBNF.repeated(atom, bounds.0, bounds.1)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let scalar = current, ("0"..."9").contains(scalar) {
            value = min((value ?? 0) * 10 + Int(scalar.value - 48), 1 << 30)
            at += 1
        }
        return value
    }

    private mutating func characterClass() throws(GrammarError) -> String {
        at += 1
        let isNegated = take("^")
        var ranges: [ClosedRange<UInt32>] = []
        while current != "]" {
            guard let scalar = current else { throw error("a class is not closed") }
            var first = [scalar.value...scalar.value]
            if scalar == "\\" { first = try escape() } else { at += 1 }
            if first.count == 1, first[0].count == 1, current == "-", at + 1 < text.count, text[at + 1] != "]" {
                at += 1
                var last = [text[at].value...text[at].value]
                if text[at] == "\\" { last = try escape() } else { at += 1 }
                guard last.count == 1, last[0].count == 1, first[0].lowerBound <= last[0].lowerBound else {
                    throw error("a range in a class is malformed")
                }
                first = [first[0].lowerBound...last[0].lowerBound]
            }
            ranges += first
        }
        at += 1
        let set = CodePoints.normalized(ranges)
        let result = isNegated ? CodePoints.complement(set) : set
        guard !result.isEmpty else { throw error("a class has no character in it") }
        return Self.set(result)
    }

    private mutating func escape() throws(GrammarError) -> [ClosedRange<UInt32>] {
        at += 1
        guard let kind = current else { throw error("the pattern ends after '\\'") }
        at += 1
        let digits: [ClosedRange<UInt32>] = [0x30...0x39]
        let word: [ClosedRange<UInt32>] = [0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A]
        let blank: [ClosedRange<UInt32>] = [9...13, 0x20...0x20]
        switch kind {
        case "d": return digits
        case "D": return CodePoints.complement(digits)
        case "w": return word
        case "W": return CodePoints.complement(word)
        case "s": return blank
        // Other blanks of Unicode are left out of both sets, since engines disagree about them.
        case "S":
            return CodePoints.complement(
                blank + [
                    0x85...0x85, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A, 0x2028...0x2029, 0x202F...0x202F,
                    0x205F...0x205F, 0x3000...0x3000, 0xFEFF...0xFEFF,
                ])
        case "n": return [0xA...0xA]
        case "r": return [0xD...0xD]
        case "t": return [9...9]
        case "f": return [0xC...0xC]
        case "v": return [0xB...0xB]
        case "x": return try hexadecimal(2)
        case "u": return try hexadecimal(4)
        case let s where s.value < 0x80 && !s.properties.isAlphabetic && !("0"..."9").contains(s):
            return [s.value...s.value]
        default: throw error("'\\\(kind)' is not offered")
        }
    }

    private mutating func hexadecimal(_ digits: Int) throws(GrammarError) -> [ClosedRange<UInt32>] {
        let end = min(at + digits, text.count)
        var part = String.UnicodeScalarView()
        part.append(contentsOf: text[at..<end])
        guard end == at + digits, let value = UInt32(String(part), radix: 16), Unicode.Scalar(value) != nil else {
            throw error("the escape needs \(digits) hexadecimal digits of a character")
        }
        at = end
        return [value...value]
    }

    /// One of these characters, as JSON spells it.
    private static func set(_ ranges: [ClosedRange<UInt32>]) -> String {
        let plain = CodePoints.complement(CodePoints.normalized(CodePoints.complement(ranges) + unspellable))
        var parts = plain.isEmpty ? [] : [GBNF.characters(plain)]
        for range in unspellable {
            for value in range where ranges.contains(where: { $0.contains(value) }) {
                if let scalar = Unicode.Scalar(value) { parts.append(GBNF.literal(spelling(of: scalar))) }
            }
        }
        return parts.count == 1 ? parts[0] : "(" + parts.joined(separator: " | ") + ")"
    }
}

/// A regular expression reduced to a form in which different spellings of the same pattern are equal.
///
/// Only as much is understood as pre-tokenizers use: alternation, quantifiers, sets with properties, groups, look-around
/// and `(?i:…)`. What is normalised: escapes, `[x]` for `x`, order in sets, the way a set of fixed words is written
/// (`(?i:'s|'t)`, `'(?i:[st])`, `'[sS]|'[tT]`), groups without effect, `{n}` for repeated text, possessive quantifiers
/// (the pre-tokenizers that have them match the same without), and a last `\s+` that only names what is left over.
/// A pattern that is not understood is kept as it is written and equals itself alone.
struct RegexPattern: Hashable, Sendable {
    /// The canonical text, close to an ordinary expression; what error messages show.
    let canonical: String
    /// The alternatives at the top, in their order.
    let alternatives: [String]

    init(_ source: String) {
        var parser = RegexParser(source)
        guard let tree = parser.parse() else {
            canonical = source
            alternatives = [source]
            return
        }
        // As an alternation of one, so that a set of fixed words is one however it is written.
        let node = RegexNode.alternation([tree]).simplified()
        canonical = node.description
        if case .alternation(let branches) = node {
            alternatives = branches.map(\.description)
        } else {
            alternatives = [node.description]
        }
    }
}

/// The syntax tree of a pattern.
indirect enum RegexNode: Hashable {
    case alternation([RegexNode])
    case sequence([RegexNode])
    case set(RegexSet)
    /// A set of fixed texts, none of which begins another, sorted.
    case words([String])
    case repeated(RegexNode, minimum: Int, maximum: Int?, isLazy: Bool)
    case look(String, RegexNode)
    case anchor(String)
}

/// A set of characters: ranges of scalars and named classes.
struct RegexSet: Hashable {
    var isNegated = false
    var ranges: [ClosedRange<UInt32>] = []
    /// `s`, `d`, `w`, `p{L}`; with a leading `^` for the complement.
    var classes: Set<String> = []
    /// A set with operators or sets within, as it is written.
    var opaque: String?
}

// MARK: - Parsing

/// A recursive-descent parser; nil means that something is not understood.
struct RegexParser {
    private let scalars: [Unicode.Scalar]
    private var position = 0
    private var depth = 0
    private static let maximumDepth = 50
    private static let maximumLength = 65_536

    init(_ source: String) { scalars = Array(source.unicodeScalars.prefix(Self.maximumLength + 1)) }

    mutating func parse() -> RegexNode? {
        guard scalars.count <= Self.maximumLength else { return nil }
        var ignoresCase = false
        guard let node = alternation(&ignoresCase), position == scalars.count else { return nil }
        return node
    }

    private var next: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    private mutating func take(_ text: String) -> Bool {
        let wanted = Array(text.unicodeScalars)
        guard scalars.count - position >= wanted.count,
            scalars[position..<position + wanted.count].elementsEqual(wanted)
        else { return false }
        position += wanted.count
        return true
    }

    private mutating func alternation(_ ignoresCase: inout Bool) -> RegexNode? {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else { return nil }
        var branches: [RegexNode] = []
        repeat {
            guard let branch = sequence(&ignoresCase) else { return nil }
            branches.append(branch)
        } while take("|")
        return branches.count == 1 ? branches[0] : .alternation(branches)
    }

    private mutating func sequence(_ ignoresCase: inout Bool) -> RegexNode? {
        var parts: [RegexNode] = []
        while let scalar = next, scalar != "|", scalar != ")" {
            if take("(?i)") {
                ignoresCase = true
                continue
            }
            guard var node = atom(ignoresCase) else { return nil }
            while let repeated = quantifier(of: node) { node = repeated }
            parts.append(node)
        }
        return .sequence(parts)
    }

    private mutating func atom(_ ignoresCase: Bool) -> RegexNode? {
        guard let scalar = next else { return nil }
        switch scalar {
        case "(": return group(ignoresCase)
        case "[": return bracket(ignoresCase).map { .set($0) }
        case "\\": return escape().map { $0.cased(ignoresCase) }
        case ".":
            position += 1
            return .anchor(".")
        case "^", "$":
            position += 1
            return .anchor(String(scalar))
        case "*", "+", "?": return nil
        default:
            position += 1
            return RegexNode.literal(scalar).cased(ignoresCase)
        }
    }

    private mutating func group(_ ignoresCase: Bool) -> RegexNode? {
        position += 1
        var inner = ignoresCase
        var look: String?
        if take("?i:") {
            inner = true
        } else if take("?:") || take("?>") {
            // Atomic groups are used for speed only.
        } else if take("?=") {
            look = "="
        } else if take("?!") {
            look = "!"
        } else if take("?<=") {
            look = "<="
        } else if take("?<!") {
            look = "<!"
        } else if next == "?" {
            return nil
        }
        guard let node = alternation(&inner), take(")") else { return nil }
        return look.map { .look($0, node) } ?? node
    }

    private mutating func quantifier(of node: RegexNode) -> RegexNode? {
        guard let scalar = next else { return nil }
        var bounds: (Int, Int?)
        switch scalar {
        case "*": bounds = (0, nil)
        case "+": bounds = (1, nil)
        case "?": bounds = (0, 1)
        case "{":
            let start = position
            position += 1
            guard let counts = counts() else {
                position = start
                return nil
            }
            bounds = counts
            position -= 1
        default: return nil
        }
        position += 1
        // A second sign makes it lazy or possessive, not a repetition of the repetition.
        let isLazy = take("?")
        if !isLazy { _ = take("+") }
        return .repeated(node, minimum: bounds.0, maximum: bounds.1, isLazy: isLazy)
    }

    /// `n}`, `n,}`, `n,m}` behind an open brace.
    private mutating func counts() -> (Int, Int?)? {
        guard let first = number() else { return nil }
        if take("}") { return (first, first) }
        guard take(",") else { return nil }
        if take("}") { return (first, nil) }
        guard let second = number(), second >= first, take("}") else { return nil }
        return (first, second)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let digit = next?.properties.numericType == .decimal ? next.flatMap({ Int(String($0)) }) : nil {
            guard value ?? 0 < 100_000 else { return nil }
            value = (value ?? 0) * 10 + digit
            position += 1
        }
        return value
    }

    private mutating func escape() -> RegexNode? {
        position += 1
        guard let scalar = next else { return nil }
        position += 1
        switch scalar {
        case "b", "B", "A", "z", "Z", "G": return .anchor("\\" + String(scalar))
        case "s", "d", "w", "h": return .set(RegexSet(classes: [String(scalar)]))
        case "S", "D", "W", "H":
            return .set(RegexSet(isNegated: true, classes: [String(scalar.properties.lowercaseMapping)]))
        case "p", "P":
            guard let (name, isNegated) = property(isNegated: scalar == "P") else { return nil }
            return .set(RegexSet(isNegated: isNegated, classes: [name]))
        default: return escaped(scalar).map { .literal($0) }
        }
    }

    /// The scalar that an escape (without its backslash) stands for.
    private mutating func escaped(_ scalar: Unicode.Scalar) -> Unicode.Scalar? {
        switch scalar {
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "f": return "\u{0C}"
        case "v": return "\u{0B}"
        case "0": return "\0"
        case "u": return hex(digits: 4)
        case "x":
            if take("{") {
                guard let value = hex(digits: nil), take("}") else { return nil }
                return value
            }
            return hex(digits: 2)
        case "a"..."z", "A"..."Z", "1"..."9": return nil
        default: return scalar
        }
    }

    private mutating func hex(digits: Int?) -> Unicode.Scalar? {
        var value: UInt32 = 0
        var count = 0
        while count < digits ?? 8, let nibble = next.flatMap({ Character($0).hexDigitValue }) {
            guard value < 0x1000_0000 else { return nil }
            value = value << 4 | UInt32(nibble)
            position += 1
            count += 1
        }
        guard count > 0, count == digits ?? count else { return nil }
        return Unicode.Scalar(value)
    }

    /// `{L}`, `L`, `{^L}`, `{Script=Han}` behind `\p`.
    private mutating func property(isNegated: Bool) -> (String, Bool)? {
        var isNegated = isNegated
        var name = ""
        if take("{") {
            if take("^") { isNegated.toggle() }
            while let scalar = next, scalar != "}" {
                guard name.unicodeScalars.count < 40 else { return nil }
                name.unicodeScalars.append(scalar)
                position += 1
            }
            guard take("}") else { return nil }
        } else if let scalar = next {
            name = String(scalar)
            position += 1
        }
        guard !name.isEmpty else { return nil }
        for prefix in ["Script=", "script=", "sc=", "Is", "General_Category=", "gc="] where name.hasPrefix(prefix) {
            name.removeFirst(prefix.count)
        }
        let aliases = [
            "Letter": "L", "Number": "N", "Punctuation": "P", "Symbol": "S", "Mark": "M", "Decimal_Number": "Nd",
            "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Titlecase_Letter": "Lt", "Modifier_Letter": "Lm",
            "Other_Letter": "Lo", "Hani": "Han",
        ]
        return ("p{" + (aliases[name] ?? name) + "}", isNegated)
    }

    private mutating func bracket(_ ignoresCase: Bool) -> RegexSet? {
        let start = position
        position += 1
        var set = RegexSet()
        if take("^") { set.isNegated = true }
        var isFirst = true
        while let scalar = next {
            if scalar == "]", !isFirst { break }
            isFirst = false
            if scalar == "[" || (scalar == "&" && position + 1 < scalars.count && scalars[position + 1] == "&") {
                return opaqueBracket(from: start)
            }
            guard let low = member(&set) else { return nil }
            guard case .some(let first) = low else { continue }
            var last = first
            if next == "-", position + 1 < scalars.count, scalars[position + 1] != "]" {
                position += 1
                var ignored = RegexSet()
                guard let high = member(&ignored), case .some(let end) = high, end.value >= first.value else {
                    return nil
                }
                last = end
            }
            set.ranges.append(first.value...last.value)
        }
        guard take("]") else { return nil }
        return ignoresCase ? set.foldingCase() : set
    }

    /// One member of a set: a scalar, or nil within when it was a class and went into the set.
    private mutating func member(_ set: inout RegexSet) -> Unicode.Scalar?? {
        guard let scalar = next else { return nil }
        position += 1
        guard scalar == "\\" else { return .some(scalar) }
        guard let letter = next else { return nil }
        position += 1
        switch letter {
        case "s", "d", "w", "h": set.classes.insert(String(letter))
        case "S", "D", "W", "H": set.classes.insert("^" + letter.properties.lowercaseMapping)
        case "p", "P":
            guard let (name, isNegated) = property(isNegated: letter == "P") else { return nil }
            set.classes.insert((isNegated ? "^" : "") + name)
        default:
            guard let value = letter == "b" ? "\u{08}" : escaped(letter) else { return nil }
            return .some(value)
        }
        return .some(nil)
    }

    /// A set with sets or operators in it is kept as it is written.
    private mutating func opaqueBracket(from start: Int) -> RegexSet? {
        position = start
        var level = 0
        var text = String.UnicodeScalarView()
        while let scalar = next {
            position += 1
            text.append(scalar)
            if scalar == "\\", let escaped = next {
                text.append(escaped)
                position += 1
            } else if scalar == "[" {
                level += 1
            } else if scalar == "]" {
                level -= 1
                if level == 0 { return RegexSet(opaque: String(text)) }
            }
        }
        return nil
    }
}

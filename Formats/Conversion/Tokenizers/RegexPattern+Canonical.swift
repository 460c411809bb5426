/// Simplification and printing: the second half of ``RegexPattern``.
extension RegexNode {
    static func literal(_ scalar: Unicode.Scalar) -> RegexNode {
        .set(RegexSet(ranges: [scalar.value...scalar.value]))
    }

    /// The node with letters of both cases, when a flag asks for it.
    func cased(_ ignoresCase: Bool) -> RegexNode {
        guard ignoresCase, case .set(let set) = self else { return self }
        return .set(set.foldingCase())
    }

    /// The node in canonical form.
    func simplified() -> RegexNode {
        switch self {
        case .alternation(let branches): Self.alternation(of: branches.map { $0.simplified() })
        case .sequence(let parts): Self.sequence(of: parts.map { $0.simplified() })
        case .set(let set): .set(set.simplified())
        case .repeated(let node, let minimum, let maximum, let isLazy):
            minimum == 1 && maximum == 1
                ? node.simplified()
                : .repeated(node.simplified(), minimum: minimum, maximum: maximum, isLazy: isLazy)
        case .look(let kind, let node): .look(kind, node.simplified())
        case .words, .anchor: self
        }
    }

    private static func sequence(of parts: [RegexNode]) -> RegexNode {
        var flat: [RegexNode] = []
        for part in parts {
            if case .sequence(let inner) = part { flat += inner } else { flat.append(part) }
        }
        var result: [RegexNode] = []
        for part in flat {
            // x x{2} is x{3}: digits are written either way.
            if let last = result.last, let before = last.exactRepeat, let here = part.exactRepeat,
                before.node == here.node
            {
                let (sum, overflow) = before.count.addingReportingOverflow(here.count)
                if !overflow {
                    result[result.count - 1] = .repeated(before.node, minimum: sum, maximum: sum, isLazy: false)
                    continue
                }
            }
            result.append(part)
        }
        return result.count == 1 ? result[0] : .sequence(result)
    }

    private var exactRepeat: (node: RegexNode, count: Int)? {
        switch self {
        case .repeated(let node, let minimum, let maximum, _) where minimum == maximum: (node, minimum)
        case .set: (self, 1)
        default: nil
        }
    }

    private static func alternation(of branches: [RegexNode]) -> RegexNode {
        var flat: [RegexNode] = []
        for branch in branches {
            if case .alternation(let inner) = branch { flat += inner } else { flat.append(branch) }
        }
        var result: [RegexNode] = []
        var words: [String] = []
        func flush() {
            guard !words.isEmpty else { return }
            result.append(.words(words.sorted { $0.unicodeScalars.lexicographicallyPrecedes($1.unicodeScalars) }))
            words = []
        }
        for branch in flat {
            guard let texts = branch.texts, words.count + texts.count <= Self.wordLimit,
                Self.arePrefixFree(words, texts)
            else {
                flush()
                result.append(branch)
                continue
            }
            words += texts.filter { !words.contains($0) }
        }
        flush()
        // A last \s+ behind \s+(?!\S) takes the one blank before a text, which would be a piece of its own anyway.
        let blank = RegexNode.set(RegexSet(classes: ["s"]))
        let blanks = RegexNode.repeated(blank, minimum: 1, maximum: nil, isLazy: false)
        let before = RegexNode.sequence([blanks, .look("!", .set(RegexSet(isNegated: true, classes: ["s"])))])
        if result.count > 1, result[result.count - 2] == before,
            result[result.count - 1] == blanks || result[result.count - 1] == blank
        {
            result.removeLast()
        }
        return result.count == 1 ? result[0] : .alternation(result)
    }

    private static let wordLimit = 128

    /// Whether the order of alternatives cannot matter.
    private static func arePrefixFree(_ old: [String], _ new: [String]) -> Bool {
        new.allSatisfy { text in
            !text.isEmpty
                && !old.contains { other in
                    !other.utf8.elementsEqual(text.utf8)
                        && (other.utf8.starts(with: text.utf8) || text.utf8.starts(with: other.utf8))
                }
        }
    }

    /// All texts that a node without repetition matches; nil when there are many or endless ones.
    private var texts: [String]? {
        switch self {
        case .words(let words): return words
        case .set(let set): return set.texts
        case .repeated(let node, let minimum, let maximum, _) where minimum == maximum && minimum <= 4:
            return Self.product(Array(repeating: node, count: minimum))
        case .sequence(let parts): return Self.product(parts)
        case .alternation(let branches):
            var all: [String] = []
            for branch in branches {
                guard let texts = branch.texts, all.count + texts.count <= Self.wordLimit else { return nil }
                all += texts
            }
            return all
        default: return nil
        }
    }

    private static func product(_ parts: [RegexNode]) -> [String]? {
        var result = [""]
        for part in parts {
            guard let texts = part.texts, result.count * texts.count <= wordLimit else { return nil }
            result = result.flatMap { start in texts.map { start + $0 } }
        }
        return result
    }
}

extension RegexSet {
    /// The characters of a small, plain set.
    var texts: [String]? {
        guard !isNegated, opaque == nil, classes.isEmpty, ranges.reduce(0, { $0 + $1.count }) <= 16 else { return nil }
        return ranges.flatMap { $0.compactMap { Unicode.Scalar($0).map { String($0) } } }
    }

    /// The set with the other case of its ASCII letters.
    func foldingCase() -> RegexSet {
        var result = self
        for range in ranges {
            for (letters, shift) in [(UInt32(0x41)...0x5A, Int64(32)), (0x61...0x7A, -32)] where range.overlaps(letters)
            {
                let common = range.clamped(to: letters)
                result.ranges.append(
                    UInt32(Int64(common.lowerBound) + shift)...UInt32(Int64(common.upperBound) + shift))
            }
        }
        return result
    }

    /// Ranges sorted and joined; `[^\S]` and its like without the double negation.
    func simplified() -> RegexSet {
        var result = self
        result.ranges = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = result.ranges.last, range.lowerBound <= last.upperBound &+ 1 {
                result.ranges[result.ranges.count - 1] =
                    last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                result.ranges.append(range)
            }
        }
        if result.ranges.isEmpty, result.classes.count == 1, let only = result.classes.first, only.hasPrefix("^") {
            result.classes = [String(only.dropFirst())]
            result.isNegated.toggle()
        }
        return result
    }
}

// MARK: - Printing

extension RegexNode: CustomStringConvertible {
    var description: String {
        switch self {
        case .alternation(let branches): branches.map(\.description).joined(separator: "|")
        case .sequence(let parts): parts.map(\.asPart).joined()
        case .set(let set): set.description
        case .words(let words): Self.describe(words)
        case .repeated(let node, let minimum, let maximum, let isLazy):
            node.asAtom + Self.quantifier(minimum, maximum) + (isLazy ? "?" : "")
        case .look(let kind, let node): "(?\(kind)\(node.description))"
        case .anchor(let text): text
        }
    }

    private static func quantifier(_ minimum: Int, _ maximum: Int?) -> String {
        switch (minimum, maximum) {
        case (0, nil): "*"
        case (1, nil): "+"
        case (0, 1): "?"
        case (let low, let high?): low == high ? "{\(low)}" : "{\(low),\(high)}"
        case (let low, nil): "{\(low),}"
        }
    }

    /// Words of every case appear once, as `(?i:…)`.
    private static func describe(_ words: [String]) -> String {
        let all = Set(words)
        let small = words.filter { $0 == $0.lowercased() }
        let isFolded =
            words.count > small.count
            && all.allSatisfy { all.contains($0.lowercased()) && all.contains($0.uppercased()) }
        let text = (isFolded ? small : words).map { $0.unicodeScalars.map { RegexSet.describe($0) }.joined() }
        return isFolded ? "(?i:" + text.joined(separator: "|") + ")" : text.joined(separator: "|")
    }

    private var asPart: String {
        switch self {
        case .alternation: "(?:" + description + ")"
        case .words(let words) where words.count > 1 && !description.hasPrefix("(?i:"): "(?:" + description + ")"
        default: description
        }
    }

    private var asAtom: String {
        switch self {
        case .set, .anchor, .look: description
        case .words where description.hasPrefix("(?i:"): description
        default: "(?:" + description + ")"
        }
    }
}

extension RegexSet: CustomStringConvertible {
    var description: String {
        if let opaque { return opaque }
        let single = ranges.count + classes.count == 1
        if single, let name = classes.first {
            if !isNegated { return "\\" + name }
            if name.count == 1 { return "\\" + name.uppercased() }
        }
        if single, !isNegated, let range = ranges.first, range.count == 1, let scalar = Unicode.Scalar(range.lowerBound)
        {
            return Self.describe(scalar)
        }
        let members =
            classes.sorted().map { $0.hasPrefix("^") ? "\\" + $0.dropFirst().uppercased() : "\\" + $0 }
            + ranges.map { range in
                let ends = [range.lowerBound, range.upperBound].map { value in
                    Unicode.Scalar(value).map { Self.describe($0) } ?? "\\u"
                }
                return range.count == 1 ? ends[0] : ends[0] + "-" + ends[1]
            }
        return (isNegated ? "[^" : "[") + members.joined() + "]"
    }

    static func describe(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\n": return "\\n"
        case "\r": return "\\r"
        case "\t": return "\\t"
        case "\\", "[", "]", "(", ")", "{", "}", ".", "*", "+", "?", "^", "$", "|", "-": return "\\" + String(scalar)
        default:
            switch scalar.properties.generalCategory {
            case .control, .format, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator, .surrogate:
                return "\\x{" + String(scalar.value, radix: 16) + "}"
            default: return String(scalar)
            }
        }
    }
}

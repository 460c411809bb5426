/// What a GBNF text says: rules of literals, character classes, tokens, references, alternatives and repetitions.
struct GrammarSyntax {
    /// One expression.
    indirect enum Node {
        case literal([UInt8])
        /// Code points, ascending and disjoint.
        case characters([ClosedRange<UInt32>])
        case token(GrammarToken)
        case rule(Int)
        case sequence([Node])
        case alternatives([Node])
        /// `upper` nil: without end.
        case repetition(Node, lower: Int, upper: Int?)
    }

    /// Names by number, in order of appearance.
    var names: [String] = []
    /// As many as `names`; nil while a rule is only referred to.
    var rules: [Node?] = []
    private var numbers: [String: Int] = [:]

    /// The number of a rule, given one at first mention.
    mutating func number(of name: String) -> Int {
        if let number = numbers[name] { return number }
        numbers[name] = names.count
        names.append(name)
        rules.append(nil)
        return names.count - 1
    }

    func number(existing name: String) -> Int? { numbers[name] }
}

/// Sets of code points as ranges.
enum CodePoints {
    /// Every Unicode scalar value.
    static let all: [ClosedRange<UInt32>] = [0...0xD7FF, 0xE000...0x10FFFF]

    /// Ascending, disjoint and merged, without surrogates.
    static func normalized(_ ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
        var merged: [ClosedRange<UInt32>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, range.lowerBound <= last.upperBound &+ 1 {
                merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        return merged.flatMap { range in all.compactMap { intersection($0, range) } }
    }

    /// What `ranges`, normalized, leave out.
    static func complement(_ ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
        var result: [ClosedRange<UInt32>] = []
        var next: UInt32 = 0
        for range in ranges {
            if range.lowerBound > next { result.append(next...range.lowerBound - 1) }
            next = range.upperBound + 1
        }
        if next <= 0x10FFFF { result.append(next...0x10FFFF) }
        return normalized(result)
    }

    private static func intersection(_ a: ClosedRange<UInt32>, _ b: ClosedRange<UInt32>) -> ClosedRange<UInt32>? {
        let lower = max(a.lowerBound, b.lowerBound)
        let upper = min(a.upperBound, b.upperBound)
        return lower <= upper ? lower...upper : nil
    }
}

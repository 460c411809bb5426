/// A grammar as the matcher runs it: one array of symbols, in which alternatives are runs that end with `end`.
///
/// Repetitions have become rules: `x*` is `R ::= x R |`, `x{2,4}` is `x x S` with `S ::= x T |`, `T ::= x |`.
struct GrammarProgram: Sendable {
    enum Symbol: Sendable {
        /// A character, by the node of `characters` that begins it.
        case terminal(Int32)
        case rule(Int32)
        /// A whole token, by number in `tokens`.
        case token(Int32)
        case end
    }

    private(set) var symbols: [Symbol] = []
    /// For each rule, where its alternatives begin.
    private(set) var alternatives: [[Int32]] = []
    private(set) var characters = CharacterAutomaton()
    /// The tokens that the grammar names, each once.
    private(set) var tokens: [GrammarToken] = []
    private(set) var root: Int32 = 0

    /// - Throws: `GrammarError` for rules that are missing or recurse on the left, and for sizes beyond the limits.
    init(_ syntax: GrammarSyntax, root name: String = "root") throws(GrammarError) {
        for (number, rule) in syntax.rules.enumerated() where rule == nil {
            throw GrammarError(.rules, "the grammar uses the rule '\(syntax.names[number])', but does not define it")
        }
        guard let root = syntax.number(existing: name) else {
            throw GrammarError(.rules, "the grammar has no rule '\(name)', with which every text begins")
        }
        self.root = Int32(root)
        alternatives = [[Int32]](repeating: [], count: syntax.rules.count)
        for (number, rule) in syntax.rules.enumerated() {
            guard let rule else { continue }
            try define(number, as: rule)
        }
        try LeftRecursion.check(self, names: syntax.names)
        try removeEndless()
    }

    /// Takes out alternatives that no text completes, so that none is begun.
    private mutating func removeEndless() throws(GrammarError) {
        let finite = RuleProperties.rules(of: self, throughCharacters: true)
        guard finite[Int(root)] else {
            throw GrammarError(
                .rules, "no text can complete the rule 'root': it always needs another of the rules it is part of")
        }
        for rule in alternatives.indices {
            alternatives[rule].removeAll { start in
                var place = Int(start)
                while true {
                    switch symbols[place] {
                    case .end: return false
                    case .rule(let callee) where !finite[Int(callee)]: return true
                    default: place += 1
                    }
                }
            }
        }
    }

    private mutating func newRule() -> Int {
        alternatives.append([])
        return alternatives.count - 1
    }

    private mutating func define(_ rule: Int, as node: GrammarSyntax.Node) throws(GrammarError) {
        if case .alternatives(let choices) = node {
            for choice in choices { try add(try symbols(of: choice), to: rule) }
        } else {
            try add(try symbols(of: node), to: rule)
        }
    }

    private mutating func add(_ sequence: [Symbol], to rule: Int) throws(GrammarError) {
        guard symbols.count + sequence.count < Grammar.Limits.symbols else {
            throw GrammarError(
                .limit,
                "the grammar has more than \(Grammar.Limits.symbols) symbols when its repetitions are written out; use "
                    + "smaller bounds, or none")
        }
        alternatives[rule].append(Int32(symbols.count))
        symbols.append(contentsOf: sequence)
        symbols.append(.end)
    }

    /// An expression as symbols; what is no plain sequence becomes rules of its own.
    private mutating func symbols(of node: GrammarSyntax.Node) throws(GrammarError) -> [Symbol] {
        switch node {
        case .literal(let bytes): return bytes.map { .terminal(characters.node(byte: $0)) }
        case .characters(let ranges): return [.terminal(characters.node(for: ranges))]
        case .rule(let number): return [.rule(Int32(number))]
        case .token(let token):
            let number = tokens.firstIndex(of: token) ?? tokens.count
            if number == tokens.count {
                guard number < Grammar.Limits.tokens else {
                    throw GrammarError(.limit, "the grammar names more than \(Grammar.Limits.tokens) different tokens")
                }
                tokens.append(token)
            }
            return [.token(Int32(number))]
        case .sequence(let items):
            var result: [Symbol] = []
            for item in items { result += try symbols(of: item) }
            return result
        case .alternatives:
            let rule = newRule()
            try define(rule, as: node)
            return [.rule(Int32(rule))]
        case .repetition(let item, let lower, let upper):
            var body = try symbols(of: item)
            if upper == 0 { return [] }
            if body.count > 1, lower > 1 || upper != 1 {
                let rule = newRule()
                try add(body, to: rule)
                body = [.rule(Int32(rule))]
            }
            var result: [Symbol] = []
            for _ in 0..<lower { result += body }
            guard let upper else {
                let rule = newRule()
                try add(body + [.rule(Int32(rule))], to: rule)
                try add([], to: rule)
                return result + [.rule(Int32(rule))]
            }
            var tail: [Symbol] = []
            for _ in lower..<upper {
                let rule = newRule()
                try add(body + tail, to: rule)
                try add([], to: rule)
                tail = [.rule(Int32(rule))]
            }
            return result + tail
        }
    }
}

/// Finds rules that would call themselves without end before reading a character.
///
/// A rule that comes back to itself at the very end of an alternative is harmless (the matcher is then where it was);
/// one that comes back with something still to follow would grow its stack forever.
enum LeftRecursion {
    static func check(_ program: GrammarProgram, names: [String]) throws(GrammarError) {
        let nullable = RuleProperties.rules(of: program, throughCharacters: false)
        let count = program.alternatives.count
        // Calls that can happen before any character is read; `grows` when something follows in the alternative.
        var calls = [[(callee: Int, grows: Bool)]](repeating: [], count: count)
        for rule in 0..<count {
            for start in program.alternatives[rule] {
                var place = Int(start)
                while case .rule(let callee) = program.symbols[place] {
                    var grows = true
                    if case .end = program.symbols[place + 1] { grows = false }
                    calls[rule].append((Int(callee), grows))
                    guard nullable[Int(callee)] else { break }
                    place += 1
                }
            }
        }
        let component = components(calls.map { $0.map(\.callee) })
        for rule in 0..<count {
            for call in calls[rule] where call.grows && component[rule] == component[call.callee] {
                let name = rule < names.count ? names[rule] : call.callee < names.count ? names[call.callee] : nil
                throw GrammarError(
                    .rules,
                    "the rule \(name.map { "'\($0)'" } ?? "of a repetition") begins with itself (left recursion), directly "
                        + "or through others; write it with a repetition instead")
            }
        }
    }

    /// Strongly connected components (Tarjan's algorithm, without recursion): the component of each node.
    private static func components(_ edges: [[Int]]) -> [Int] {
        let count = edges.count
        var order = [Int](repeating: -1, count: count)
        var low = [Int](repeating: 0, count: count)
        var result = [Int](repeating: -1, count: count)
        var stack: [Int] = []
        var number = 0
        var found = 0
        for start in 0..<count where order[start] < 0 {
            var calls: [(node: Int, edge: Int)] = [(start, 0)]
            while let (node, edge) = calls.last {
                if edge == 0 {
                    order[node] = number
                    low[node] = number
                    number += 1
                    stack.append(node)
                }
                if edge < edges[node].count {
                    calls[calls.count - 1].edge += 1
                    let next = edges[node][edge]
                    if order[next] < 0 {
                        calls.append((next, 0))
                    } else if result[next] < 0 {
                        low[node] = min(low[node], order[next])
                    }
                    continue
                }
                if low[node] == order[node] {
                    while let top = stack.popLast() {
                        result[top] = found
                        if top == node { break }
                    }
                    found += 1
                }
                calls.removeLast()
                if let parent = calls.last?.node { low[parent] = min(low[parent], low[node]) }
            }
        }
        return result
    }
}

/// What follows for rules from each other.
enum RuleProperties {
    /// Which rules have an alternative that can be gone through: of rules alone, which then match the empty text, or
    /// through characters too, which then match some text.
    static func rules(of program: GrammarProgram, throughCharacters: Bool) -> [Bool] {
        var holds = [Bool](repeating: false, count: program.alternatives.count)
        // Which alternatives wait for a rule; each is looked at again only when that rule is found holds.
        var waiting = [[(rule: Int, place: Int)]](repeating: [], count: holds.count)
        var work: [(rule: Int, place: Int)] = []
        for (rule, starts) in program.alternatives.enumerated() {
            for start in starts { work.append((rule, Int(start))) }
        }
        while let (rule, place) = work.popLast() {
            if holds[rule] { continue }
            switch program.symbols[place] {
            case .terminal, .token: if throughCharacters { work.append((rule, place + 1)) }
            case .rule(let callee):
                if holds[Int(callee)] {
                    work.append((rule, place + 1))
                } else {
                    waiting[Int(callee)].append((rule, place + 1))
                }
            case .end:
                holds[rule] = true
                work += waiting[rule]
                waiting[rule] = []
            }
        }
        return holds
    }
}

/// The configurations of a grammar's pushdown automaton, numbered as they come up, and the steps between them.
///
/// A stack is a chain of frames, each pointing to the one below; equal frames are stored once, so that a configuration (all
/// stacks that the text so far allows) is a sorted list of numbers. The topmost frame of a stack stands within a character
/// or before a whole token; frames below say where to go on. Frame 0 is the bottom: reaching it means that the text may end.
struct GrammarStates: Sendable {
    /// No stack is left: the text breaks the grammar.
    static let dead: Int32 = -1
    private static let unknown: Int32 = -2
    /// Instead of a node: the topmost frame waits for a whole token.
    private static let wholeToken: Int32 = -2

    private struct Frame: Hashable, Sendable {
        /// The symbol being read (topmost), or the one to go on with.
        var symbol: Int32
        /// The node of the character automaton reached; `wholeToken` where a token is read, -1 in frames not topmost.
        var node: Int32
        var below: Int32
    }

    private let program: GrammarProgram
    private let byteClasses: [UInt8]
    private let classCount: Int
    private var frames: [Frame] = [Frame(symbol: -1, node: -1, below: -1)]
    private var depths: [Int32] = [0]
    private var frameNumbers: [Frame: Int32] = [:]
    private var sets: [[Int32]] = []
    private var setNumbers: [[Int32]: Int32] = [:]
    private var steps: [Int32] = []

    init(_ program: GrammarProgram) {
        self.program = program
        (byteClasses, classCount) = program.characters.byteClasses()
    }

    /// Configurations known.
    var count: Int { sets.count }

    /// The configuration before the first byte.
    mutating func start() throws(GrammarError) -> Int32 {
        var closure = Closure()
        try open(rule: program.root, below: 0, &closure)
        return intern(closure.result)
    }

    /// The configuration after one more byte, or `dead`.
    @inline(__always)
    mutating func step(_ state: Int32, _ byte: UInt8) throws(GrammarError) -> Int32 {
        let place = Int(state) * classCount + Int(byteClasses[Int(byte)])
        let known = steps[place]
        if known != Self.unknown { return known }
        let next = try computeStep(state, byte)
        steps[place] = next
        return next
    }

    func isAccepting(_ state: Int32) -> Bool { sets[Int(state)].first == 0 }

    /// Whether the text may end and nothing may follow.
    func isComplete(_ state: Int32) -> Bool { sets[Int(state)] == [0] }

    private mutating func computeStep(_ state: Int32, _ byte: UInt8) throws(GrammarError) -> Int32 {
        var closure = Closure()
        for number in sets[Int(state)] where number != 0 {
            let frame = frames[Int(number)]
            if frame.node == Self.wholeToken { continue }
            for edge in program.characters.nodes[Int(frame.node)] where edge.lower <= byte && byte <= edge.upper {
                if edge.next == CharacterAutomaton.end {
                    try advance(frame.symbol + 1, below: frame.below, &closure)
                } else {
                    closure.result.insert(
                        intern(Frame(symbol: frame.symbol, node: edge.next, below: frame.below)))
                }
            }
        }
        return closure.result.isEmpty ? Self.dead : intern(closure.result)
    }

    // MARK: - Tokens

    /// The tokens, by number in the program, that may be next as a whole.
    func tokensRead(in state: Int32) -> Set<Int> {
        guard !program.tokens.isEmpty else { return [] }
        var result: Set<Int> = []
        for number in sets[Int(state)] where number != 0 {
            let frame = frames[Int(number)]
            if frame.node == Self.wholeToken, case .token(let token) = program.symbols[Int(frame.symbol)] {
                result.insert(Int(token))
            }
        }
        return result
    }

    /// The configuration after a whole token, given the program's tokens it is an instance of; or `dead`.
    mutating func step(_ state: Int32, over tokens: Set<Int>) throws(GrammarError) -> Int32 {
        var closure = Closure()
        for number in sets[Int(state)] where number != 0 {
            let frame = frames[Int(number)]
            guard frame.node == Self.wholeToken, case .token(let token) = program.symbols[Int(frame.symbol)],
                tokens.contains(Int(token))
            else { continue }
            try advance(frame.symbol + 1, below: frame.below, &closure)
        }
        return closure.result.isEmpty ? Self.dead : intern(closure.result)
    }

    /// The configuration of all that either allows.
    mutating func union(_ a: Int32, _ b: Int32) -> Int32 {
        if a == b || b == Self.dead { return a }
        if a == Self.dead { return b }
        return intern(Set(sets[Int(a)]).union(sets[Int(b)]))
    }

    // MARK: - Closure

    /// What is being expanded: places still to look at, those seen, and the topmost frames found.
    private struct Closure {
        var work: [Place] = []
        var seen: Set<Place> = []
        var result: Set<Int32> = []
    }

    private struct Place: Hashable {
        var symbol, below: Int32
    }

    private mutating func open(rule: Int32, below: Int32, _ closure: inout Closure) throws(GrammarError) {
        for start in program.alternatives[Int(rule)] {
            try advance(start, below: below, &closure)
        }
    }

    /// Follows rules and ends of rules from a symbol until characters are to be read.
    private mutating func advance(_ symbol: Int32, below: Int32, _ closure: inout Closure) throws(GrammarError) {
        closure.work.append(Place(symbol: symbol, below: below))
        while let place = closure.work.popLast() {
            guard closure.seen.insert(place).inserted else { continue }
            guard closure.seen.count <= 64 * Grammar.Limits.stacks, closure.result.count <= Grammar.Limits.stacks else {
                throw GrammarError(
                    .limit,
                    "the grammar is too ambiguous: there are more than \(Grammar.Limits.stacks) ways to read the text at "
                        + "once; rewrite it so that a text has few readings")
            }
            switch program.symbols[Int(place.symbol)] {
            case .terminal(let node):
                closure.result.insert(intern(Frame(symbol: place.symbol, node: node, below: place.below)))
            case .token:
                closure.result.insert(
                    intern(Frame(symbol: place.symbol, node: Self.wholeToken, below: place.below)))
            case .end:
                if place.below == 0 {
                    closure.result.insert(0)
                } else {
                    let frame = frames[Int(place.below)]
                    closure.work.append(Place(symbol: frame.symbol, below: frame.below))
                }
            case .rule(let rule):
                var below = place.below
                // Where nothing follows, nothing needs to be remembered: repetitions do not deepen the stack.
                if case .end = program.symbols[Int(place.symbol) + 1] {
                } else {
                    guard depths[Int(below)] < Grammar.Limits.depth else { continue }
                    below = intern(Frame(symbol: place.symbol + 1, node: -1, below: below))
                }
                for start in program.alternatives[Int(rule)] {
                    closure.work.append(Place(symbol: start, below: below))
                }
            }
        }
    }

    // MARK: - Numbering

    private mutating func intern(_ frame: Frame) -> Int32 {
        if let number = frameNumbers[frame] { return number }
        let number = Int32(frames.count)
        frames.append(frame)
        depths.append(depths[Int(frame.below)] + 1)
        frameNumbers[frame] = number
        return number
    }

    private mutating func intern(_ set: Set<Int32>) -> Int32 {
        let sorted = set.sorted()
        if let number = setNumbers[sorted] { return number }
        let number = Int32(sets.count)
        sets.append(sorted)
        setNumbers[sorted] = number
        steps.append(contentsOf: repeatElement(Self.unknown, count: classCount))
        return number
    }

    /// A fresh automaton that knows only this configuration, and its number there.
    func renewed(keeping state: Int32) -> (GrammarStates, Int32) {
        var fresh = GrammarStates(program)
        var moved: [Int32: Int32] = [0: 0]
        var result: Set<Int32> = []
        for number in sets[Int(state)] {
            var chain: [Int32] = []
            var next = number
            while moved[next] == nil {
                chain.append(next)
                next = frames[Int(next)].below
            }
            for old in chain.reversed() {
                var frame = frames[Int(old)]
                frame.below = moved[frame.below] ?? 0
                moved[old] = fresh.intern(frame)
            }
            result.insert(moved[number] ?? 0)
        }
        let place = fresh.intern(result)
        return (fresh, place)
    }
}

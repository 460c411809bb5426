import Synchronization
import Tokenization

/// A grammar being followed, token by token.
///
/// A value: copies go on separately. What they find out about the grammar they share.
public struct GrammarConstraint: Sendable {
    private let vocabulary: GrammarVocabulary
    private var automaton: SharedAutomaton
    private var state: Int32
    /// What stopped the text, if something did.
    public private(set) var failure: GrammarError?
    /// Whether an end token was accepted.
    private var hasEnded = false

    /// Begins a text.
    ///
    /// - Throws: `GrammarError.limit` when the grammar is too ambiguous at its very beginning, `rules` when it names a token
    ///   that the vocabulary does not have, or one that ends an answer.
    public init(_ grammar: Grammar, vocabulary: GrammarVocabulary) throws(GrammarError) {
        self.vocabulary = vocabulary
        var tokens: [GrammarToken.Resolved] = []
        for token in grammar.program.tokens { tokens.append(try token.resolved(in: vocabulary)) }
        var states = GrammarStates(grammar.program)
        state = try states.start()
        automaton = SharedAutomaton(states, tokens)
    }

    /// Whether the text may end here.
    public var isAccepting: Bool { automaton.content.withLock { $0.states.isAccepting(state) } }

    /// Whether the text is complete and nothing may follow; also after an end token or a failure.
    public var isComplete: Bool {
        hasEnded || failure != nil || automaton.content.withLock { $0.states.isComplete(state) }
    }

    /// The token that ends an answer; 0 where the vocabulary has none.
    public var endToken: Int { vocabulary.endOfGeneration.min() ?? 0 }

    /// Whether the grammar allows a token next. Costs one step a byte.
    public func allows(_ token: Int) -> Bool {
        if failure != nil || hasEnded { return vocabulary.endOfGeneration.contains(token) }
        if vocabulary.endOfGeneration.contains(token) { return isAccepting }
        return (try? next(token)) ?? GrammarStates.dead != GrammarStates.dead
    }

    /// The tokens that the grammar allows next, as bits by id; nil when there is none, which is a failure.
    ///
    /// - Parameter count: tokens that the model knows; the vocabulary may have fewer.
    public mutating func allowedTokens(count: Int) -> [UInt64]? {
        if failure != nil { return nil }
        let words = (count + 63) / 64
        var mask: [UInt64]
        if hasEnded {
            mask = [UInt64](repeating: 0, count: words)
        } else {
            do {
                mask = try automaton.mask(state, vocabulary, words: words)
            } catch {
                failure = error
                return nil
            }
        }
        if hasEnded || isAccepting {
            for id in vocabulary.endOfGeneration where id < count { mask[id >> 6] |= 1 << (UInt64(id) & 63) }
        }
        if mask.allSatisfy({ $0 == 0 }) {
            failure = GrammarError(
                .noToken,
                isAccepting
                    ? "the text that the grammar describes is complete, but the vocabulary has no token to end it with"
                    : "no token of this vocabulary can go on with the text as the grammar wants")
            return nil
        }
        return mask
    }

    /// Goes on by a token; one that the grammar does not allow is a failure.
    public mutating func accept(_ token: Int) {
        if failure != nil || hasEnded { return }
        if vocabulary.endOfGeneration.contains(token) {
            if isAccepting {
                hasEnded = true
            } else {
                failure = GrammarError(.noToken, "the text ended before it was what the grammar describes")
            }
            return
        }
        do throws(GrammarError) {
            let next = try next(token)
            guard next != GrammarStates.dead else {
                throw GrammarError(.noToken, "token \(token) is not what the grammar allows here")
            }
            state = next
        } catch {
            failure = error
            return
        }
        if let (fresh, place) = automaton.renewedIfLarge(keeping: state) { (automaton, state) = (fresh, place) }
    }

    private func next(_ token: Int) throws(GrammarError) -> Int32 {
        guard vocabulary.hasText(token) || automaton.names(token) else { return GrammarStates.dead }
        return try automaton.follow(state, token, vocabulary.bytes[token])
    }
}

/// The automaton that all copies of a constraint fill together.
private final class SharedAutomaton: Sendable {
    struct Content {
        var states: GrammarStates
        /// Allowed tokens by configuration.
        var masks: [Int32: [UInt64]] = [:]
    }

    let content: Mutex<Content>
    /// The program's tokens, found in the vocabulary.
    private let tokens: [GrammarToken.Resolved]
    /// Bytes of masks kept.
    private static let maskBytes = 64 << 20
    /// Configurations one mask may add; beyond, the grammar is refused.
    private static let configurationsPerMask = 200_000

    init(_ states: GrammarStates, _ tokens: [GrammarToken.Resolved]) {
        content = Mutex(Content(states: states))
        self.tokens = tokens
    }

    /// Whether the grammar names this very token.
    func names(_ token: Int) -> Bool { tokens.contains { $0.id == token && !$0.isNegated } }

    /// The configuration after a token: over its bytes (none for control tokens) and, where tokens are read, over itself.
    func follow(_ state: Int32, _ token: Int, _ bytes: [UInt8]) throws(GrammarError) -> Int32 {
        try content.withLock { content throws(GrammarError) in
            var next = bytes.isEmpty ? GrammarStates.dead : state
            for byte in bytes {
                next = try content.states.step(next, byte)
                if next == GrammarStates.dead { break }
            }
            if tokens.isEmpty { return next }
            let read = content.states.tokensRead(in: state).filter { tokens[$0].matches(token) }
            return read.isEmpty ? next : content.states.union(next, try content.states.step(state, over: read))
        }
    }

    /// A new automaton when this one has grown large.
    func renewedIfLarge(keeping state: Int32) -> (SharedAutomaton, Int32)? {
        content.withLock { content in
            guard content.states.count > Grammar.Limits.configurations else { return nil }
            let (states, place) = content.states.renewed(keeping: state)
            return (SharedAutomaton(states, tokens), place)
        }
    }

    /// The vocabulary's tokens that lead on from a configuration: a walk through the tree that leaves out what is dead.
    func mask(_ state: Int32, _ vocabulary: GrammarVocabulary, words: Int) throws(GrammarError) -> [UInt64] {
        try content.withLock { content throws(GrammarError) in
            if let known = content.masks[state], known.count == words { return known }
            var mask = [UInt64](repeating: 0, count: words)
            var path = [Int32](repeating: state, count: vocabulary.longest + 1)
            let limit = content.states.count + Self.configurationsPerMask
            var index = 0
            while index < vocabulary.nodes.count {
                let node = vocabulary.nodes[index]
                let depth = Int(node.depth)
                let next = try content.states.step(path[depth], node.byte)
                if next == GrammarStates.dead {
                    index = Int(node.end)
                    continue
                }
                guard content.states.count <= limit else {
                    throw GrammarError(
                        .limit, "the grammar has too many states to follow; use smaller bounds of repetition")
                }
                path[depth + 1] = next
                for place in Int(node.firstToken)..<Int(node.firstToken) + Int(node.tokenCount) {
                    let id = Int(vocabulary.tokens[place])
                    if id >> 6 < words { mask[id >> 6] |= 1 << (UInt64(id) & 63) }
                }
                index += 1
            }
            if !tokens.isEmpty { try addTokens(to: &mask, state, vocabulary, &content.states) }
            if (content.masks.count + 1) * words * 8 > Self.maskBytes { content.masks.removeAll() }
            content.masks[state] = mask
            return mask
        }
    }

    /// Adds the tokens that are read as a whole.
    private func addTokens(
        to mask: inout [UInt64], _ state: Int32, _ vocabulary: GrammarVocabulary, _ states: inout GrammarStates
    ) throws(GrammarError) {
        let read = states.tokensRead(in: state)
        guard !read.isEmpty else { return }
        // Tokens that the grammar names differ from each other; all others lead to one configuration.
        let named = Set(tokens.map(\.id))
        let others = read.filter { tokens[$0].isNegated }
        if try states.step(state, over: others) != GrammarStates.dead {
            var all = vocabulary.tokensWithText(words: mask.count)
            for id in named where id >> 6 < all.count { all[id >> 6] &= ~(1 << (UInt64(id) & 63)) }
            for word in mask.indices { mask[word] |= all[word] }
        }
        for id in named where id >> 6 < mask.count && (vocabulary.hasText(id) || names(id)) {
            let matching = read.filter { tokens[$0].matches(id) }
            if matching.isEmpty || vocabulary.endOfGeneration.contains(id) { continue }
            if try states.step(state, over: matching) != GrammarStates.dead { mask[id >> 6] |= 1 << (UInt64(id) & 63) }
        }
    }
}

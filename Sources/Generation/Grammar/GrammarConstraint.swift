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
    /// - Throws: `GrammarError.limit` when the grammar is too ambiguous at its very beginning.
    public init(_ grammar: Grammar, vocabulary: GrammarVocabulary) throws(GrammarError) {
        self.vocabulary = vocabulary
        var states = GrammarStates(grammar.program)
        state = try states.start()
        automaton = SharedAutomaton(states)
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
        guard vocabulary.bytes.indices.contains(token), !vocabulary.bytes[token].isEmpty else {
            return GrammarStates.dead
        }
        return try automaton.follow(state, vocabulary.bytes[token])
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
    /// Bytes of masks kept.
    private static let maskBytes = 64 << 20
    /// Configurations one mask may add; beyond, the grammar is refused.
    private static let configurationsPerMask = 200_000

    init(_ states: GrammarStates) { content = Mutex(Content(states: states)) }

    func follow(_ state: Int32, _ bytes: [UInt8]) throws(GrammarError) -> Int32 {
        try content.withLock { content throws(GrammarError) in
            var state = state
            for byte in bytes {
                state = try content.states.step(state, byte)
                if state == GrammarStates.dead { break }
            }
            return state
        }
    }

    /// A new automaton when this one has grown large.
    func renewedIfLarge(keeping state: Int32) -> (SharedAutomaton, Int32)? {
        content.withLock { content in
            guard content.states.count > Grammar.Limits.configurations else { return nil }
            let (states, place) = content.states.renewed(keeping: state)
            return (SharedAutomaton(states), place)
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
            if (content.masks.count + 1) * words * 8 > Self.maskBytes { content.masks.removeAll() }
            content.masks[state] = mask
            return mask
        }
    }
}

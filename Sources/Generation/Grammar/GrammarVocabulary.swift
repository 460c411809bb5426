import Tokenization

/// The tokens of a vocabulary as a tree of their bytes, so that a grammar sees each common beginning once.
///
/// Control tokens, unknown and unused ones and those that end an answer are not in it: no grammar's text produces them (a
/// grammar may name control tokens, see `GrammarToken`). One vocabulary serves any number of grammars and threads.
public final class GrammarVocabulary: Sendable {
    /// Nodes in the order of a walk through the tree, each with its byte, depth, and the node after its last descendant.
    struct Node: Sendable {
        let byte: UInt8
        let depth: UInt16
        let end: Int32
        /// The tokens that end here: this range of `tokens`.
        let firstToken: Int32
        var tokenCount: UInt16
    }

    let nodes: [Node]
    let tokens: [Int32]
    /// Bytes of tokens by id, empty for those outside the tree.
    let bytes: [[UInt8]]
    /// Tokens that end an answer.
    public let endOfGeneration: Set<Int>
    /// The longest token, in bytes.
    let longest: Int
    private let tokenizer: any Tokenizer

    /// The number of ids.
    var count: Int { bytes.count }

    public init(_ tokenizer: any Tokenizer) {
        self.tokenizer = tokenizer
        let ends = tokenizer.endOfGeneration
        endOfGeneration = ends
        var bytes = [[UInt8]](repeating: [], count: tokenizer.vocabularyCount)
        for id in bytes.indices where !ends.contains(id) {
            let kind = tokenizer.kind(of: id)
            guard kind == .normal || kind == .userDefined || kind == .byte else { continue }
            // A text of several thousand bytes is no token that a grammar would have to allow.
            let text = tokenizer.bytes(of: id)
            if text.count <= 1024 { bytes[id] = text }
        }
        self.bytes = bytes
        let order = bytes.indices.filter { !bytes[$0].isEmpty }.sorted { a, b in
            bytes[a] == bytes[b] ? a < b : bytes[a].lexicographicallyPrecedes(bytes[b])
        }
        var nodes: [Node] = []
        var ends32: [Int32] = []
        var open: [Int] = []
        var path: [UInt8] = []
        var tokens: [Int32] = []
        func close(to depth: Int) {
            while open.count > depth, let place = open.popLast() { ends32[place] = Int32(nodes.count) }
            path.removeSubrange(depth...)
        }
        for id in order {
            let text = bytes[id]
            var shared = 0
            while shared < min(path.count, text.count), path[shared] == text[shared] { shared += 1 }
            close(to: shared)
            for depth in shared..<text.count {
                open.append(nodes.count)
                path.append(text[depth])
                nodes.append(
                    Node(
                        byte: text[depth], depth: UInt16(depth), end: 0, firstToken: Int32(tokens.count), tokenCount: 0)
                )
                ends32.append(0)
            }
            if let last = open.last, nodes[last].tokenCount < .max {
                tokens.append(Int32(id))
                nodes[last].tokenCount += 1
            }
        }
        close(to: 0)
        self.nodes = zip(nodes, ends32).map { node, end in
            Node(
                byte: node.byte, depth: node.depth, end: end, firstToken: node.firstToken, tokenCount: node.tokenCount)
        }
        self.tokens = tokens
        longest = bytes.map(\.count).max() ?? 0
    }

    /// The id of the token whose text, or name, this is.
    func id(ofToken text: String) -> Int? { tokenizer.id(ofSpecial: text) }

    /// The tokens that `!<…>` may stand for, as bits by id: those with a text, control tokens too, that end no answer.
    ///
    /// - Parameter words: words of 64 bits.
    func tokensWithText(words: Int) -> [UInt64] {
        var mask = [UInt64](repeating: 0, count: words)
        for id in 0..<min(count, words * 64) where hasText(id) { mask[id >> 6] |= 1 << (UInt64(id) & 63) }
        return mask
    }

    /// Whether a token may be the next because a grammar names it, or another.
    func hasText(_ id: Int) -> Bool {
        guard bytes.indices.contains(id), !endOfGeneration.contains(id) else { return false }
        if !bytes[id].isEmpty { return true }
        return tokenizer.kind(of: id) == .control && !tokenizer.bytes(of: id).isEmpty
    }
}

/// WordPiece, as BERT uses it (`bert` in GGUF): words cut greedily into the longest tokens there are.
///
/// Text is cleaned, Chinese characters and punctuation stand alone, accents go and letters become small (where the file
/// says so, by default both). A word takes the longest token that begins it (`▁x` in the file), then the longest that
/// goes on (`x`), and so forth; if one place has none, or the word has more than 100 characters, all of it is unknown.
public final class WordPiece: Tokenizer {
    private let vocabulary: Vocabulary
    private let specials: SpecialTokenMatcher
    private let normalizer: BertNormalizer
    private let starts: ByteTrie
    private let continuations: ByteTrie
    private let addsEnd: Bool
    public let addsBeginning: Bool

    public var vocabularyCount: Int { vocabulary.count }
    public var special: SpecialTokens { vocabulary.special }
    public var endOfGeneration: Set<Int> { vocabulary.endOfGeneration }
    public var warnings: [String] { vocabulary.warnings }
    public var stripsLeadingBlank: Bool { true }
    public var cleansUpSpaces: Bool { true }

    /// Longer words are unknown.
    private static let longestWord = 100

    /// - Throws: `TokenizationError` if there are no tokens, lists of different lengths or no unknown token.
    public init(_ description: TokenizerDescription) throws {
        var description = description
        func role(_ path: WritableKeyPath<SpecialTokens, Int?>, _ text: String, _ id: Int) {
            guard description.special[keyPath: path] == nil else { return }
            description.special[keyPath: path] = description.tokens.firstIndex(of: Array(text.utf8)) ?? id
        }
        role(\.beginningOfSequence, "[CLS]", 101)
        role(\.separator, "[SEP]", 102)
        role(\.unknown, "[UNK]", 100)
        let vocabulary = try Vocabulary(description) { _, token in BlankMark.removed(from: token) }
        guard vocabulary.special.unknown != nil else {
            throw TokenizationError(
                code: .invalidVocabulary, message: "the vocabulary has no unknown token, which WordPiece needs",
                field: "special.unknown")
        }
        specials = SpecialTokenMatcher(
            tokens: description.tokens, kinds: vocabulary.kinds, leftStripping: description.leftStripping,
            rightStripping: description.rightStripping)
        var starts = ByteTrie()
        var continuations = ByteTrie()
        for (id, token) in description.tokens.enumerated() where !token.isEmpty {
            let kind = vocabulary.kinds[id]
            if kind == .control || kind == .unknown { continue }
            if token.count > 3, token.starts(with: BlankMark.bytes) {
                starts.insert(token.dropFirst(3), Int32(id), replacing: true)
            } else {
                continuations.insert(token, Int32(id), replacing: true)
            }
        }
        self.starts = starts
        self.continuations = continuations
        let lowercases = description.lowercases ?? true
        normalizer = BertNormalizer(lowercases: lowercases, stripsAccents: description.stripsAccents ?? lowercases)
        addsBeginning = description.addsBeginning ?? true
        addsEnd = (description.addsSeparator ?? true) || (description.addsEnd ?? false)
        self.vocabulary = vocabulary
    }

    // MARK: - Encoding

    public func encode(_ text: String, parseSpecial: Bool, addSpecial: Bool) -> [Int] {
        var ids: [Int] = []
        if addSpecial, addsBeginning, let id = special.beginningOfSequence { ids.append(id) }
        var text = text
        text.withUTF8 { bytes in
            let scalars = ScalarText(bytes)
            specials.forEachFragment(of: bytes, parseSpecial: parseSpecial) { fragment in
                switch fragment {
                case .token(let id): ids.append(id)
                case .text(let range):
                    normalizer.forEachWord(of: scalars, range) { word, count in append(word, count, to: &ids) }
                }
            }
        }
        if addSpecial, addsEnd, let id = special.separator ?? special.endOfSequence { ids.append(id) }
        return ids
    }

    private func append(_ word: [UInt8], _ characters: Int, to ids: inout [Int]) {
        guard let unknown = special.unknown else { return }
        guard characters <= Self.longestWord else { return ids.append(unknown) }
        let first = ids.count
        var start = 0
        while start < word.count {
            let trie = start == 0 ? starts : continuations
            var node = ByteTrie.root
            var position = start
            var best: (end: Int, id: Int)?
            while position < word.count, let child = trie.child(of: node, word[position]) {
                node = child
                position += 1
                // A token that ends inside a character does not count.
                if trie.value(at: node) >= 0, position == word.count || word[position] & 0xC0 != 0x80 {
                    best = (position, Int(trie.value(at: node)))
                }
            }
            guard let best else {
                ids.removeLast(ids.count - first)
                ids.append(unknown)
                return
            }
            ids.append(best.id)
            start = best.end
        }
    }

    // MARK: - Decoding

    public func bytes(of id: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        appendBytes(of: id, to: &bytes)
        return bytes
    }

    /// A control token is a word of its own when it is shown, and begins with a blank as words do.
    public func appendBytes(of id: Int, to bytes: inout [UInt8]) {
        if isControl(id) { bytes.append(0x20) }
        bytes.append(contentsOf: vocabulary.bytes(of: id))
    }
    public func kind(of id: Int) -> TokenKind { vocabulary.kind(of: id) }
}

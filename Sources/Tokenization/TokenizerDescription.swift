/// What a token is for, with GGUF's numbering (`tokenizer.ggml.token_type`).
public struct TokenKind: RawRepresentable, Hashable, Sendable {
    public let rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    public static let normal = TokenKind(rawValue: 1)
    public static let unknown = TokenKind(rawValue: 2)
    /// Steers the model and is no text: ordinary text never becomes such a token.
    public static let control = TokenKind(rawValue: 3)
    /// Added to the vocabulary by hand; found in raw text before anything else happens.
    public static let userDefined = TokenKind(rawValue: 4)
    public static let unused = TokenKind(rawValue: 5)
    /// Stands for one byte (`<0x0A>`), in SentencePiece vocabularies.
    public static let byte = TokenKind(rawValue: 6)
}

/// The ids with a role of their own. Any of them may be missing.
public struct SpecialTokens: Hashable, Sendable {
    public var beginningOfSequence: Int?
    public var endOfSequence: Int?
    public var endOfTurn: Int?
    public var endOfMessage: Int?
    public var unknown: Int?
    public var separator: Int?
    public var padding: Int?
    public var mask: Int?
    public var fillInTheMiddlePadding: Int?
    public var fillInTheMiddleRepository: Int?
    public var fillInTheMiddleSeparator: Int?

    public init(
        beginningOfSequence: Int? = nil, endOfSequence: Int? = nil, endOfTurn: Int? = nil, endOfMessage: Int? = nil,
        unknown: Int? = nil, separator: Int? = nil, padding: Int? = nil, mask: Int? = nil,
        fillInTheMiddlePadding: Int? = nil,
        fillInTheMiddleRepository: Int? = nil, fillInTheMiddleSeparator: Int? = nil
    ) {
        self.beginningOfSequence = beginningOfSequence
        self.endOfSequence = endOfSequence
        self.endOfTurn = endOfTurn
        self.endOfMessage = endOfMessage
        self.unknown = unknown
        self.separator = separator
        self.padding = padding
        self.mask = mask
        self.fillInTheMiddlePadding = fillInTheMiddlePadding
        self.fillInTheMiddleRepository = fillInTheMiddleRepository
        self.fillInTheMiddleSeparator = fillInTheMiddleSeparator
    }

    /// The same roles without the ids that `count` tokens do not reach, and the roles that were dropped.
    func bounded(by count: Int) -> (tokens: SpecialTokens, dropped: [String]) {
        var result = self
        var dropped: [String] = []
        let roles: [(String, WritableKeyPath<SpecialTokens, Int?>)] = [
            ("beginning of sequence", \.beginningOfSequence), ("end of sequence", \.endOfSequence),
            ("end of turn", \.endOfTurn), ("end of message", \.endOfMessage), ("unknown", \.unknown),
            ("separator", \.separator), ("padding", \.padding), ("mask", \.mask),
            ("fill-in-the-middle padding", \.fillInTheMiddlePadding),
            ("fill-in-the-middle repository", \.fillInTheMiddleRepository),
            ("fill-in-the-middle separator", \.fillInTheMiddleSeparator),
        ]
        for (name, path) in roles {
            guard let id = result[keyPath: path], id < 0 || id >= count else { continue }
            dropped.append("the \(name) token \(id) is outside the vocabulary of \(count) tokens and is ignored")
            result[keyPath: path] = nil
        }
        return (result, dropped)
    }
}

/// Everything that decides how text becomes ids, as plain values.
///
/// GGUF metadata and a `tokenizer.json` both fit in; this module reads neither. Texts are bytes, because a vocabulary
/// may hold text that is not UTF-8. Nothing needs to be consistent: building a tokenizer checks what matters.
public struct TokenizerDescription: Sendable {
    /// The kind of tokenizer, in GGUF's words: `gpt2`, `llama`, `t5`, `bert`, `gemma4`.
    public var model: String
    /// The pre-tokenizer's name, in GGUF's words: `smollm`, `llama-bpe`, … `nil` means `default`.
    public var preTokenizer: String?
    /// Token texts in id order, as stored (in the byte alphabet for `gpt2`).
    public var tokens: [[UInt8]]
    /// As many as `tokens`, or empty: all normal, save those that have a role in `special`.
    public var kinds: [TokenKind]
    /// As many as `tokens`, or empty. SentencePiece merges the pair with the highest score first.
    public var scores: [Float]
    /// `left right`, best first, each with one blank between its halves.
    public var merges: [[UInt8]]
    public var special: SpecialTokens
    /// Whether `encode(addSpecial: true)` puts the beginning token first; `nil`: what the model family does.
    public var addsBeginning: Bool?
    /// Whether `encode(addSpecial: true)` puts the end token last; `nil`: no.
    public var addsEnd: Bool?
    /// Whether `encode(addSpecial: true)` puts the separator last; `nil`: what the family does.
    public var addsSeparator: Bool?
    /// SentencePiece: whether a blank goes before the text; `nil`: yes.
    public var addsSpacePrefix: Bool?
    /// Unigram: whether blanks at the ends are dropped and runs of them become one; `nil`: no.
    public var removesExtraSpaces: Bool?
    /// Unigram: the replacements that normalise text, as SentencePiece compiles them; empty: none.
    public var characterMap: [UInt8]
    /// WordPiece: whether text becomes lower case; `nil`: yes.
    public var lowercases: Bool?
    /// WordPiece: whether accents are dropped; `nil`: if text becomes lower case.
    public var stripsAccents: Bool?
    /// Whether a piece found whole in the vocabulary skips merging; `nil`: what the pre-tokenizer's family does.
    public var ignoresMerges: Bool?
    /// Special tokens that swallow the white space before them (`lstrip` in a `tokenizer.json`).
    public var leftStripping: Set<Int>
    /// Special tokens that swallow the white space after them (`rstrip` in a `tokenizer.json`).
    public var rightStripping: Set<Int>

    public init(
        model: String, preTokenizer: String? = nil, tokens: [[UInt8]], kinds: [TokenKind] = [], scores: [Float] = [],
        merges: [[UInt8]] = [], special: SpecialTokens = SpecialTokens(), addsBeginning: Bool? = nil,
        addsEnd: Bool? = nil, addsSeparator: Bool? = nil, addsSpacePrefix: Bool? = nil,
        removesExtraSpaces: Bool? = nil, characterMap: [UInt8] = [], lowercases: Bool? = nil,
        stripsAccents: Bool? = nil, ignoresMerges: Bool? = nil,
        leftStripping: Set<Int> = [], rightStripping: Set<Int> = []
    ) {
        self.model = model
        self.preTokenizer = preTokenizer
        self.tokens = tokens
        self.kinds = kinds
        self.scores = scores
        self.merges = merges
        self.special = special
        self.addsBeginning = addsBeginning
        self.addsEnd = addsEnd
        self.addsSeparator = addsSeparator
        self.addsSpacePrefix = addsSpacePrefix
        self.removesExtraSpaces = removesExtraSpaces
        self.characterMap = characterMap
        self.lowercases = lowercases
        self.stripsAccents = stripsAccents
        self.ignoresMerges = ignoresMerges
        self.leftStripping = leftStripping
        self.rightStripping = rightStripping
    }

    /// The same from texts; a convenience for `tokenizer.json` and tests.
    public init(
        model: String, preTokenizer: String? = nil, tokens: [String], kinds: [TokenKind] = [], merges: [String] = [],
        special: SpecialTokens = SpecialTokens()
    ) {
        self.init(
            model: model, preTokenizer: preTokenizer, tokens: tokens.map { Array($0.utf8) }, kinds: kinds,
            merges: merges.map { Array($0.utf8) }, special: special)
    }
}

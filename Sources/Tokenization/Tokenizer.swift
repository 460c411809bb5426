/// Text to ids and back.
///
/// A tokenizer is immutable as seen from outside and may be used from several threads at once. No call fails: ids outside
/// the vocabulary decode to nothing.
public protocol Tokenizer: Sendable {
    /// The number of ids; valid ids are `0..<vocabularyCount`.
    var vocabularyCount: Int { get }
    /// The ids with a role, all within the vocabulary.
    var special: SpecialTokens { get }
    /// The ids after which a model has finished its answer.
    var endOfGeneration: Set<Int> { get }
    /// What was odd about the vocabulary and has been worked around, one sentence each.
    var warnings: [String] { get }
    /// Whether `encode(addSpecial: true)` starts with the beginning token.
    var addsBeginning: Bool { get }
    /// Whether the text of a whole sequence loses the blank that encoding put in front (SentencePiece).
    var stripsLeadingBlank: Bool { get }
    /// Whether the family removes blanks before punctuation when it shows text to people (`decodeCleanedUp`).
    var cleansUpSpaces: Bool { get }

    /// The ids of `text`.
    /// - Parameters:
    ///   - text: what to cut; nothing is trimmed from it.
    ///   - parseSpecial: whether control tokens written out in the text (`<|im_end|>`) become these tokens. Say `false`
    ///     for anything a user typed: then no text becomes a control token.
    ///   - addSpecial: whether the beginning and end tokens are added where the model wants them.
    func encode(_ text: String, parseSpecial: Bool, addSpecial: Bool) -> [Int]
    /// The text of one token as bytes: often only a part of a UTF-8 character. Empty outside the vocabulary.
    func bytes(of id: Int) -> [UInt8]
    /// What the token is for; `unused` outside the vocabulary.
    func kind(of id: Int) -> TokenKind
    /// Appends what `bytes(of:)` returns, without an array of its own.
    func appendBytes(of id: Int, to bytes: inout [UInt8])
}

extension Tokenizer {
    public var stripsLeadingBlank: Bool { false }
    public var cleansUpSpaces: Bool { false }

    /// Whether the token steers the model and is no text.
    public func isControl(_ id: Int) -> Bool {
        let kind = kind(of: id)
        return kind == .control || kind == .unknown
    }

    /// The text of `ids`; bytes that are not UTF-8 become U+FFFD.
    ///
    /// The text is what was encoded, blank for blank: no spaces are "cleaned up".
    /// - Parameters:
    ///   - ids: those outside the vocabulary have no text.
    ///   - skipSpecial: whether control tokens leave no trace; otherwise their text appears.
    public func decode(_ ids: some Sequence<Int>, skipSpecial: Bool) -> String {
        var decoder = StreamingDecoder(tokenizer: self, skipSpecial: skipSpecial)
        var text = ""
        for id in ids { text += decoder.append(id) }
        return text + decoder.finish()
    }

    /// The text of `ids` as some families show it: without the blank before `.`, `,`, `?`, `!` and contractions.
    ///
    /// This loses blanks that were encoded. It is what Transformers calls `clean_up_tokenization_spaces`; `cleansUpSpaces`
    /// says for which families people expect it.
    public func decodeCleanedUp(_ ids: some Sequence<Int>, skipSpecial: Bool) -> String {
        SpaceCleaning.cleaned(decode(ids, skipSpecial: skipSpecial))
    }

    /// The id whose text is exactly `text`, control tokens included; `nil` if there is none or more than one step.
    public func id(ofSpecial text: String) -> Int? {
        let ids = encode(text, parseSpecial: true, addSpecial: false)
        return ids.count == 1 ? ids[0] : nil
    }
}

/// The tokenizers that exist: one line each.
public enum TokenizerCatalog {
    public static let models: [(name: String, make: @Sendable (TokenizerDescription) throws -> any Tokenizer)] = [
        ("gpt2", { try BytePairEncoding($0) }),
        ("llama", { try SentencePieceBPE($0) }),
        ("t5", { try Unigram($0) }),
        ("bert", { try WordPiece($0) }),
        ("gemma4", { try BytePairEncoding($0) }),
    ]

    /// What files say that carry no tokenizer.
    public static let absent: Set<String> = ["none", "no_vocab"]

    /// Builds the tokenizer that `description.model` names.
    /// - Throws: `TokenizationError` if the name is unknown or the vocabulary is unusable.
    public static func make(_ description: TokenizerDescription) throws -> any Tokenizer {
        guard !absent.contains(description.model) else {
            throw TokenizationError(
                code: .noTokenizer,
                message:
                    "the file says that it carries no tokenizer (model '\(description.model)'); give ids, or use a "
                    + "file that has one",
                field: "model")
        }
        guard let entry = models.first(where: { $0.name == description.model }) else {
            throw TokenizationError(
                code: .unknownModel,
                message: "no tokenizer is known for the model '\(description.model)'; known are "
                    + models.map(\.name).joined(separator: ", "),
                field: "model")
        }
        return try entry.make(description)
    }
}

/// What went wrong while a tokenizer was being built.
///
/// Encoding and decoding themselves never fail: every text has ids and every id has bytes (possibly none).
public struct TokenizationError: Error, Sendable, CustomStringConvertible {
    /// The sort of failure; new ones may be added, so compare with `==` rather than listing them all.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        private init(_ description: String) { self.description = description }

        /// The vocabulary contradicts itself (no tokens, lists of different lengths, …).
        public static let invalidVocabulary = Code("invalidVocabulary")
        /// There is no tokenizer at all where one was looked for.
        public static let noTokenizer = Code("noTokenizer")
        /// No tokenizer is known under the model name that the file gives.
        public static let unknownModel = Code("unknownModel")
        /// No pre-tokenizer is known under the name that the file gives.
        public static let unknownPreTokenizer = Code("unknownPreTokenizer")
    }

    public let code: Code
    /// A sentence for people: what is wrong and what to do about it.
    public let message: String
    /// The metadata field that is at fault, in the words of `TokenizerDescription`.
    public let field: String?
    /// The file that the vocabulary came from, where one is involved.
    public var path: String?

    public init(code: Code, message: String, field: String? = nil) {
        self.code = code
        self.message = message
        self.field = field
    }

    public var description: String {
        (path.map { "\($0): " } ?? "") + (field.map { "\(message) (field: \($0))" } ?? message)
    }
}

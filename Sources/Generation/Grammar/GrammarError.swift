/// Why a grammar or a JSON schema cannot be used, or could not be followed.
public struct GrammarError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure this is; compare with `==`.
    public struct Code: Hashable, Sendable {
        let name: String

        /// The text is no GBNF.
        public static let syntax = Code(name: "syntax")
        /// A rule is used that nothing defines, defined twice, or refers to itself without end.
        public static let rules = Code(name: "rules")
        /// The JSON schema is malformed or contradicts itself.
        public static let schema = Code(name: "schema")
        /// A keyword of JSON Schema that cannot be turned into a grammar.
        public static let unsupported = Code(name: "unsupported")
        /// Nesting, repetitions or size beyond `Grammar`'s limits.
        public static let limit = Code(name: "limit")
        /// No token of the vocabulary continues the text as the grammar wants.
        public static let noToken = Code(name: "noToken")
    }

    public let code: Code
    /// One sentence that says what is wrong and where.
    public let message: String
    public var description: String { message }

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

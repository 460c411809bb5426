import ByteIO

/// What a text must look like: rules in GBNF, or made from a JSON schema.
///
///     let grammar = try Grammar("root ::= \"yes\" | \"no\"")
///     let vocabulary = GrammarVocabulary(tokenizer)
///     var sampler = try Sampler(settings, grammar: GrammarConstraint(grammar, vocabulary: vocabulary))
///
/// The matcher is a pushdown automaton over bytes. Its configurations, sets of stacks, are numbered as they come up, and the
/// step from one to the next is computed once, so that later tokens cost a table access a byte.
public struct Grammar: Sendable {
    /// Bounds on what a grammar may ask for; beyond them it is refused, or a path through it is not followed.
    public enum Limits {
        /// Bytes of a grammar's text.
        public static let sourceBytes = 4 << 20
        /// The highest bound of a repetition.
        public static let repetitions = 10_000
        /// Symbols after repetitions are written out.
        public static let symbols = 1_000_000
        /// Different tokens that a grammar names.
        public static let tokens = 1_000
        /// Rules that may be open inside each other while matching; deeper text is not allowed.
        public static let depth = 2_000
        /// Ways to read a text that are followed at once.
        public static let stacks = 4_000
        /// Configurations kept; beyond, the automaton begins anew.
        static let configurations = 20_000
    }

    /// The GBNF text.
    public let text: String
    let program: GrammarProgram

    /// Reads GBNF; texts begin with the rule `root`.
    ///
    /// - Throws: `GrammarError` saying what is wrong and where.
    public init(_ gbnf: String) throws(GrammarError) {
        text = gbnf
        program = try GrammarProgram(GrammarParser.parse(gbnf))
    }

    /// The grammar of the JSON texts that a schema describes; see `SchemaGrammar` for what of JSON Schema is understood.
    ///
    /// - Throws: `GrammarError` naming the keyword and its place in the schema.
    public init(jsonSchema: JSONValue) throws(GrammarError) {
        try self.init(SchemaGrammar.gbnf(for: jsonSchema))
    }

    /// Whether a whole text obeys the grammar.
    ///
    /// - Throws: `GrammarError.limit` when the grammar is too ambiguous to follow, `unsupported` when it names tokens, of
    ///   which a text has none.
    public func matches(_ text: String) throws(GrammarError) -> Bool { try match(Array(text.utf8)).isWhole }

    /// Whether a text obeys the grammar so far, and whether it may end there.
    func match(_ bytes: [UInt8]) throws(GrammarError) -> (isPrefix: Bool, isWhole: Bool) {
        if let token = program.tokens.first {
            throw GrammarError(
                .unsupported,
                "the grammar names tokens (\(token)), so that only a model's answer can be checked by it, not a text")
        }
        var states = GrammarStates(program)
        var state = try states.start()
        for byte in bytes {
            state = try states.step(state, byte)
            if state == GrammarStates.dead { return (false, false) }
        }
        return (true, states.isAccepting(state))
    }
}

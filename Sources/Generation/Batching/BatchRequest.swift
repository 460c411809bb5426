import LanguageModels

/// What chooses the next token of a sequence.
///
/// `Sampler` is one. A conformer keeps its own state (random generator, penalties, grammar); the batcher gives every
/// sequence its own copy, so that a sequence draws the same tokens in any company.
public protocol TokenChooser: Sendable {
    /// Counts tokens that were not chosen here: the text to continue.
    mutating func observe(_ tokens: [Int])
    /// The next token's id; counted as observed.
    ///
    /// - Parameter logits: one for each id, valid during the call.
    mutating func next(logits: UnsafeBufferPointer<Float>) -> Int
}

extension Sampler: TokenChooser {
    public mutating func observe(_ tokens: [Int]) { observe(tokens[...]) }
}

/// One sequence to continue.
public struct BatchRequest: Sendable {
    /// The text to continue; at least one token.
    public var tokens: [Int]
    /// The soft prompt it begins with.
    public var prompt: ResidentPrompt?
    /// How tokens are drawn.
    public var chooser: any TokenChooser
    /// Tokens to write at most; the context may end sooner.
    public var maximumTokens: Int
    /// Tokens that end the sequence and do not appear in it.
    public var endTokens: Set<Int>

    public init(
        tokens: [Int], prompt: ResidentPrompt? = nil, chooser: any TokenChooser, maximumTokens: Int,
        endTokens: Set<Int> = []
    ) {
        self.tokens = tokens
        self.prompt = prompt
        self.chooser = chooser
        self.maximumTokens = maximumTokens
        self.endTokens = endTokens
    }
}

/// What happened to a sequence in a step.
public enum BatchEvent: Sendable, Equatable {
    /// A token was chosen.
    case token(Int)
    /// The sequence is over. Nothing comes after it.
    case finished(GenerationResult.Ending)
}

/// How much a batch may hold and do at a time.
public struct BatchLimits: Sendable {
    /// Sequences that run at the same time; more wait.
    public var sequences: Int
    /// Bytes of keys and values, attached prompts included; sequences that would exceed them wait.
    public var cacheBytes: Int
    /// Rows of one step: each sequence that writes takes one, those that read their text share the rest.
    public var rows: Int
    /// Rows that reading may take while others write, which bounds how long a step makes them wait.
    public var readingRows: Int
    /// Requests that may wait; more are refused.
    public var waiting: Int

    public init(
        sequences: Int = 64, cacheBytes: Int = 1 << 30, rows: Int = 512, readingRows: Int = 128, waiting: Int = 4096
    ) {
        self.sequences = sequences
        self.cacheBytes = cacheBytes
        self.rows = rows
        self.readingRows = readingRows
        self.waiting = waiting
    }

    /// - Throws: `ModelError.invalidInput` naming the first limit that lets nothing run.
    func validate() throws {
        let parts = [
            ("sequences", sequences), ("bytes of keys and values", cacheBytes), ("rows of a step", rows),
            ("rows for reading", readingRows), ("waiting requests", waiting + 1),
        ]
        for (name, value) in parts where value < 1 {
            throw ModelError(.invalidInput, "a limit of \(value) \(name) lets nothing run; give at least 1")
        }
        guard rows >= sequences else {
            throw ModelError(
                .invalidInput, "\(sequences) sequences need as many rows in a step, not \(rows); raise the rows")
        }
    }
}

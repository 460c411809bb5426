import LanguageModels
import SoftPrompts
import Tokenization

/// A way to learn a soft prompt: what is trained, where it enters the model, and what is stored in the end.
///
/// A method is a value without state. Its parameters are one flat run of floats that the optimizer sees as a vector; the
/// method alone knows what they mean. To add one, write a file in `Methods/` and a line in `MethodCatalog`.
public protocol TuningMethod: Sendable {
    /// The name on the command line and in stored prompts.
    static var name: String { get }
    /// One sentence on when to choose it.
    static var summary: String { get }
    /// Where the result enters the model.
    static var placement: SoftPrompt.Placement { get }
    /// Learning rate when none is given.
    static var defaultLearningRate: Double { get }

    /// Number of floats trained for `tokens` virtual tokens.
    static func parameterCount(tokens: Int, shape: DecoderShape) -> Int

    /// The parameters training starts from.
    ///
    /// - Returns: `parameterCount(tokens:shape:)` floats.
    /// - Throws: `TuningError.invalidSetting` when the initialisation does not fit the method.
    static func initialParameters(
        _ initialization: PromptInitialization, tokens: Int, model: any LanguageModel, tokenizer: any Tokenizer
    ) throws -> [Float]

    /// The parameters as the virtual tokens of a forward pass.
    static func view(_ parameters: UnsafePointer<Float>, tokens: Int) -> PromptView

    /// Sets to zero the gradient of what must not change: the first virtual token, if it is frozen.
    static func freezeFirstToken(in gradient: UnsafeMutablePointer<Float>, tokens: Int, shape: DecoderShape)

    /// The parameters in the layout in which soft prompts are stored (`SoftPrompt.values`).
    static func storedValues(_ parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float]

    /// The way back from stored values, for starting from a stored prompt.
    static func parameters(fromStored values: [Float], tokens: Int, shape: DecoderShape) -> [Float]
}

/// What the virtual tokens are before the first step.
public enum PromptInitialization: Sendable, Equatable {
    /// The hand-written text: its embeddings, or the keys and values of a real prefill of it. Repeated or cut to length.
    case text(String)
    /// Embeddings (or their keys and values) of tokens drawn from the vocabulary by a seeded generator.
    case vocabulary(seed: UInt64)
    /// Zeros.
    case zero

    /// The word for it in configuration and records.
    public var kind: String {
        switch self {
        case .text: "text"
        case .vocabulary: "vocabulary"
        case .zero: "zero"
        }
    }

    /// Virtual tokens that the start itself suggests: as many as the text has, but not so few that there is hardly
    /// anything to train; nil where any number will do.
    public func naturalLength(tokenizer: any Tokenizer) -> Int? {
        guard case .text(let text) = self else { return nil }
        let count = tokenizer.encode(text, parseSpecial: true, addSpecial: false).count
        return count > 0 ? max(count, 16) : nil
    }

    /// The token ids whose embeddings or keys and values begin the run; nil for zeros.
    ///
    /// Text is repeated until it fills `tokens`, then cut.
    func tokenIDs(count tokens: Int, tokenizer: any Tokenizer, vocabularySize: Int) throws -> [Int]? {
        switch self {
        case .zero: return nil
        case .vocabulary(let seed):
            var generator = SplitMix64(seed: seed)
            // Control tokens mean something of their own and are no neutral start.
            var ids: [Int] = []
            while ids.count < tokens {
                let id = Int(generator.next() % UInt64(vocabularySize))
                if tokenizer.kind(of: id) == .normal { ids.append(id) }
            }
            return ids
        case .text(let text):
            let ids = tokenizer.encode(text, parseSpecial: true, addSpecial: false)
            guard !ids.isEmpty else {
                throw TuningError(
                    code: .invalidSetting,
                    message: "the initial text has no tokens; give some words, or use --init zero")
            }
            return (0..<tokens).map { ids[$0 % ids.count] }
        }
    }
}

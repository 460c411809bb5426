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

    /// How far a vector may move from its start when nothing else is asked for (`TuningConfiguration.normBall`).
    static var defaultNormBall: Double { get }

    /// The first layer that is trained. Below it virtual tokens stay as they began, and so do the examples' activations,
    /// which are then computed once.
    static func firstTrainedLayer(shape: DecoderShape) -> Int

    /// Virtual tokens in the placement's layout, as a forward pass takes them.
    static func view(_ parameters: UnsafePointer<Float>, tokens: Int) -> PromptView

    /// Sets to zero the gradient of what must not change: the first `count` virtual tokens. The gradient is laid out as
    /// the placement's virtual tokens.
    static func freeze(
        firstTokens count: Int, in gradient: UnsafeMutablePointer<Float>, tokens: Int, shape: DecoderShape)

    /// Whether the parameters are something else than the virtual tokens, which `fold` computes.
    static var isReparameterised: Bool { get }

    /// The virtual tokens that parameters stand for, in the placement's layout.
    static func fold(_ parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float]

    /// The gradient with respect to the parameters, from the one with respect to the virtual tokens.
    static func unfold(_ gradient: [Float], parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float]

    /// How several tasks share parameters, for methods that learn several data sets at once, each with its own prompt; nil
    /// for the others, which make one prompt of all. Where it is there, it stands for `fold`, `unfold` and the counts.
    static func taskFactors(tokens: Int, tasks: Int, rank: Int, shape: DecoderShape) -> TaskFactors?

    /// Neighbouring virtual-token floats that form one vector: an embedding, or a head's key or value.
    static func vectorWidth(shape: DecoderShape) -> Int

    /// Virtual tokens in the layout in which soft prompts are stored (`SoftPrompt.values`).
    static func storedValues(_ parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float]

    /// The way back from stored values to virtual tokens in the placement's layout.
    static func parameters(fromStored values: [Float], tokens: Int, shape: DecoderShape) -> [Float]

    /// Parameters that stand for given virtual tokens at the start of a run.
    static func parameters(fromVirtualTokens values: [Float], tokens: Int, shape: DecoderShape, seed: UInt64) -> [Float]
}

extension TuningMethod {
    public static var defaultNormBall: Double { 0 }
    public static func firstTrainedLayer(shape: DecoderShape) -> Int { 0 }

    /// The parameters training starts from.
    ///
    /// - Returns: `parameterCount(tokens:shape:)` floats.
    /// - Throws: `TuningError.invalidSetting` when the initialisation has no tokens.
    public static func initialParameters(
        _ initialization: PromptInitialization, tokens: Int, model: any LanguageModel, tokenizer: any Tokenizer,
        seed: UInt64 = 0
    ) throws -> [Float] {
        let values = try initialization.virtualTokens(
            count: tokens, placement: placement, model: model, tokenizer: tokenizer)
        return parameters(fromVirtualTokens: values, tokens: tokens, shape: model.shape, seed: seed)
    }

    public static var isReparameterised: Bool { false }
    public static func taskFactors(tokens: Int, tasks: Int, rank: Int, shape: DecoderShape) -> TaskFactors? { nil }
    public static func fold(_ parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float] { parameters }
    public static func unfold(
        _ gradient: [Float], parameters: [Float], tokens: Int, shape: DecoderShape
    ) -> [Float] { gradient }
    public static func vectorWidth(shape: DecoderShape) -> Int {
        placement == .keysAndValues ? shape.headDimension : shape.hiddenSize
    }
    public static func parameters(
        fromVirtualTokens values: [Float], tokens: Int, shape: DecoderShape, seed: UInt64
    ) -> [Float] { values }

    public static func freeze(
        firstTokens count: Int, in gradient: UnsafeMutablePointer<Float>, tokens: Int, shape: DecoderShape
    ) {
        if placement == .keysAndValues {
            let below = firstTrainedLayer(shape: shape) * 2 * shape.keyValueHeadCount * tokens * shape.headDimension
            gradient.update(repeating: 0, count: below)
        }
        let frozen = min(count, tokens)
        guard frozen > 0 else { return }
        switch placement {
        case .inputEmbeddings: gradient.update(repeating: 0, count: frozen * shape.hiddenSize)
        case .adaptionPrompt:
            for row in 0..<frozen * shape.layerCount {  // gates are all tokens' and are learned
                (gradient + row * (shape.hiddenSize + 1)).update(repeating: 0, count: shape.hiddenSize)
            }
        case .keysAndValues:
            let plane = tokens * shape.headDimension
            for index in 0..<shape.layerCount * 2 * shape.keyValueHeadCount {
                (gradient + index * plane).update(repeating: 0, count: frozen * shape.headDimension)
            }
        }
    }

    public static func view(_ parameters: UnsafePointer<Float>, tokens: Int) -> PromptView {
        switch placement {
        case .inputEmbeddings: .embeddings(parameters, count: tokens)
        case .keysAndValues: .keysAndValues(parameters, count: tokens)
        case .adaptionPrompt: .adaptionPrompt(parameters, count: tokens)
        }
    }

    public static func storedValues(_ parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float] {
        placement == .keysAndValues ? shape.storedPrefix(fromCache: parameters, tokens: tokens) : parameters
    }

    public static func parameters(fromStored values: [Float], tokens: Int, shape: DecoderShape) -> [Float] {
        placement == .keysAndValues ? shape.cachePrefix(fromStored: values, tokens: tokens) : values
    }
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

extension PromptInitialization {
    /// The virtual tokens a run begins with, in the placement's layout: embeddings of the tokens, or the keys and values of
    /// a real prefill of them; zeros for `zero`.
    func virtualTokens(
        count: Int, placement: SoftPrompt.Placement, model: any LanguageModel, tokenizer: any Tokenizer
    ) throws -> [Float] {
        let shape = model.shape
        let width = shape.valuesPerVirtualToken(placement)
        if placement == .adaptionPrompt, self == .zero {
            throw TuningError(
                code: .invalidSetting,
                message:
                    "rows of zeros behind gates of zero never move; begin an adaption prompt from text or vocabulary")
        }
        guard let ids = try tokenIDs(count: count, tokenizer: tokenizer, vocabularySize: shape.vocabularySize) else {
            return [Float](repeating: 0, count: count * width)
        }
        switch placement {
        case .inputEmbeddings:
            var result = [Float](repeating: 0, count: count * width)
            result.withUnsafeMutableBufferPointer { buffer in
                guard let base = buffer.baseAddress else { return }
                for (row, id) in ids.enumerated() { model.embedding(of: id, into: base + row * width) }
            }
            return result
        case .keysAndValues:
            let cache = model.makeCache(element: .f32, capacity: count)
            _ = try model.forward(.tokens(ids), cache: cache, workspace: InferenceWorkspace(), logitCount: 0)
            return cache.prefix(tokens: count)
        case .adaptionPrompt:
            // The words' embeddings, as large as what layers read behind their norms, in every layer.
            var row = [Float](repeating: 0, count: shape.hiddenSize)
            return ids.flatMap { id -> [Float] in
                row.withUnsafeMutableBufferPointer { buffer in
                    if let base = buffer.baseAddress { model.embedding(of: id, into: base) }
                }
                let square = row.reduce(0) { $0 + Double($1) * Double($1) } / Double(row.count)
                let factor = square > 0 ? Float(1 / square.squareRoot()) : 0
                return (0..<shape.layerCount).flatMap { _ in row.map { $0 * factor } + [0] }
            }
        }
    }
}

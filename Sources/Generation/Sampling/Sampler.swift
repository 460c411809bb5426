import Kernels
import Tokenization

/// Chooses tokens, one after another, by `SamplerSettings`.
///
/// Deterministic: it depends on the settings, the tokens observed and the logits alone, not on threads or time. The
/// vocabulary is never sorted as a whole; a greedy choice is one pass over the logits.
///
///     var sampler = try Sampler(settings, tokenizer: tokenizer)
///     sampler.observe(promptIds)
///     let id = sampler.next(logits: logits)   // observed by itself
public struct Sampler: Sendable {
    public let settings: SamplerSettings
    private var random: RandomGenerator
    private var steps: [any SamplingStep]
    private var candidates = Candidates()
    private var grammar: GrammarConstraint?
    /// Whether the likeliest token is the answer, whatever the steps do.
    private let isGreedy: Bool

    /// - Parameters:
    ///   - settings: how tokens are drawn.
    ///   - tokenizer: needed by DRY, whose sequence breakers are texts.
    ///   - grammar: what the text must obey, from its first token on; see `Grammar.constraint`.
    /// - Throws: `SamplerSettingsError` for settings out of range.
    public init(
        _ settings: SamplerSettings, tokenizer: (any Tokenizer)? = nil, grammar: GrammarConstraint? = nil
    ) throws(SamplerSettingsError) {
        try settings.validate()
        self.settings = settings
        self.grammar = grammar
        random = RandomGenerator(seed: settings.seed)
        var steps: [any SamplingStep] = []
        if !settings.logitBias.isEmpty { steps.append(LogitBias(bias: settings.logitBias)) }
        for name in settings.mirostat == 0 ? settings.order : ["temperature"] {
            guard let kind = SamplerCatalog.kind(named: name) else { continue }
            if let step = try kind.make(settings, tokenizer) { steps.append(step) }
        }
        if settings.mirostat != 0 {
            steps.append(
                Mirostat(version: settings.mirostat, target: settings.mirostatTarget, rate: settings.mirostatRate))
        }
        self.steps = steps
        let takesBest = steps.contains { step in
            if let temperature = step as? Temperature { return temperature.base == 0 && temperature.range == 0 }
            return (step as? TopK)?.limit == 1
        }
        isGreedy = takesBest && steps.allSatisfy { $0.keepsLikeliest }
    }

    /// Why the grammar could not be followed to its end; the last `next` then returned an end token, or 0.
    public var failure: GrammarError? { grammar?.failure }

    /// Whether the grammar's text is complete and nothing can follow it.
    public var isComplete: Bool { grammar?.isComplete ?? false }

    /// Takes note of tokens that were not chosen here, such as the prompt's, for penalties and DRY. The grammar does not
    /// see them.
    public mutating func observe(_ tokens: some Sequence<Int>) {
        for token in tokens {
            for index in steps.indices { steps[index].accept(token) }
        }
    }

    /// The next token; it is observed at once.
    ///
    /// - Parameter logits: one for each token of the vocabulary; they are not changed.
    /// - Precondition: there is at least one logit.
    public mutating func next(logits: UnsafeBufferPointer<Float>) -> Int {
        precondition(!logits.isEmpty, "there are no logits to choose from")
        let token = choose(logits)
        grammar?.accept(token)
        observe(CollectionOfOne(token))
        return token
    }

    /// The same for an array.
    public mutating func next(logits: [Float]) -> Int {
        logits.withUnsafeBufferPointer { next(logits: $0) }
    }

    /// The candidates as the steps leave them, before the draw; for tests and for those who want to see.
    mutating func remaining(logits: [Float]) -> Candidates {
        logits.withUnsafeBufferPointer { candidates.load($0) }
        for index in steps.indices where candidates.chosen == nil { steps[index].apply(&candidates, &random) }
        return candidates
    }

    private mutating func choose(_ logits: UnsafeBufferPointer<Float>) -> Int {
        let best = Self.likeliest(logits)
        // A model that answers with infinity or nothing but NaN leaves no probabilities to work on.
        guard grammar != nil || logits[best].isFinite else { return best }
        if isGreedy, grammar?.allows(best) ?? true { return best }
        candidates.load(logits)
        if grammar != nil {
            guard let allowed = grammar!.allowedTokens(count: logits.count) else { return grammar!.endToken }
            candidates.mask(allowed: allowed)
            // What the grammar allows, the model may rule out entirely; then its best is still an answer.
            guard let first = candidates.best else { return Self.first(of: allowed) ?? grammar!.endToken }
            if isGreedy || !candidates.highest.isFinite { return first }
        }
        for index in steps.indices {
            steps[index].apply(&candidates, &random)
            if let chosen = candidates.chosen { return chosen }
        }
        return candidates.draw(random.nextUniform()) ?? best
    }

    /// The highest logit, of equals the lowest id; NaN is passed over.
    private static func likeliest(_ logits: UnsafeBufferPointer<Float>) -> Int {
        var best = 0
        var highest = -Float.infinity
        for id in 0..<logits.count where logits[id] > highest {
            highest = logits[id]
            best = id
        }
        return best
    }

    private static func first(of mask: [UInt64]) -> Int? {
        mask.firstIndex { $0 != 0 }.map { $0 * 64 + mask[$0].trailingZeroBitCount }
    }
}

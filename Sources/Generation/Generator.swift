import LanguageModels
import Tokenization

/// What a generation gave.
public struct GenerationResult: Sendable {
    public enum Ending: String, Sendable {
        /// The model ended its answer.
        case endOfText = "end-of-text"
        /// A stop string appeared.
        case stopString = "stop-string"
        /// The text that the grammar describes is complete.
        case grammarComplete = "grammar-complete"
        /// The number of tokens asked for, or the end of the context, was reached.
        case length
        /// The caller asked to stop.
        case interrupted
    }

    public let text: String
    /// Ids drawn, the end token excluded.
    public let tokens: [Int]
    public let promptTokens: Int
    public let ending: Ending
    /// Probabilities in the place of each token of `tokens`, when asked for.
    public let choices: [TokenChoice]
    /// Seconds from the call to the first token.
    public let timeToFirstToken: Double
    /// Speed after the first token.
    public let tokensPerSecond: Double
}

/// Continues a text in a session: prefill, then token by token until something ends it.
public struct Generator {
    private let session: any GenerationContext
    private let tokenizer: any Tokenizer

    public init(session: any GenerationContext, tokenizer: any Tokenizer) {
        self.session = session
        self.tokenizer = tokenizer
    }

    /// Generates behind what the session holds.
    ///
    /// - Parameters:
    ///   - text: what to continue.
    ///   - parseSpecial: whether control tokens written in the text become these tokens.
    ///   - settings: how tokens are drawn.
    ///   - maximumTokens: tokens at most; also bounded by the context.
    ///   - stop: texts that end the answer and do not appear in it.
    ///   - grammar: what the answer must obey.
    ///   - likeliest: how many of the likeliest tokens `choices` lists in each place; nil: no `choices`.
    ///   - shouldStop: asked before each token; true ends the answer there.
    ///   - reusesText: `text` is all that is to stand behind the attached prompt, and what the session holds of its
    ///     beginning is not read again; otherwise it goes behind what is there.
    ///   - onText: receives the answer piece by piece, never in the middle of a character.
    /// - Throws: `ModelError.contextFull` when the text does not fit, `SamplerSettingsError` for bad settings,
    ///   `GrammarError` when the grammar leads where no token goes on.
    public func generate(
        _ text: String, parseSpecial: Bool = false, settings: SamplerSettings, maximumTokens: Int,
        stop: [String] = [], grammar: GrammarConstraint? = nil, likeliest: Int? = nil,
        shouldStop: () -> Bool = { false }, reusesText: Bool = false, onText: (String) -> Void = { _ in }
    ) throws -> GenerationResult {
        try generate(
            tokens: tokenizer.encode(text, parseSpecial: parseSpecial, addSpecial: true), settings: settings,
            maximumTokens: maximumTokens, stop: stop, grammar: grammar, likeliest: likeliest, shouldStop: shouldStop,
            reusesText: reusesText, onText: onText)
    }

    /// The same behind tokens.
    ///
    /// - Parameters:
    ///   - prompt: what the session does not hold yet (with `reusesText`, all that is to stand behind the attached
    ///     prompt), at least one token.
    ///   - context: tokens the session holds already; penalties and DRY see them.
    ///   - settings: how tokens are drawn.
    ///   - maximumTokens: tokens at most; also bounded by the context.
    ///   - stop: texts that end the answer and do not appear in it.
    ///   - grammar: what the answer must obey.
    ///   - likeliest: how many of the likeliest tokens `choices` lists in each place; nil: no `choices`.
    ///   - shouldStop: asked before each token; true ends the answer there.
    ///   - reusesText: whether what the session holds of the prompt's beginning is kept instead of read again.
    ///   - onText: receives the answer piece by piece, never in the middle of a character.
    public func generate(
        tokens prompt: [Int], context: [Int] = [], settings: SamplerSettings, maximumTokens: Int,
        stop: [String] = [], grammar: GrammarConstraint? = nil, likeliest: Int? = nil,
        shouldStop: () -> Bool = { false }, reusesText: Bool = false, onText: (String) -> Void = { _ in }
    ) throws -> GenerationResult {
        var sampler = try Sampler(settings, tokenizer: tokenizer, grammar: grammar)
        guard !prompt.isEmpty else {
            throw ModelError(.invalidInput, "there is no text to continue; give at least one character")
        }
        let clock = ContinuousClock()
        let started = clock.now
        var firstAt = started
        sampler.observe(context)
        sampler.observe(prompt)
        var logits = try reusesText ? session.replace(with: prompt).logits : session.append(prompt, logitCount: 1)
        var answer = AnswerText(tokenizer: tokenizer, stop: stop)
        var tokens: [Int] = []
        var choices: [TokenChoice] = []
        var ending = GenerationResult.Ending.length
        while tokens.count < maximumTokens {
            if shouldStop() {
                ending = .interrupted
                break
            }
            let token = sampler.next(logits: logits)
            if let failure = sampler.failure { throw failure }
            if tokens.isEmpty { firstAt = clock.now }
            if tokenizer.endOfGeneration.contains(token) {
                ending = .endOfText
                break
            }
            tokens.append(token)
            if let likeliest { choices.append(TokenChoice(of: token, in: logits, top: likeliest)) }
            let stopped = answer.append(token)
            let piece = answer.takeNew()
            if !piece.isEmpty { onText(piece) }
            if stopped {
                ending = .stopString
                break
            }
            if sampler.isComplete {
                ending = .grammarComplete
                break
            }
            if session.remaining == 0 || tokens.count == maximumTokens { break }
            logits = try session.append([token], logitCount: 1)
        }
        if answer.finish() { ending = .stopString }
        let last = answer.takeNew()
        if !last.isEmpty { onText(last) }
        let rest = (clock.now - firstAt).seconds
        return GenerationResult(
            text: answer.text, tokens: tokens, promptTokens: prompt.count, ending: ending, choices: choices,
            timeToFirstToken: (firstAt - started).seconds,
            tokensPerSecond: tokens.count > 1 && rest > 0 ? Double(tokens.count - 1) / rest : 0)
    }
}

/// The text of an answer as its tokens come: whole characters only, and nothing that a stop string takes back.
private struct AnswerText {
    private(set) var text = ""
    private var decoder: StreamingDecoder
    private var stops: StopSequences
    private var hasStopped = false
    private var new = ""

    init(tokenizer: any Tokenizer, stop: [String]) {
        decoder = StreamingDecoder(tokenizer: tokenizer, skipSpecial: true)
        stops = StopSequences(stop)
    }

    /// What has become certain since the last call.
    mutating func takeNew() -> String {
        defer { new = "" }
        return new
    }

    /// Takes a token; `true` when a stop string is complete.
    mutating func append(_ token: Int) -> Bool { take(decoder.append(token)) }

    /// Lets out what was held back; `true` when that completes a stop string.
    mutating func finish() -> Bool {
        if hasStopped { return false }
        if take(decoder.finish()) { return true }
        emit(stops.finish())
        return false
    }

    private mutating func take(_ piece: String) -> Bool {
        let (certain, stopped) = stops.append(piece)
        emit(certain)
        hasStopped = stopped
        return stopped
    }

    private mutating func emit(_ piece: String) {
        text += piece
        new += piece
    }
}

import LanguageModels
import Tokenization

/// What a generation gave.
public struct GenerationResult: Sendable {
    public enum Ending: String, Sendable {
        /// The model ended its answer.
        case endOfText = "end-of-text"
        /// A stop string appeared.
        case stopString = "stop-string"
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
    /// Seconds from the call to the first token.
    public let timeToFirstToken: Double
    /// Speed after the first token.
    public let tokensPerSecond: Double
}

/// Continues a text in a session: prefill, then token by token until something ends it.
public struct Generator {
    private let session: Session
    private let tokenizer: any Tokenizer

    public init(session: Session, tokenizer: any Tokenizer) {
        self.session = session
        self.tokenizer = tokenizer
    }

    /// Generates behind what the session holds.
    ///
    /// - Parameters:
    ///   - text: what to continue.
    ///   - parseSpecial: whether control tokens written in the text become these tokens.
    ///   - maximumTokens: tokens at most; also bounded by the context.
    ///   - stop: texts that end the answer and do not appear in it.
    ///   - reusesText: `text` is all that is to stand behind the attached prompt, and what the session holds of its
    ///     beginning is not read again; otherwise it goes behind what is there.
    ///   - onText: receives the answer piece by piece, never in the middle of a character.
    /// - Throws: `ModelError.contextFull` when the text does not fit, `SamplerSettingsError` for bad settings.
    public func generate(
        _ text: String, parseSpecial: Bool = false, settings: SamplerSettings, maximumTokens: Int,
        stop: [String] = [], shouldStop: () -> Bool = { false }, reusesText: Bool = false,
        onText: (String) -> Void = { _ in }
    ) throws -> GenerationResult {
        var sampler = try Sampler(settings)
        let prompt = tokenizer.encode(text, parseSpecial: parseSpecial, addSpecial: true)
        guard !prompt.isEmpty else {
            throw ModelError(.invalidInput, "there is no text to continue; give at least one character")
        }
        let clock = ContinuousClock()
        let started = clock.now
        var firstAt = started
        sampler.observe(prompt)
        var logits = try reusesText ? session.replace(with: prompt).logits : session.append(prompt)
        var decoder = StreamingDecoder(tokenizer: tokenizer, skipSpecial: true)
        var stops = StopSequences(stop)
        var answer = ""
        var tokens: [Int] = []
        var ending = GenerationResult.Ending.length
        func emit(_ piece: String) {
            if piece.isEmpty { return }
            answer += piece
            onText(piece)
        }
        var isStopped = false
        while tokens.count < maximumTokens {
            if shouldStop() {
                ending = .interrupted
                break
            }
            let token = sampler.next(logits: logits)
            if tokens.isEmpty { firstAt = clock.now }
            if tokenizer.endOfGeneration.contains(token) {
                ending = .endOfText
                break
            }
            tokens.append(token)
            let (piece, stopped) = stops.append(decoder.append(token))
            emit(piece)
            if stopped {
                ending = .stopString
                isStopped = true
                break
            }
            if session.remaining == 0 || tokens.count == maximumTokens { break }
            logits = try session.append([token])
        }
        if !isStopped {
            let (piece, stopped) = stops.append(decoder.finish())
            emit(piece)
            if stopped { ending = .stopString } else { emit(stops.finish()) }
        }
        let rest = (clock.now - firstAt).seconds
        return GenerationResult(
            text: answer, tokens: tokens, promptTokens: prompt.count, ending: ending,
            timeToFirstToken: (firstAt - started).seconds,
            tokensPerSecond: tokens.count > 1 && rest > 0 ? Double(tokens.count - 1) / rest : 0)
    }
}

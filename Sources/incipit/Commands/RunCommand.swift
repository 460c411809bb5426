import ArgumentParser
import ChatTemplates
import Foundation
import Generation
import LanguageModels
import Tokenization

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Continue a text, with a soft prompt attached if you name one.",
        discussion: """
            The text is the argument, --file, or standard input when it is “-” or both are left out. The continuation is \
            written as it is made; figures go to standard error with --stats.

              incipit run MODEL --attach team/task:v1 "a large freshwater fish"
              incipit run MODEL --attach team/task:v1 --also team/task:v2 --also team/task:v3 "a large freshwater fish"
              incipit run MODEL "The capital of France is"
              incipit run MODEL --chat --system "Answer in one word." "What is the capital of France?"
              incipit run MODEL --chat --json-schema '{"properties": {"city": {"type": "string"}}}' "…" 
              incipit run MODEL --temperature 0.8 --samplers "top_k;min_p;temperature" --seed 7 "Once"

            A prompt trained on rows of the form “{input}\\nAnswer:” sees the text in that same form; --raw gives the model \
            the text as it is. With --chat the text is a user's message in the model's chat template; nothing in it can \
            become a control token. With --also several prompts answer together, all in one batch: by the mean of their \
            logits, or by vote (--combine). With --grammar (GBNF) or --json-schema the answer obeys it to the letter: tokens that \
            would break it are never drawn. The same seed gives the same text for any number of threads.
            """)

    @OptionGroup var options: ModelOptions
    @OptionGroup var attachment: AttachmentOptions
    @OptionGroup var ensemble: EnsembleOptions
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var grammar: GrammarOptions
    @OptionGroup var chat: ChatOptions
    @OptionGroup var adapters: AdapterOptions

    @Argument(help: "Text to continue; “-” or none reads standard input.") var text: String?
    @Option(help: "Read the text from a file; with a text too, the file follows it.", completion: .file()) var file:
        String?
    @Flag(
        name: .customLong("chat"),
        help: "Take the text as a user's message and answer it, by the model's chat template.") var chatMode = false
    @Flag(help: "Give the text to the model as it is, not in the form the attached prompt was trained on.") var raw =
        false
    @Option(
        help: ArgumentHelp(
            "File that keeps what was read and written, with its keys and values: made if missing; a text that begins "
                + "like the one before is not read again.", valueName: "file"), completion: .file())
    var session: String?
    @Flag(help: "Let the text contain control tokens such as <|im_start|>.") var special = false
    @Option(help: "With --json: the probability of each token, and of so many of the likeliest beside it (0…100).")
    var logprobs: Int?
    @Flag(help: "Print tokens and speed to standard error.") var stats = false
    @Flag(help: "Print one JSON object instead of streaming.") var json = false

    func validate() throws {
        if let logprobs {
            if !json { throw ValidationError("--logprobs needs --json, where the probabilities are written.") }
            if !(0...100).contains(logprobs) { throw ValidationError("--logprobs must lie in 0…100, not \(logprobs).") }
        }
        try ensemble.check(attachment, session: session)
        if chat.isGiven, !chatMode { throw ValidationError("--system and --chat-template need --chat.") }
        if chatMode, special {
            throw ValidationError("--chat and --special exclude each other: a message is only text.")
        }
    }

    private struct Report: Encodable {
        let text, ending: String
        let promptTokens, attachedTokens, generatedTokens: Int
        let timeToFirstTokenMilliseconds, tokensPerSecond: Double
        let logprobs: [Place]?
    }

    /// A token drawn, with its probability before any sampler acted.
    private struct Place: Encodable {
        struct Token: Encodable {
            let id: Int
            let text: String
            let logprob: Float?

            init(_ token: TokenProbability, _ tokenizer: any Tokenizer) {
                id = token.token
                text = String(decoding: tokenizer.bytes(of: token.token), as: UTF8.self)
                // JSON has no infinity.
                logprob = token.logProbability.isFinite ? token.logProbability : nil
            }
        }
        let id: Int
        let text: String
        let logprob: Float?
        let top: [Token]

        init(_ choice: TokenChoice, _ tokenizer: any Tokenizer) {
            let chosen = Token(choice.chosen, tokenizer)
            (id, text, logprob) = (chosen.id, chosen.text, chosen.logprob)
            top = choice.top.map { Token($0, tokenizer) }
        }
    }

    func run() async throws {
        let settings = try sampling.settings()
        let input = try readInput()
        if input.isEmpty && attachment.attach == nil {
            throw CommandFailure(.usage, "there is no text to continue; give it as an argument or on standard input")
        }
        // What is wrong in a grammar or template is said before a model is loaded for nothing.
        _ = try grammar.load()
        let loaded = try options.load(adapters: adapters)
        let tokenizer = loaded.tokenizer
        let constraint = try grammar.constraint(tokenizer)
        let resolved = try await attachment.resolve(for: loaded, home: Home())
        // A session that is to be saved keeps every position.
        let session = try Session(
            model: loaded.model, attachment: resolved?.attachment, cacheElement: sampling.cacheElement,
            canRewind: self.session != nil)
        let identity = ([resolved?.identity ?? "none"] + adapters.adapters).joined(separator: " ")
        let state = try self.session.map { path in
            (path: path, base: try loaded.fingerprint(cache: Home().cache).base)
        }
        if let state, FileManager.default.fileExists(atPath: state.path) {
            try session.load(from: state.path, base: state.base, promptIdentity: identity)
        }
        let prompt: [Int]
        if chatMode {
            prompt = try chat.prompt(loaded).tokens(chat.systemMessages + [ChatMessage(role: "user", content: input)])
        } else {
            let form = raw ? nil : resolved?.prompt.trainingTemplate
            prompt = tokenizer.encode(
                form.map { $0.replacingOccurrences(of: "{input}", with: input) } ?? input, parseSpecial: special,
                addSpecial: true)
        }
        let context = try await ensemble.context(
            attachment, resolved, session: session, loaded: loaded, cacheElement: sampling.cacheElement)
        let generator = Generator(session: context, tokenizer: tokenizer)
        Interrupt.listen()
        let result = try generator.generate(
            tokens: prompt, settings: settings, maximumTokens: sampling.maxTokens, stop: sampling.stop,
            grammar: constraint, likeliest: logprobs, shouldStop: { Interrupt.isRequested }, reusesText: state != nil,
            onText: { piece in if !json { Output.stream(piece) } })
        if let state { try session.save(to: state.path, base: state.base, promptIdentity: identity) }
        if json {
            return try Output.json(
                Report(
                    text: result.text, ending: result.ending.rawValue, promptTokens: result.promptTokens,
                    attachedTokens: context.attachedCount, generatedTokens: result.tokens.count,
                    timeToFirstTokenMilliseconds: result.timeToFirstToken * 1000,
                    tokensPerSecond: result.tokensPerSecond,
                    logprobs: logprobs == nil ? nil : result.choices.map { Place($0, tokenizer) }))
        }
        Output.stream("\n")
        if stats {
            Output.note(
                "\(result.promptTokens) tokens read, \(context.attachedCount) attached, \(result.tokens.count) written; "
                    + "first after \(Output.milliseconds(result.timeToFirstToken)), then "
                    + String(format: "%.1f tokens/s", result.tokensPerSecond) + " (\(result.ending.rawValue))")
        }
        if result.ending == .interrupted { throw CommandFailure(.interrupted, "interrupted") }
    }

    private func readInput() throws -> String {
        var parts: [String] = []
        if let text, text != "-" { parts.append(text) }
        if text == "-" || (text == nil && file == nil) { parts.append(try TextFile.read("-")) }
        if let file { parts.append(try TextFile.read(file)) }
        // The newline that ends the last line is the shell's, not the author's.
        return parts.map { part in
            let isArgument = part == text
            return !isArgument && part.hasSuffix("\n") ? String(part.dropLast()) : part
        }.joined(separator: "\n\n")
    }
}

import ArgumentParser
import Foundation
import Generation
import LanguageModels

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Continue a text, with a soft prompt attached if you name one.",
        discussion: """
            The text is the argument, or standard input when it is “-” or left out. The continuation is written as it is \
            made; figures go to standard error with --stats.

              incipit run MODEL --attach team/task:v1 "a large freshwater fish"
              incipit run MODEL --temperature 0 "The capital of France is"

            A prompt trained on rows of the form “{input}\\nAnswer:” sees the text in that same form; --raw gives the model \
            the text as it is.
            """)

    @OptionGroup var options: ModelOptions
    @OptionGroup var attachment: AttachmentOptions
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var adapters: AdapterOptions

    @Argument(help: "Text to continue; “-” or none reads standard input.") var text: String?
    @Flag(help: "Give the text to the model as it is, not in the form the attached prompt was trained on.") var raw =
        false
    @Option(
        help: ArgumentHelp(
            "File that keeps what was read and written, with its keys and values: made if missing; a text that begins "
                + "like the one before is not read again.", valueName: "file"), completion: .file())
    var session: String?
    @Flag(help: "Let the text contain control tokens such as <|im_start|>.") var special = false
    @Flag(help: "Print tokens and speed to standard error.") var stats = false
    @Flag(help: "Print one JSON object instead of streaming.") var json = false

    private struct Report: Encodable {
        let text, ending: String
        let promptTokens, attachedTokens, generatedTokens: Int
        let timeToFirstTokenMilliseconds, tokensPerSecond: Double
    }

    func run() async throws {
        let settings = sampling.settings()
        let input = try readInput()
        if input.isEmpty && attachment.attach == nil {
            throw CommandFailure(.usage, "there is no text to continue; give it as an argument or on standard input")
        }
        let loaded = try options.load(adapters: adapters)
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
        let form = raw ? nil : resolved?.template
        let generator = Generator(session: session, tokenizer: loaded.tokenizer)
        Interrupt.listen()
        let result = try generator.generate(
            form.map { $0.replacingOccurrences(of: "{input}", with: input) } ?? input, parseSpecial: special,
            settings: settings, maximumTokens: sampling.maxTokens, stop: sampling.stop,
            shouldStop: { Interrupt.isRequested },
            reusesText: state != nil, onText: { piece in if !json { Output.stream(piece) } })
        if let state { try session.save(to: state.path, base: state.base, promptIdentity: identity) }
        if json {
            return try Output.json(
                Report(
                    text: result.text, ending: result.ending.rawValue, promptTokens: result.promptTokens,
                    attachedTokens: session.attachedCount, generatedTokens: result.tokens.count,
                    timeToFirstTokenMilliseconds: result.timeToFirstToken * 1000,
                    tokensPerSecond: result.tokensPerSecond))
        }
        Output.stream("\n")
        if stats {
            Output.note(
                "\(result.promptTokens) tokens read, \(session.attachedCount) attached, \(result.tokens.count) written; "
                    + "first after \(Output.milliseconds(result.timeToFirstToken)), then "
                    + String(format: "%.1f tokens/s", result.tokensPerSecond) + " (\(result.ending.rawValue))")
        }
        if result.ending == .interrupted { throw CommandFailure(.interrupted, "interrupted") }
    }

    private func readInput() throws -> String {
        if let text, text != "-" { return text }
        let data = FileHandle.standardInput.readDataToEndOfFile()
        guard let input = String(data: data, encoding: .utf8) else {
            throw CommandFailure(.data, "standard input is not UTF-8 text")
        }
        // The newline that ends the last line is the shell's, not the author's.
        return input.hasSuffix("\n") ? String(input.dropLast()) : input
    }
}

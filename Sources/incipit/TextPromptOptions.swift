import ArgumentParser
import Evaluation
import Foundation
import Generation
import LanguageModels
import PromptTuning
import Tokenization

/// A hand-written prompt that becomes virtual tokens, and what it will be asked.
struct TextPromptOptions: ParsableArguments {
    @Option(help: "The prompt's text, exactly as it stands before each request: a file, or - for standard input.")
    var promptFile: String
    @Option(help: "Name to store the result under, such as team/task.") var name: String
    @Option(help: "Virtual tokens (default: an eighth of the text's tokens, at least 8).") var tokens: Int?
    @Option(
        help: """
            What will be asked: JSONL rows with "input" (their train split), or text with one input a line. Without it the \
            model makes up its own continuations.
            """)
    var inputs: String?
    @Option(help: "How an input becomes text; {input} stands for it.") var template = ExampleTemplate.standard.prompt
    @Option(help: "Score both prompts on this labelled data set: JSONL, or a name found in $INCIPIT_DATA.")
    var data: String?
    @Option(help: "Split that is scored: train, dev or test.") var split = DatasetSplit.dev
    @Option(help: "Score this many rows only.") var limit: Int?
    @Option(help: "Seed of what is drawn.") var seed: UInt64 = 0
    @Option(help: "Weights as floats while training: float, tiles, or auto by the memory there is.")
    var weightsMemory = WeightsMemory.auto
    @Flag(help: "Print the summary as JSON.") var json = false

    func validate() throws {
        if let tokens, tokens < 1 { throw ValidationError("--tokens must be at least 1, not \(tokens).") }
        if let limit, limit < 1 { throw ValidationError("--limit must be at least 1.") }
        if !template.contains("{input}") { throw ValidationError("--template must contain {input}.") }
    }

    /// The text, byte for byte.
    func text() throws -> String {
        let bytes: Data
        if promptFile == "-" {
            bytes = FileHandle.standardInput.readDataToEndOfFile()
        } else {
            do { bytes = try Data(contentsOf: URL(fileURLWithPath: promptFile)) } catch {
                throw CommandFailure(
                    .notFound, "the prompt file \(promptFile) cannot be read: \(error.localizedDescription)")
            }
        }
        guard let text = String(data: bytes, encoding: .utf8) else {
            throw CommandFailure(.data, "\(promptFile) is not UTF-8 text")
        }
        guard !text.isEmpty else { throw CommandFailure(.data, "\(promptFile) is empty: there is no prompt in it") }
        return text
    }

    /// Inputs as texts in the template, in an order drawn by the seed; nil where none were given.
    func inputTexts(home: Home, limit: Int) throws -> [String]? {
        guard let inputs else { return nil }
        let path = try DataSource.path(for: inputs, home: home)
        let form = try ExampleTemplate(prompt: template)
        let rows: [String]
        if path.hasSuffix(".txt") {
            let data: Data
            do { data = try Data(contentsOf: URL(fileURLWithPath: path)) } catch {
                throw CommandFailure(.notFound, "\(path) cannot be read: \(error.localizedDescription)")
            }
            guard let text = String(data: data, encoding: .utf8) else {
                throw CommandFailure(.data, "\(path) is not UTF-8 text")
            }
            rows = text.split(whereSeparator: \.isNewline).map(String.init)
        } else {
            rows = try Dataset(path: path)[.train].map(\.input)
        }
        guard !rows.isEmpty else { throw CommandFailure(.data, "\(inputs) holds no inputs in its train split") }
        var order = ExampleOrder(seed: seed, exampleCount: rows.count)
        return (0..<min(rows.count, limit)).map {
            form.prompt(for: Example(input: rows[order.example(at: $0)], target: ""))
        }
    }

    /// Virtual tokens for a text of so many tokens.
    func count(textTokens: Int) throws -> Int {
        let count = tokens ?? max(8, textTokens / 8)
        guard count < textTokens else {
            throw CommandFailure(
                .usage,
                "the text has only \(textTokens) tokens; --tokens must be fewer, or there is nothing to save "
                    + "(to start a soft prompt from this text: incipit tune --init-text)")
        }
        return count
    }

    /// Scores of a text and a soft prompt on the data set, where one was given.
    struct Scores: Encodable {
        let text, soft: TaskReport
        var kept: Double { text.accuracy > 0 ? soft.accuracy / text.accuracy : 1 }
    }

    func scores(text: String, soft: PromptAttachment, loaded: LoadedModel, home: Home) throws -> Scores? {
        guard let data else { return nil }
        let dataset = try Dataset(path: try DataSource.path(for: data, home: home))
        var rows = dataset[split]
        if let limit { rows = Array(rows.prefix(limit)) }
        guard !rows.isEmpty else { throw CommandFailure(.data, "\(data) has no rows in its \(split.rawValue) split") }
        let labels = dataset.labels
        func score(_ attachment: PromptAttachment?, _ prompt: HandWrittenPrompt, _ name: String) throws -> TaskReport {
            let session = try Session(model: loaded.model, attachment: attachment)
            let evaluator = TaskEvaluator(
                session: session, tokenizer: loaded.tokenizer, template: try ExampleTemplate(prompt: template),
                labels: labels)
            let line = ProgressLine()
            defer { line.finish() }
            do {
                return try evaluator.evaluate(
                    rows, prompt: prompt, name: name, scoring: labels.isEmpty ? .generate : .labels,
                    shouldStop: { Interrupt.isRequested },
                    progress: { line.update("scoring the \(name) prompt: \($0)/\(rows.count) rows") })
            } catch is CancellationError {
                throw CommandFailure(.interrupted, "interrupted while scoring")
            }
        }
        return Scores(text: try score(nil, .verbatim(text), "text"), soft: try score(soft, .none, "soft"))
    }
}

import ArgumentParser
import Evaluation
import Foundation
import Generation
import LanguageModels
import PromptTuning

struct EvalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval", abstract: "Score a prompt on a labelled task: hand-written or attached.",
        discussion: """
            Reports accuracy with its 95 % interval, the context tokens a request spends, and the time to its first token.

            --prompt none, zero-shot (the instruction) or few-shot (the instruction and one solved example per label from \
            the train split) stand for what people write by hand; --attach takes a stored soft prompt. Answers are chosen \
            among the task's labels by their probability, or with --scoring generate read from the greedy continuation.

              incipit eval MODEL --data task.jsonl --prompt few-shot
              incipit eval MODEL --data task.jsonl --attach team/task:v1
            """)

    @OptionGroup var options: ModelOptions
    @OptionGroup var attachment: AttachmentOptions

    @Option(help: "Data set: a JSONL file, or a name found in $INCIPIT_DATA.") var data: String
    @Option(help: "train, dev or test.") var split = DatasetSplit.test
    @Option(help: "Hand-written prompt: none, zero-shot or few-shot.") var prompt: String?
    @Option(help: "Instruction of zero-shot and few-shot (default: names the labels).") var instruction: String?
    @Option(help: "Solved examples per label in the few-shot prompt.") var shots = 1
    @Option(help: "labels, or generate for exact match of the greedy answer (default: labels where the task has few).")
    var scoring: Scoring?
    @Option(
        help:
            "How a row becomes text; {input} stands for its input (default: as in the attached prompt's training; else {input}, a new line, Answer:)."
    ) var template: String?
    @Option(help: "Score this many rows only.") var limit: Int?
    @OptionGroup var ensemble: EnsembleOptions
    @Flag(help: "Print JSON.") var json = false

    private struct Report: Encodable {
        let model, base, data, split, prompt, scoring: String
        let rows, correct: Int
        let accuracy, accuracyLow, accuracyHigh, contextTokens, computedTokens, timeToFirstTokenMilliseconds,
            seconds: Double
        let loss: Double?
        let answers: [String]
    }

    func validate() throws {
        if let prompt, !["none", "zero-shot", "few-shot"].contains(prompt) {
            throw ValidationError("--prompt must be none, zero-shot or few-shot, not \(prompt).")
        }
        if prompt != nil && attachment.attach != nil {
            throw ValidationError("--prompt and --attach exclude each other: one prompt is scored at a time.")
        }
        try ensemble.check(attachment)
        if shots < 1 { throw ValidationError("--shots must be at least 1.") }
        if let limit, limit < 1 { throw ValidationError("--limit must be at least 1.") }
    }

    func run() async throws {
        Interrupt.listen()
        let home = Home()
        let labelled = try LabelledRows(data, split: split, limit: limit, home: home)
        let (dataset, rows, labels) = (labelled.dataset, labelled.rows, labelled.labels)
        let scoring = scoring ?? (labels.isEmpty ? .generate : .labels)
        if scoring == .labels && labels.isEmpty {
            throw CommandFailure(.usage, "\(data) has too many different targets to be labels; use --scoring generate")
        }
        let loaded = try options.load()
        let attached = try await attachment.resolve(for: loaded, home: home)
        let session = try Session(model: loaded.model, attachment: attached?.attachment)
        let written = handWritten(dataset, labels: labels)
        let context = try await ensemble.context(attachment, attached, session: session, loaded: loaded)
        let form = template ?? attached?.prompt.trainingTemplate ?? ExampleTemplate.standard.prompt
        let evaluator = TaskEvaluator(
            session: context, tokenizer: loaded.tokenizer, template: try ExampleTemplate(prompt: form), labels: labels)
        let name =
            ensemble.isUsed
            ? "\(ensemble.also.count + 1) prompts by \(ensemble.combine.rawValue)" : attachment.attach ?? written.name
        let line = ProgressLine()
        let result: TaskReport
        do {
            result = try evaluator.evaluate(
                rows, prompt: written, name: name, scoring: scoring,
                shouldStop: { Interrupt.isRequested },
                progress: { done in
                    line.update("\(ProgressLine.bar(Double(done) / Double(rows.count))) \(done)/\(rows.count) rows")
                })
            line.finish()
        } catch is CancellationError {
            line.finish()
            throw CommandFailure(.interrupted, "interrupted; nothing was stored")
        }
        if json {
            return try Output.json(
                Report(
                    model: options.model, base: try loaded.fingerprint(cache: home.cache).base.fingerprint, data: data,
                    split: split.rawValue, prompt: result.prompt, scoring: result.scoring.rawValue, rows: result.rows,
                    correct: result.correct, accuracy: result.accuracy, accuracyLow: result.accuracyLow,
                    accuracyHigh: result.accuracyHigh, contextTokens: result.contextTokens,
                    computedTokens: result.computedTokens,
                    timeToFirstTokenMilliseconds: result.timeToFirstToken * 1000, seconds: result.seconds,
                    loss: result.loss, answers: result.answers))
        }
        Output.line(
            Output.table(
                ["prompt", "accuracy", "95 % interval", "context tokens", "computed", "first token", "rows"],
                [
                    [
                        result.prompt, Output.percent(result.accuracy),
                        "\(Output.percent(result.accuracyLow)) – \(Output.percent(result.accuracyHigh))",
                        String(format: "%.1f", result.contextTokens), String(format: "%.1f", result.computedTokens),
                        Output.milliseconds(result.timeToFirstToken), "\(result.rows)",
                    ]
                ]))
    }

    private func handWritten(_ dataset: Dataset, labels: [String]) -> HandWrittenPrompt {
        let text = instruction ?? HandWrittenPrompt.defaultInstruction(labels: labels)
        switch prompt ?? (attachment.attach == nil ? "zero-shot" : "none") {
        case "zero-shot": return .zeroShot(instruction: text)
        case "few-shot":
            return .fewShot(
                instruction: text,
                examples: HandWrittenPrompt.examples(from: dataset[.train], labels: labels, perLabel: shots))
        default: return .none
        }
    }
}

extension Scoring: ExpressibleByArgument {}
extension DatasetSplit: ExpressibleByArgument {}

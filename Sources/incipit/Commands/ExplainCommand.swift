import ArgumentParser
import ByteIO
import Evaluation
import Foundation
import LanguageModels
import PromptTuning
import SoftPrompts

struct ExplainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Look into a prompt: nearest words, sizes, attention, what each token is worth.",
        discussion: """
            For each virtual token: the vocabulary tokens nearest to it (of the embeddings, or of the first layer's values for \
            a prefix), its size, and with --data the attention it gets from the rows and the loss without it.

            Nearest words are hints only: trained vectors leave the places where words lie.

              incipit explain MODEL team/task --data task.jsonl --html task.html
            """)

    @OptionGroup var options: ModelOptions
    @Argument(help: "NAME, NAME:TAG or NAME@DIGEST.") var prompt: String
    @Option(help: "Rows to look at: JSONL, CSV or TSV, or a name found in $INCIPIT_DATA.") var data: String?
    @Option(help: "train, dev or test.") var split = DatasetSplit.dev
    @Option(help: "Look at this many rows.") var limit = 32
    @Option(help: "Nearest words of each virtual token.") var neighbours = 5
    @Option(help: "Write a page with bars to this file.") var html: String?
    @Flag(help: "Attach even if the prompt was trained on another quantization of this model's source.")
    var allowRelatedBase = false
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
        if limit < 1 { throw ValidationError("--limit must be at least 1.") }
        if !(1...100).contains(neighbours) { throw ValidationError("--neighbours must lie in 1…100.") }
    }

    func run() async throws {
        let home = Home()
        let loaded = try options.load()
        let resolved = try await AttachmentOptions.resolve(
            prompt, allowRelatedBase: allowRelatedBase, for: loaded, home: home)
        let own = resolved.prompt
        var rows: [TrainingBatch.Example] = []
        if let data {
            let dataset = try Dataset(path: try DataSource.path(for: data, home: home))
            let encoder = ExampleEncoder(
                tokenizer: loaded.tokenizer,
                template: try ExampleTemplate(
                    prompt: resolved.prompt.trainingTemplate ?? ExampleTemplate.standard.prompt),
                learnsEnd: false)
            rows = try dataset[split].prefix(limit).map { try encoder.encode($0) }
            if rows.isEmpty { throw CommandFailure(.data, "\(data) has no rows in its \(split.rawValue) split") }
        }
        let shape = loaded.model.shape
        let values =
            own.placement == .keysAndValues
            ? shape.cachePrefix(fromStored: own.values, tokens: own.virtualTokenCount) : own.values
        let explanation = try PromptExplanation(
            values: values, count: own.virtualTokenCount, placement: own.placement, rows: rows, loaded: loaded,
            graph: try loaded.model.differentiable(weightsMemory: .auto), neighbours: neighbours)
        if let html {
            try AtomicFile.write(Array(explanation.page(title: "\(prompt) on \(loaded.name)").utf8), to: html)
            Output.note("wrote \(html)")
        }
        if json { return try Output.json(explanation) }
        func number(_ value: Double?) -> String { value.map { String(format: "%.4f", $0) } ?? "" }
        Output.line(
            Output.table(
                ["#", "size", "attention", "loss without", "nearest words (cosine)"],
                explanation.tokens.map { token in
                    [
                        "\(token.index)", number(token.size), number(token.attention),
                        token.ablation.map { String(format: "%+.4f", $0) } ?? "",
                        token.nearest.map {
                            $0.text.replacingOccurrences(of: "\n", with: "⏎") + String(format: " %.2f", $0.cosine)
                        }.joined(separator: ", "),
                    ]
                }))
        Output.line("size of the vocabulary's own vectors: \(number(explanation.vocabularySize))")
        if let loss = explanation.loss, let bare = explanation.bareLoss {
            Output.line(
                "loss \(number(loss)) with the prompt, \(number(bare)) without; all virtual tokens together get "
                    + "\(Output.percent(explanation.attention ?? 0)) of the attention")
        }
    }
}

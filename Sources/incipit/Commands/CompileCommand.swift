import ArgumentParser
import ByteIO
import Foundation
import Generation
import LanguageModels
import PromptTuning
import SoftPrompts

struct CompileCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compile", abstract: "Make a hand-written prompt into a few virtual tokens, in seconds.",
        discussion: """
            Reads the text once and shortens its keys and values by attention matching: keys are chosen by the attention \
            they get, values fitted by least squares. No gradients and no labels. `incipit distill` starts from the same and \
            then learns: slower, and closer to the text.

            --inputs shows what will be asked, and so what matters in the text.

              incipit compile MODEL --prompt-file fewshot.txt --tokens 32 --inputs task.jsonl --name team/task
            """)

    @OptionGroup var options: ModelOptions
    @OptionGroup var text: TextPromptOptions

    private struct Summary: Encodable {
        let name, version, digest: String
        let textTokens, virtualTokens, tokensSaved: Int
        let seconds: Double
        let scores: TextPromptOptions.Scores?
    }

    func run() async throws {
        Interrupt.listen()
        let home = Home()
        let promptName = try PromptStore.name(text.name)
        let words = try text.text()
        let inputs = try text.inputTexts(home: home, limit: 48)
        let loaded = try options.load()
        let identified = try loaded.fingerprint(cache: home.cache)
        let start = ContinuousClock.now
        let graph = try loaded.model.differentiable(weightsMemory: text.weightsMemory)
        let compiler = PromptCompiler(model: loaded.model, tokenizer: loaded.tokenizer, graph: graph)
        let ids = compiler.tokens(of: words)
        let count = try text.count(textTokens: ids.count)
        let samples = inputs?.map { loaded.tokenizer.encode($0, parseSpecial: false, addSpecial: false) } ?? []
        let values = try compiler.compile(text: ids, to: count, samples: samples)
        let seconds = (ContinuousClock.now - start).seconds
        let shape = loaded.model.shape
        let prompt = try SoftPrompt(
            placement: .keysAndValues, virtualTokenCount: count,
            values: shape.storedPrefix(fromCache: values, tokens: count), shape: shape.promptShape,
            base: identified.base, baseName: loaded.name, baseSource: identified.source, method: "attention-matching",
            training: [
                "initial_text": .string(words), "objective": "attention-matching",
                "text_tokens": JSONValue(ids.count), "template": .string(text.template),
                "tool": .string("incipit \(IncipitCommand.configuration.version)"),
            ])
        let stored = try await PromptStore(home: home).save(prompt, name: promptName)
        let scores = try text.scores(
            text: words, soft: PromptAttachment(virtualTokenCount: count, entry: .cache(values)), loaded: loaded,
            home: home)
        if text.json {
            return try Output.json(
                Summary(
                    name: promptName.description, version: stored.version, digest: stored.digest, textTokens: ids.count,
                    virtualTokens: count, tokensSaved: ids.count - count, seconds: seconds, scores: scores))
        }
        Output.line(
            """
            stored    \(promptName):\(stored.version)  \(stored.digest)
            tokens    \(ids.count) of text → \(count) virtual (\(ids.count - count) saved) in \(String(format: "%.1f s", seconds))
            """)
        if let scores { Output.line(scores.text(text.split)) }
        Output.line("next      incipit run \(options.model) --attach \(promptName):\(stored.version) \"…\"")
    }
}

extension TextPromptOptions.Scores {
    func text(_ split: DatasetSplit) -> String {
        """
        accuracy  \(Output.percent(soft.accuracy)) soft, \(Output.percent(text.accuracy)) as text on \(soft.rows) rows of \
        \(split.rawValue) (\(Output.percent(kept)) kept)
        context   \(String(format: "%.0f", soft.computedTokens)) tokens computed a request instead of \
        \(String(format: "%.0f", text.computedTokens))
        """
    }
}

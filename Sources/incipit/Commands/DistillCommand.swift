import ArgumentParser
import ByteIO
import Foundation
import Generation
import LanguageModels
import OCIArtifacts
import PromptTuning
import SoftPrompts

struct DistillCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "distill", abstract: "Turn a hand-written prompt into a few virtual tokens that do the same.",
        discussion: """
            The teacher is the model itself with the text in front: the virtual tokens learn to make the model expect the \
            same next tokens (Kullback-Leibler divergence over the teacher's likeliest ones). No labels are needed. What the \
            teacher expects is recorded once on disk; an interrupted run goes on where it was.

            --inputs gives examples of what will be asked; without it the model makes up continuations of the text itself. \
            The start is the text's own keys and values, shortened as `incipit compile` does.

              incipit distill MODEL --prompt-file system.txt --tokens 16 --name team/system
              incipit distill MODEL --prompt-file fewshot.txt --tokens 32 --inputs task.jsonl --data task.jsonl --name team/task
            """)

    @OptionGroup var options: ModelOptions
    @OptionGroup var text: TextPromptOptions

    @Option(help: "Optimizer steps.") var steps = 300
    @Option(help: "Sequences a step.") var batch = 16
    @Option(help: "Peak learning rate.") var learningRate = 5e-3
    @Option(help: "Sequences to learn from, at most.") var sequences = 384
    @Option(help: "Tokens the teacher writes behind an input.") var answerTokens = 8
    @Option(help: "Tokens of a continuation the model makes up (without --inputs).") var studyTokens = 48
    @Option(help: "Randomness of made-up continuations.") var temperature = 1.0
    @Option(help: "Likeliest tokens of the teacher kept at each position.") var keep = 32
    @Option(help: "Steps between looks at sequences held out.") var evaluateEvery = 50
    @Option(help: "Looks without improvement before stopping early; 0 never does.") var patience = 4
    @OptionGroup var unfinished: UnfinishedRunOptions

    private struct Summary: Encodable {
        let name, version, digest: String
        let textTokens, virtualTokens, tokensSaved, sequences: Int
        let start, heldOut: DistillationObjective.Fidelity
        let steps: Int
        let seconds: Double
        let scores: TextPromptOptions.Scores?
    }

    func validate() throws {
        for (name, value) in [
            ("--sequences", sequences), ("--answer-tokens", answerTokens), ("--study-tokens", studyTokens),
            ("--keep", keep),
        ] where value < 1 {
            throw ValidationError("\(name) must be at least 1, not \(value).")
        }
        if sequences < 8 { throw ValidationError("--sequences must be at least 8: some are held out.") }
        if !(temperature.isFinite && temperature >= 0) {
            throw ValidationError("--temperature cannot be \(temperature).")
        }
        do { try configuration(tokens: 1).validate() } catch let error as TuningError {
            throw ValidationError("\(error).")
        }
    }

    private func configuration(tokens: Int) -> TuningConfiguration {
        TuningConfiguration(
            method: PrefixTuning.name, tokens: tokens, steps: steps, batchSize: batch, learningRate: learningRate,
            averaging: 0.95, tokenDropout: 0, evaluateEvery: evaluateEvery, patience: patience, learnsEnd: false,
            freezesFirstToken: true, template: text.template, seed: text.seed)
    }

    func run() async throws {
        Interrupt.listen()
        let home = Home()
        let promptName = try PromptStore.name(text.name)
        let words = try text.text()
        let inputs = try text.inputTexts(home: home, limit: sequences)
        let loaded = try options.load()
        let identified = try loaded.fingerprint(cache: home.cache)
        let graph = try loaded.model.differentiable(weightsMemory: text.weightsMemory)
        let compiler = PromptCompiler(model: loaded.model, tokenizer: loaded.tokenizer, graph: graph)
        let ids = compiler.tokens(of: words)
        let count = try text.count(textTokens: ids.count)
        let configuration = configuration(tokens: count)
        let run = try TuningRun(name: promptName.description, home: home, unfinished)

        let textDigest = Digest.sha256(of: Array(words.utf8)).description
        let recording = try record(
            loaded, inputs: inputs, words: words,
            identity: "\(identified.base.fingerprint) \(textDigest) keep \(keep)", home: home)
        // Every eighth sequence is held out: the best prompt is the one that does best on what it has not seen.
        let distiller = try Distiller(
            loaded: loaded, graph: graph, configuration: configuration, recording: recording)
        let initial = try compiler.compile(
            text: ids, to: count, samples: distiller.learned.prefix(64).map(\.tokens))
        Output.note(
            "distilling \(ids.count) tokens of text into \(count) virtual ones on \(loaded.name): "
                + "\(distiller.learned.count) sequences, \(distiller.held.count) held out")
        let result = try distiller.run(
            run, initial: initial,
            identity: [
                "base_fingerprint": identified.base.fingerprint, "text": textDigest,
                "sequences": "\(recording.sequences.count) of \(sequences), \(answerTokens), \(studyTokens)",
            ], resume: unfinished.resume)
        let (before, after, outcome) = (result.before, result.after, result.outcome)

        let shape = loaded.model.shape
        let prompt = try SoftPrompt(
            placement: .keysAndValues, virtualTokenCount: count,
            values: shape.storedPrefix(fromCache: outcome.parameters, tokens: count), shape: shape.promptShape,
            base: identified.base, baseName: loaded.name, baseSource: identified.source, method: PrefixTuning.name,
            training: [
                "agreement": .string(String(format: "%.4f", after.agreement)),
                "configuration": try JSONValue.parse(text: configuration.canonicalText()),
                "divergence": .string(String(format: "%.5f", after.divergence)),
                "initial_text": .string(words), "objective": .string(DistillationObjective.name),
                "steps": JSONValue(outcome.steps), "template": .string(text.template),
                "text_tokens": JSONValue(ids.count),
                "tool": .string("incipit \(IncipitCommand.configuration.version)"),
            ])
        let stored = try await PromptStore(home: home).save(
            prompt, name: promptName,
            metrics: [
                "kl": String(format: "%.4f", after.divergence), "agreement": String(format: "%.4f", after.agreement),
            ])
        run.finish()
        let scores = try text.scores(
            text: words, soft: PromptAttachment(virtualTokenCount: count, entry: .cache(outcome.parameters)),
            loaded: loaded, home: home)
        if text.json {
            return try Output.json(
                Summary(
                    name: promptName.description, version: stored.version, digest: stored.digest, textTokens: ids.count,
                    virtualTokens: count, tokensSaved: ids.count - count, sequences: distiller.learned.count,
                    start: before,
                    heldOut: after, steps: outcome.steps, seconds: outcome.seconds, scores: scores))
        }
        Output.line(
            """
            stored    \(promptName):\(stored.version)  \(stored.digest)
            tokens    \(ids.count) of text → \(count) virtual (\(ids.count - count) saved)
            KL        \(String(format: "%.4f → %.4f", before.divergence, after.divergence)) nats a position, on \
            \(after.positions) held out
            agreement \(Output.percent(before.agreement)) → \(Output.percent(after.agreement)) of likeliest tokens are the \
            text's
            """)
        if let scores { Output.line(scores.text(text.split)) }
        Output.line("next      incipit run \(options.model) --attach \(promptName):\(stored.version) \"…\"")
    }

    /// The teacher's expectations, from disk where they are there.
    private func record(
        _ loaded: LoadedModel, inputs: [String]?, words: String, identity: String, home: Home
    ) throws -> TeacherRecording {
        let jobs =
            inputs?.map {
                TeacherRecorder.Job(
                    input: loaded.tokenizer.encode($0, parseSpecial: false, addSpecial: false),
                    continuation: .init(tokens: answerTokens, endsAtLine: true))
            }
            ?? SelfStudy.jobs(
                count: sequences, tokens: studyTokens, temperature: temperature, tokenizer: loaded.tokenizer)
        let key = Digest.sha256(of: Array("\(identity) \(inputs == nil) \(text.seed)".utf8)).description
        var recorder = TeacherRecorder(
            folder: "\(home.cache)/teachers/\(key.dropFirst("sha256:".count).prefix(24))", identity: identity)
        recorder.seed = text.seed
        return try Distiller.record(jobs, recorder: recorder) {
            try Teacher(
                model: loaded.model, tokenizer: loaded.tokenizer,
                context: .text(loaded.tokenizer.encode(words, parseSpecial: true, addSpecial: false)), keptTokens: keep)
        }
    }
}

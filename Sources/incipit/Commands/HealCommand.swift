import ArgumentParser
import ByteIO
import Foundation
import Generation
import LanguageModels
import OCIArtifacts
import PromptTuning
import SoftPrompts

struct HealCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heal", abstract: "Win back with a prefix what quantization lost.",
        discussion: """
            The teacher is the unquantized model reading plain text; the prefix learns to make the quantized one expect the \
            same next tokens. Reported is the perplexity of both and of the healed model on text held out (the last eighth), \
            and how much of the gap is closed.

              incipit heal SMALL.Q2_K.gguf --reference SMALL.F16.gguf --text corpus.txt --name team/healed
            """)

    @OptionGroup var options: ModelOptions
    @Option(help: "The unquantized model: GGUF file or folder.") var reference: String
    @Option(help: "Plain text to learn from; not the text it will be judged on.") var text: String
    @Option(help: "Name to store the prompt under.") var name: String
    @Option(help: "Virtual tokens.") var tokens = 16
    @Option(help: "Tokens of a stretch of text.") var stretch = 96
    @Option(help: "Stretches at most, those held out included.") var stretches = 320
    @Option(help: "Optimizer steps.") var steps = 200
    @Option(help: "Stretches a step.") var batch = 8
    @Option(help: "Peak learning rate.") var learningRate = 5e-3
    @Option(help: "Likeliest tokens of the reference kept at each position.") var keep = 32
    @Option(help: "Steps between looks at the text held out.") var evaluateEvery = 25
    @Option(help: "Seed.") var seed: UInt64 = 0
    @Option(help: "Weights as floats while training: float, tiles, or auto by the memory there is.")
    var weightsMemory = WeightsMemory.auto
    @OptionGroup var unfinished: UnfinishedRunOptions
    @Flag(help: "Print the summary as JSON.") var json = false

    private struct Summary: Encodable {
        let name, version, digest: String
        let referencePerplexity, quantizedPerplexity, healedPerplexity, gapClosed: Double
        let divergenceBefore, divergenceAfter: Double
        let heldOutTokens, steps: Int
        let seconds: Double
    }

    func validate() throws {
        if stretch < 8 { throw ValidationError("--stretch must be at least 8, not \(stretch).") }
        if stretches < 16 { throw ValidationError("--stretches must be at least 16, not \(stretches).") }
        if keep < 1 { throw ValidationError("--keep must be at least 1.") }
        do { try configuration().validate() } catch let error as TuningError { throw ValidationError("\(error).") }
    }

    private func configuration() -> TuningConfiguration {
        TuningConfiguration(
            method: PrefixTuning.name, tokens: tokens, steps: steps, batchSize: batch, learningRate: learningRate,
            averaging: 0.95, tokenDropout: 0, evaluateEvery: evaluateEvery, patience: 4, learnsEnd: false, seed: seed)
    }

    func run() async throws {
        Interrupt.listen()
        let home = Home()
        let promptName = try PromptStore.name(name)
        guard let data = FileManager.default.contents(atPath: text), let words = String(data: data, encoding: .utf8)
        else {
            throw CommandFailure(.notFound, "\(text) cannot be read as UTF-8 text")
        }
        let loaded = try options.load()
        let identified = try loaded.fingerprint(cache: home.cache)
        let original = try ModelLoader.load(path: reference, pool: loaded.model.pool)
        let root = try original.fingerprint(cache: home.cache)
        guard root.base.tokenizer == identified.base.tokenizer else {
            throw CommandFailure(
                .wrongBase,
                "\(reference) has another tokenizer than \(options.model): it cannot be the model that was quantized")
        }
        let ids = loaded.tokenizer.encode(words, parseSpecial: false, addSpecial: false)
        let jobs = stride(from: 0, to: ids.count, by: stretch).prefix(stretches).map {
            TeacherRecorder.Job(
                input: Array(ids[$0..<min($0 + stretch, ids.count)]), continuation: .init(tokens: 0))
        }.filter { $0.input.count > 2 }
        guard jobs.count >= 16 else {
            throw CommandFailure(
                .data, "\(text) has \(ids.count) tokens; at least \(16 * stretch) are needed (or a smaller --stretch)")
        }
        let identity =
            "heal \(root.base.fingerprint) keep \(keep) "
            + Digest.sha256(of: Array(words.utf8)).description
        let key = Digest.sha256(of: Array(identity.utf8)).description
        var recorder = TeacherRecorder(
            folder: "\(home.cache)/teachers/\(key.dropFirst("sha256:".count).prefix(24))", identity: identity)
        recorder.inputWeight = 1
        // The end of the text is held out as a whole: neighbouring stretches are alike.
        let recording = try Distiller.record(Array(jobs), recorder: recorder) {
            try Teacher(
                model: original.model, tokenizer: original.tokenizer, context: .nothing, keptTokens: keep)
        }
        let cut = recording.sequences.count * 7 / 8
        let judged = Array(recording.sequences[cut...])
        let run = try TuningRun(name: promptName.description, home: home, unfinished)
        let graph = try loaded.model.differentiable(weightsMemory: weightsMemory)
        graph.precision = .int8Forward
        let configuration = configuration()
        let distiller = try Distiller(
            loaded: loaded, graph: graph, configuration: configuration,
            recording: TeacherRecording(Array(recording.sequences[..<cut])))
        // The start is a prefill of the text's own beginning: a plausible place to read on from.
        let cache = loaded.model.makeCache(element: .f32)
        let lead = loaded.tokenizer.addsBeginning ? loaded.tokenizer.special.beginningOfSequence.map { [$0] } ?? [] : []
        _ = try loaded.model.forward(
            .tokens(Array((lead + ids).prefix(tokens))), cache: cache, workspace: InferenceWorkspace(), logitCount: 0)
        let result = try distiller.run(
            run, initial: cache.prefix(tokens: tokens),
            identity: ["base_fingerprint": identified.base.fingerprint, "text": key],
            resume: unfinished.resume)
        let healed = try perplexity(judged, graph, result.values)
        let quantized = try perplexity(judged, graph, nil)
        let originalGraph = try original.model.differentiable(weightsMemory: weightsMemory)
        let best = try perplexity(judged, originalGraph, nil)
        let closed = quantized > best ? (quantized - healed) / (quantized - best) : 0
        let shape = loaded.model.shape
        let prompt = try SoftPrompt(
            placement: .keysAndValues, virtualTokenCount: tokens,
            values: shape.storedPrefix(fromCache: result.values, tokens: tokens), shape: shape.promptShape,
            base: identified.base, baseName: loaded.name, baseSource: identified.source, method: PrefixTuning.name,
            training: [
                "configuration": try JSONValue.parse(text: configuration.canonicalText()),
                "gap_closed": .string(String(format: "%.4f", closed)), "objective": "heal",
                "reference": .string(root.base.fingerprint), "steps": JSONValue(result.outcome.steps),
                "tool": .string("incipit \(IncipitCommand.configuration.version)"),
            ])
        let stored = try await PromptStore(home: home).save(
            prompt, name: promptName,
            metrics: ["gap-closed": String(format: "%.3f", closed), "perplexity": String(format: "%.3f", healed)])
        run.finish()
        let positions = judged.reduce(0) { $0 + $1.distributions.count }
        if json {
            return try Output.json(
                Summary(
                    name: promptName.description, version: stored.version, digest: stored.digest,
                    referencePerplexity: best, quantizedPerplexity: quantized, healedPerplexity: healed,
                    gapClosed: closed, divergenceBefore: result.before.divergence,
                    divergenceAfter: result.after.divergence, heldOutTokens: positions, steps: result.outcome.steps,
                    seconds: result.outcome.seconds))
        }
        Output.line(
            """
            stored      \(promptName):\(stored.version)  \(stored.digest)
            perplexity  \(String(format: "%.3f reference, %.3f quantized, %.3f healed", best, quantized, healed)) on \
            \(positions) tokens held out
            gap         \(Output.percent(closed)) closed
            KL          \(String(format: "%.4f → %.4f", result.before.divergence, result.after.divergence))
            """)
    }

    /// Perplexity of the text itself, behind a prefix or none. Positions near a stretch's start count only from the
    /// seventeenth on: before, a prefix of any kind helps by being there.
    private func perplexity(
        _ sequences: [TeacherRecording.Sequence], _ graph: any DifferentiableModel, _ prefix: [Float]?
    ) throws -> Double {
        graph.precision = .int8Forward
        var total = 0.0
        var count = 0
        for start in stride(from: 0, to: sequences.count, by: 8) {
            let examples = sequences[start..<min(start + 8, sequences.count)].compactMap { sequence in
                sequence.tokens.count > 17 ? TrainingBatch.Example(tokens: sequence.tokens, targetStart: 16) : nil
            }
            if examples.isEmpty { continue }
            let result =
                try prefix?.withUnsafeBufferPointer {
                    try graph.loss(
                        of: TrainingBatch(examples), prompt: .keysAndValues($0.baseAddress!, count: tokens),
                        gradient: nil)
                } ?? graph.loss(of: TrainingBatch(examples), prompt: .none, gradient: nil)
            total += result.loss * Double(result.targetCount)
            count += result.targetCount
        }
        return exp(total / Double(max(count, 1)))
    }
}

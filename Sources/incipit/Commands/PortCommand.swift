import ArgumentParser
import ByteIO
import Foundation
import Generation
import Kernels
import LanguageModels
import OCIArtifacts
import PromptTuning
import SoftPrompts

struct PortCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "port", abstract: "Carry a prompt over to another base model, without labels.",
        discussion: """
            The teacher is the old base with the prompt attached; a prompt of the new base learns to answer as it does \
            (Kullback-Leibler divergence) on --inputs. Both bases must have the same tokenizer. Where the shapes are equal, as \
            between quantizations of one model, the old prompt is the start; else the text it was made from.

              incipit port team/task --from OLD.gguf --to NEW.gguf --inputs task.jsonl
            """)

    @Argument(help: "The prompt: NAME, NAME:TAG or NAME@DIGEST.") var prompt: String
    @Option(help: "The base it was trained on.") var from: String
    @Option(help: "The base it shall serve.") var to: String
    @Option(help: "What will be asked: JSONL, CSV or TSV rows with \"input\" (their train split).") var inputs: String
    @Option(help: "Name to store the result under (default: the prompt's, with -ported).") var name: String?
    @Option(help: "Optimizer steps.") var steps = 300
    @Option(help: "Sequences a step.") var batch = 16
    @Option(help: "Peak learning rate.") var learningRate = 5e-3
    @Option(help: "Inputs to learn from, at most.") var sequences = 384
    @Option(help: "Tokens the teacher writes behind an input.") var answerTokens = 8
    @Option(help: "Likeliest tokens of the teacher kept at each position.") var keep = 32
    @Option(help: "Threads to compute with (default: the cores this process may use).") var threads: Int?
    @Option(help: "Seed.") var seed: UInt64 = 0
    @OptionGroup var unfinished: UnfinishedRunOptions
    @Flag(help: "Print the summary as JSON.") var json = false

    private struct Summary: Encodable {
        let name, version, digest, start: String
        let before, after: DistillationObjective.Fidelity
        let steps: Int
        let seconds: Double
    }

    func validate() throws {
        for (name, value) in [("--answer-tokens", answerTokens), ("--keep", keep), ("--sequences", sequences / 8)]
        where value < 1 { throw ValidationError("\(name) is too small.") }
        do { try configuration(PrefixTuning.self, tokens: 1, template: "{input}").validate() } catch let error
            as TuningError
        {
            throw ValidationError("\(error).")
        }
    }

    private func configuration(_ method: any TuningMethod.Type, tokens: Int, template: String) -> TuningConfiguration {
        TuningConfiguration(
            method: method.name, tokens: tokens, steps: steps, batchSize: batch, learningRate: learningRate,
            averaging: 0.95, tokenDropout: 0, evaluateEvery: max(10, steps / 8), patience: 4, learnsEnd: false,
            template: template, seed: seed)
    }

    func run() async throws {
        Interrupt.listen()
        let home = Home()
        let reference = try PromptStore.localReference(prompt)
        let target = try PromptStore.name(name ?? reference.repository.description + "-ported")
        let old = try ModelLoader.load(
            path: from, pool: ThreadPool(threadCount: threads ?? CPUTopology.usableCoreCount))
        let resolved = try await AttachmentOptions.resolve(prompt, for: old, home: home)
        let parent = resolved.prompt
        let template = resolved.prompt.trainingTemplate ?? ExampleTemplate.standard.prompt
        let new = try ModelLoader.load(path: to, pool: old.model.pool)
        let oldBase = try old.fingerprint(cache: home.cache), newBase = try new.fingerprint(cache: home.cache)
        guard oldBase.base.tokenizer == newBase.base.tokenizer else {
            throw CommandFailure(
                .wrongBase, "\(from) and \(to) have different tokenizers; what one expects cannot be told to the other")
        }
        let rows = try Dataset(path: try DataSource.path(for: inputs, home: home))[.train]
        guard !rows.isEmpty else { throw CommandFailure(.data, "\(inputs) has no rows in its train split") }
        var order = ExampleOrder(seed: seed, exampleCount: rows.count)
        let form = try ExampleTemplate(prompt: template)
        let jobs = (0..<min(rows.count, sequences)).map { index in
            TeacherRecorder.Job(
                input: old.tokenizer.encode(
                    form.prompt(for: rows[order.example(at: index)]), parseSpecial: false, addSpecial: false),
                continuation: .init(tokens: answerTokens, endsAtLine: true))
        }
        let count = parent.virtualTokenCount
        let method: any TuningMethod.Type =
            switch parent.placement {
            case .keysAndValues: PrefixTuning.self
            case .inputEmbeddings: PromptTuningMethod.self
            case .adaptionPrompt: AdaptionPrompt.self
            }
        let context = Teacher.Context(
            parent.placement,
            method.parameters(fromStored: parent.values, tokens: count, shape: old.model.shape), count: count)
        let digest = try await PromptStore(home: home).registry.load(prompt).record.digest.description
        let identity = "port \(digest) keep \(keep)"
        let key = Digest.sha256(of: Array(identity.utf8)).description
        let recording = try Distiller.record(
            jobs,
            recorder: TeacherRecorder(
                folder: "\(home.cache)/teachers/\(key.dropFirst("sha256:".count).prefix(24))", identity: identity)
        ) { try Teacher(model: old.model, tokenizer: old.tokenizer, context: context, keptTokens: keep) }

        let shape = new.model.shape
        let (initial, start) = try start(parent, old: old.model.shape, new: new, method: method)
        let run = try TuningRun(name: target.description, home: home, unfinished)
        let graph = try new.model.differentiable(weightsMemory: .auto)
        let configuration = configuration(method, tokens: count, template: template)
        let result = try Distiller(loaded: new, graph: graph, configuration: configuration, recording: recording).run(
            run, initial: initial,
            identity: ["base_fingerprint": newBase.base.fingerprint, "prompt": digest, "inputs": String(jobs.count)],
            resume: unfinished.resume)
        var training = parent.training
        training["ported_from"] = .string(digest)
        training["ported_from_base"] = .string(oldBase.base.fingerprint)
        training["configuration"] = try JSONValue.parse(text: configuration.canonicalText())
        training["objective"] = "port"
        training["template"] = .string(template)
        training["tool"] = .string("incipit \(IncipitCommand.configuration.version)")
        let child = try SoftPrompt(
            placement: parent.placement, virtualTokenCount: count,
            values: method.storedValues(result.values, tokens: count, shape: shape), shape: shape.promptShape,
            base: newBase.base, baseName: new.name, baseSource: newBase.source, method: parent.method,
            training: training)
        let stored = try await PromptStore(home: home).save(
            child, name: target,
            metrics: [
                "agreement": String(format: "%.4f", result.after.agreement),
                "kl": String(format: "%.4f", result.after.divergence),
            ])
        run.finish()
        if json {
            return try Output.json(
                Summary(
                    name: target.description, version: stored.version, digest: stored.digest, start: start,
                    before: result.before, after: result.after, steps: result.outcome.steps,
                    seconds: result.outcome.seconds))
        }
        Output.line(
            """
            stored    \(target):\(stored.version)  \(stored.digest)
            start     \(start)
            KL        \(String(format: "%.4f → %.4f", result.before.divergence, result.after.divergence)) nats a position from the \
            old base with its prompt
            agreement \(Output.percent(result.before.agreement)) → \(Output.percent(result.after.agreement))
            """)
    }

    /// Virtual tokens to begin with on the new base, and what they are.
    private func start(
        _ parent: SoftPrompt, old: DecoderShape, new: LoadedModel, method: any TuningMethod.Type
    ) throws -> ([Float], String) {
        let shape = new.model.shape
        let fits =
            switch parent.placement {
            case .keysAndValues: PrefixLayout(parent.shape) == PrefixLayout(shape.promptShape)
            case .inputEmbeddings: parent.shape.hiddenSize == shape.hiddenSize
            case .adaptionPrompt: AdaptionLayout(parent.shape) == AdaptionLayout(shape.promptShape)
            }
        if fits {
            let values = method.parameters(
                fromStored: parent.values, tokens: parent.virtualTokenCount, shape: shape)
            return (values, "the prompt's own values, which have the new base's shape")
        }
        var text = "Answer each question."
        if case .string(let own)? = parent.training["initial_text"] { text = own }
        let values = try method.initialParameters(
            .text(text), tokens: parent.virtualTokenCount, model: new.model, tokenizer: new.tokenizer)
        return (values, "the text the prompt began as; its values do not fit the new base's shape")
    }
}

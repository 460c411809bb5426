import ArgumentParser
import ByteIO
import Evaluation
import Foundation
import Generation
import LanguageModels
import OCIArtifacts
import PromptTuning
import SoftPrompts

struct TuneCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tune", abstract: "Train a soft prompt on a frozen model and store it as a new version.",
        discussion: """
            Data is JSONL, CSV or TSV with rows {"input": …, "target": …, "split": "train"|"dev"|"test"}. Training sees train \
            only; the best checkpoint is chosen on dev; test is never touched (see `incipit eval`). JSONL rows may be chats \
            too, {"messages": […]}, whose assistant turns are learned, pairs {"input", "chosen", "rejected"} (DPO), or \
            {"text": …}; a .txt file is learned as plain text. --mix adds further files with weights of their own.

            Start from words: --init-text takes the prompt you would have written by hand, and the soft prompt begins as \
            its keys and values (prefix tuning) or embeddings (prompt tuning).

            Ctrl-C or a crash loses nothing: repeat the command with --resume and it goes on exactly where it was.

            --dry-run tells what a run would take; --log FOLDER writes metrics.jsonl, TensorBoard events and loss.svg; \
            --config FILE.yaml takes any of these settings from a file.

              incipit tune MODEL --data task.jsonl --name team/task --init-text "Say what the text is about."
            """)

    @OptionGroup var options: ModelOptions

    @Option(help: "Data set: JSONL, CSV, TSV or text, or a name found in $INCIPIT_DATA.") var data: String
    @Option(help: "A further file to learn from, FILE=WEIGHT; the main data has weight 1. May be given several times.")
    var mix: [String] = []
    @Option(help: "Makes a row's input of its fields, as in \"{premise} So {hypothesis}?\".") var inputTemplate =
        "{input}"
    @Option(help: "The field that is learned.") var targetField = "target"
    @Option(help: "Name to store the prompt under, such as team/task.") var name: String
    @Option(help: "Tuning method (see `incipit methods`).") var method = PrefixTuning.name
    @Option(help: "Begin with this text: the prompt one would write by hand.") var initText: String?
    @Option(name: .customLong("init"), help: "Begin with: text, vocabulary or zero.") var initKind: String?
    @Option(help: "Begin with a stored prompt of this model: NAME, NAME:TAG or NAME@DIGEST.") var from: String?
    @Option(help: "Virtual tokens (default: as many as the initial text has, at least 16; else 32).") var tokens: Int?
    @Option(help: "Optimizer steps.") var steps = TuningConfiguration().steps
    @Option(help: "Examples a step.") var batch = TuningConfiguration().batchSize
    @Option(help: "Peak learning rate (default: the method's).") var learningRate: Double?
    @Option(help: "Steps of linear warm-up.") var warmup = TuningConfiguration().warmupSteps
    @Option(help: "Learning rate at the end, as a fraction of the peak.") var finalFraction = TuningConfiguration()
        .finalFraction
    @Option(help: "AdamW's decoupled weight decay.") var weightDecay = TuningConfiguration().weightDecay
    @Option(help: "Clip the gradient to this norm; 0 never clips.") var clip = TuningConfiguration().clipNorm
    @Option(
        help:
            "Decay of the running mean of the parameters that is evaluated and kept; 0 keeps the parameters themselves."
    )
    var averaging = TuningConfiguration().averaging
    @Option(help: "Fraction of input tokens left out at random while training; 0 sees every example whole.")
    var tokenDropout = TuningConfiguration().tokenDropout
    @Option(help: "adamw or sgd.") var optimizer = TuningConfiguration().optimizer
    @Option(help: "Steps between evaluations on dev.") var evaluateEvery = TuningConfiguration().evaluateEvery
    @Option(help: "Evaluations without improvement before stopping early; 0 never does.") var patience =
        TuningConfiguration().patience
    @Option(help: "How a row becomes text; {input} stands for its input.") var template = ExampleTemplate.standard
        .prompt
    @Option(help: "Batches whose gradients make one step.") var accumulate = 1
    @Option(help: "Farthest a vector may move from its start, as a fraction of its length; 0 sets no limit.")
    var normBall: Double?
    @Option(help: "Tokens of a stretch of plain text.") var stretch = 128
    @Option(help: "How far preference pairs may move the model (DPO's beta).") var beta = 0.1
    @Option(help: "Folder for metrics.jsonl, TensorBoard events and loss.svg.") var log: String?
    @Option(help: "Seed of example order and random initialisation.") var seed: UInt64 = 0
    @Option(help: "Weights as floats while training: float, tiles, or auto by the memory there is.")
    var weightsMemory = WeightsMemory.auto
    @Option(help: "Forward products while training: int8, the numbers that will serve the prompt, or float (slower).")
    var forward = ForwardPrecision.int8
    @Flag(help: "Do not learn the end-of-text token after the target.") var noEnd = false
    @Flag(help: "Learn a label among the labels only, as it is scored, instead of among all tokens.")
    var restrictLabels = false
    @Flag(help: "Begin even if the start is much worse than the bare model.") var anyStart = false
    @Flag(help: "Print what the run would take, and stop.") var dryRun = false
    @Flag(help: "Train the first virtual token too, instead of keeping it as the attention sink it began as.")
    var trainFirstToken = false
    @Flag(help: "Go on with the unfinished run of this name.") var resume = false
    @Flag(help: "Discard the unfinished run of this name.") var restart = false
    @Flag(help: "Print the summary as JSON.") var json = false

    private struct Summary: Encodable {
        let name, version, digest, base, method, ending: String
        let virtualTokens, parameters, steps: Int
        let bestStep: Int?
        let devAccuracy, devLoss: Double?
        let firstLoss, lastLoss: Double
        let examplesPerSecond, seconds: Double
        let peakMemoryBytes: Int
    }

    func validate() throws {
        if resume && restart { throw ValidationError("--resume and --restart exclude each other.") }
        if initText != nil, let initKind, initKind != "text" {
            throw ValidationError("--init-text goes with --init text, not --init \(initKind).")
        }
        if from != nil, initText != nil || initKind != nil {
            throw ValidationError("--from is a start of its own; leave out --init and --init-text.")
        }
        if stretch < 2 { throw ValidationError("--stretch must be at least 2, not \(stretch).") }
        do { try configuration(tokens: tokens ?? 1).validate() } catch let error as TuningError {
            throw ValidationError("\(error).")
        }
    }

    private func configuration(tokens: Int) throws -> TuningConfiguration {
        let rate = try learningRate ?? MethodCatalog.method(named: method).defaultLearningRate
        let method = try MethodCatalog.method(named: self.method)
        var configuration = TuningConfiguration(
            method: self.method, tokens: tokens, steps: steps, batchSize: batch, learningRate: rate,
            warmupSteps: warmup,
            finalFraction: finalFraction, weightDecay: weightDecay, clipNorm: clip, averaging: averaging,
            tokenDropout: tokenDropout,
            optimizer: optimizer,
            evaluateEvery: evaluateEvery, patience: patience, learnsEnd: !noEnd, freezesFirstToken: !trainFirstToken,
            template: template, seed: seed)
        configuration.accumulation = accumulate
        configuration.normBall = normBall ?? method.defaultNormBall
        // Activations below the trained layers are computed once, of whole examples.
        if method.firstTrainedLayer(shape: Self.anyShape) > 0 { configuration.tokenDropout = 0 }
        return configuration
    }

    /// Deep enough for a method to say whether it trains upper layers only.
    private static let anyShape = DecoderShape(
        architecture: "", layerCount: 4, hiddenSize: 1, headCount: 1, keyValueHeadCount: 1, headDimension: 1,
        vocabularySize: 1, contextLength: 1, interleavedRotary: false)

    func run() async throws {
        Interrupt.listen()
        let home = Home()
        let promptName = try PromptStore.name(name)
        let material = try TuningMaterial(self, home: home)
        let loaded = try options.load()
        let identified = try loaded.fingerprint(cache: home.cache)
        let fingerprint = identified.base
        let shape = loaded.model.shape
        let method = try MethodCatalog.method(named: self.method)
        let parent = try await warmStart(loaded, home: home, method: method)
        let initialization = try chooseInitialization(material)
        let tokenCount =
            parent?.prompt.virtualTokenCount ?? tokens ?? initialization.naturalLength(tokenizer: loaded.tokenizer)
            ?? 32
        let configuration = try configuration(tokens: tokenCount)
        let initial =
            try parent.map {
                method.parameters(
                    fromVirtualTokens: method.parameters(
                        fromStored: $0.prompt.values, tokens: tokenCount, shape: shape),
                    tokens: tokenCount, shape: shape, seed: seed)
            }
            ?? method.initialParameters(
                initialization, tokens: tokenCount, model: loaded.model, tokenizer: loaded.tokenizer, seed: seed)
        var identity = material.identity
        identity["base_fingerprint"] = fingerprint.fingerprint
        identity["initialization"] = parent.map { "prompt \($0.digest)" } ?? initialization.kind
        if case .text(let text) = initialization, parent == nil { identity["initial_text"] = text }
        let graph = try loaded.model.differentiable(weightsMemory: weightsMemory)
        graph.forwardPrecision = forward
        let objectives = try material.objectives(
            loaded, graph: graph, configuration: configuration, method: method,
            initial: method.fold(initial, tokens: tokenCount, shape: shape))
        let run =
            dryRun ? nil : try TuningRun(name: promptName.description, home: home, resume: resume, restart: restart)
        let trainer = try Trainer(
            model: loaded.model, graph: graph, objectives: objectives, configuration: configuration, initial: initial,
            forwardPrecision: forward, identity: identity, checkpointPath: run?.checkpoint, resumes: resume)
        guard let run else {
            return try plan(
                trainer, graph: graph, initial: initial, shape: shape, method: method, items: objectives.itemCount)
        }
        Output.note(
            "\(configuration.method) on \(loaded.name) (\(fingerprint.short)): \(tokenCount) virtual tokens, "
                + "\(initial.count) parameters, \(objectives.itemCount) training rows"
                + (trainer.resumedStep > 0 ? ", resumed at step \(trainer.resumedStep)" : ""))
        if trainer.resumedStep == 0, !anyStart { try checkStart(trainer) }
        let dataset = material.labelled
        let training = try log.map { try TrainingLog(folder: $0, resumedStep: trainer.resumedStep) }
        var logFailure: (any Error)?
        let outcome = try run.train(
            trainer, evaluate: try evaluation(material, loaded, graph, configuration, method),
            describe: { "dev \($0.text)" },
            onProgress: { progress in
                do { try training?.add(progress) } catch { logFailure = logFailure ?? error }
            })
        if let logFailure { throw logFailure }
        try training?.finish(outcome, title: "\(promptName): \(configuration.method) on \(loaded.name)")
        let prompt = try SoftPrompt(
            placement: method.placement, virtualTokenCount: tokenCount,
            values: method.storedValues(outcome.parameters, tokens: tokenCount, shape: shape),
            shape: shape.promptShape, base: fingerprint, baseName: loaded.name, baseSource: identified.source,
            method: method.name,
            training: try trainingRecord(
                outcome, configuration, initialization, dataDigest: identity["data"] ?? "", parent: parent?.digest))
        let store = try PromptStore(home: home)
        var metrics: [String: String] = [:]
        if let best = outcome.best?.score {
            metrics["dev-loss"] = String(format: "%.4f", best.loss)
            if let accuracy = best.accuracy { metrics["dev-accuracy"] = String(format: "%.4f", accuracy) }
        }
        let stored = try await store.save(prompt, name: promptName, metrics: metrics)
        if let dataset {
            var replay = Reservoir(capacity: ContinuationState.replayCapacity)
            replay.add(dataset[.train], seed: seed)
            var canary = Reservoir(capacity: ContinuationState.canaryCapacity)
            canary.add(dataset[.dev], seed: seed)
            try ContinuationState(
                parameters: trainer.keptParameters, optimizer: trainer.optimizerState, configuration: configuration,
                steps: outcome.steps, replay: replay, canary: canary
            ).write(to: home.state(stored.digest))
        }
        // Only now is the run's checkpoint no longer needed: what it led to is durable.
        run.finish()
        try report(
            outcome, stored: stored, promptName: promptName.description, fingerprint: fingerprint,
            configuration: configuration)
    }

    /// What a reader of the stored prompt should know of its making.
    private func trainingRecord(
        _ outcome: Trainer.Outcome, _ configuration: TuningConfiguration, _ initialization: PromptInitialization,
        dataDigest: String, parent: String?
    ) throws -> [String: JSONValue] {
        var record: [String: JSONValue] = [
            "template": .string(configuration.template),
            "configuration": try JSONValue.parse(text: configuration.canonicalText()),
            "data": .string(dataDigest),
            "initialization": .string(initialization.kind),
            "steps": .integer(Int64(outcome.steps)),
            "forward_precision": .string(forward.rawValue),
            "tool": .string("incipit \(IncipitCommand.configuration.version)"),
        ]
        if let parent {
            record["initialization"] = .string("prompt")
            record["initial_prompt"] = .string(parent)
        } else if case .text(let text) = initialization {
            record["initial_text"] = .string(text)
        }
        if let best = outcome.best { record["best_step"] = .integer(Int64(best.step)) }
        return record
    }

    private func report(
        _ outcome: Trainer.Outcome, stored: PromptStore.Stored, promptName: String, fingerprint: BaseFingerprint,
        configuration: TuningConfiguration
    ) throws {
        let summary = Summary(
            name: promptName, version: stored.version, digest: stored.digest, base: fingerprint.fingerprint,
            method: configuration.method, ending: outcome.ending.rawValue, virtualTokens: configuration.tokens,
            parameters: outcome.parameters.count, steps: outcome.steps, bestStep: outcome.best?.step,
            devAccuracy: outcome.best?.score.accuracy, devLoss: outcome.best?.score.loss,
            firstLoss: Double(outcome.losses.first ?? .nan), lastLoss: Double(outcome.losses.last ?? .nan),
            examplesPerSecond: outcome.examplesPerSecond, seconds: outcome.seconds,
            peakMemoryBytes: SystemMemory.peakResident)
        if json { return try Output.json(summary) }
        let best = outcome.best.map { "step \($0.step), dev \($0.score.text)" } ?? "the last step (no dev rows)"
        Output.line(
            """
            stored    \(promptName):\(stored.version)  \(stored.digest)
            best      \(best)
            loss      \(String(format: "%.3f → %.3f", summary.firstLoss, summary.lastLoss)) over \(outcome.steps) steps (\(outcome.ending.words))
            curve     \(LossCurve.line(losses: outcome.losses))
            speed     \(String(format: "%.1f", outcome.examplesPerSecond)) examples/s, \(Output.duration(outcome.seconds)) in all, \
            \(Output.bytes(summary.peakMemoryBytes)) of memory at most
            next      incipit run \(options.model) --attach \(promptName):\(stored.version) "…"
            """)
    }
}

extension WeightsMemory: ExpressibleByArgument {}
extension ForwardPrecision: ExpressibleByArgument {}

extension DevScore {
    /// For people: accuracy where there is one, and the loss.
    var text: String {
        let loss = String(format: "loss %.3f", loss)
        return accuracy.map { "accuracy \(Output.percent($0)), " + loss } ?? loss
    }
}

extension Trainer.Outcome.Ending {
    fileprivate var words: String {
        switch self {
        case .finished: "all done"
        case .stoppedEarly: "stopped early: dev no longer improved"
        case .interrupted: "interrupted"
        }
    }
}

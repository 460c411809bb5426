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
            The data set is JSONL with rows {"input": …, "target": …, "split": "train"|"dev"|"test"}. Training sees train \
            only; the best checkpoint is chosen on dev; test is never touched (see `incipit eval`).

            Start from words: --init-text takes the prompt you would have written by hand, and the soft prompt begins as \
            its keys and values (prefix tuning) or embeddings (prompt tuning).

            Ctrl-C or a crash loses nothing: repeat the command with --resume and it goes on exactly where it was.

              incipit tune MODEL --data task.jsonl --name team/task --init-text "Say what the text is about."
            """)

    @OptionGroup var options: ModelOptions

    @Option(help: "Data set: a JSONL file, or a name found in $INCIPIT_DATA.") var data: String
    @Option(help: "Name to store the prompt under, such as team/task.") var name: String
    @Option(help: "Tuning method (see `incipit methods`).") var method = PrefixTuning.name
    @Option(help: "Begin with this text: the prompt one would write by hand.") var initText: String?
    @Option(name: .customLong("init"), help: "Begin with: text, vocabulary or zero.") var initKind: String?
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
    @Option(help: "Seed of example order and random initialisation.") var seed: UInt64 = 0
    @Option(help: "Weights as floats while training: float, tiles, or auto by the memory there is.")
    var weightsMemory = WeightsMemory.auto
    @Option(help: "Forward products while training: int8, the numbers that will serve the prompt, or float (slower).")
    var forward = ForwardPrecision.int8
    @Flag(help: "Do not learn the end-of-text token after the target.") var noEnd = false
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
        do { try configuration(tokens: tokens ?? 1).validate() } catch let error as TuningError {
            throw ValidationError("\(error).")
        }
    }

    private func configuration(tokens: Int) throws -> TuningConfiguration {
        let rate = try learningRate ?? MethodCatalog.method(named: method).defaultLearningRate
        return TuningConfiguration(
            method: method, tokens: tokens, steps: steps, batchSize: batch, learningRate: rate, warmupSteps: warmup,
            finalFraction: finalFraction, weightDecay: weightDecay, clipNorm: clip, averaging: averaging,
            tokenDropout: tokenDropout,
            optimizer: optimizer,
            evaluateEvery: evaluateEvery, patience: patience, learnsEnd: !noEnd, freezesFirstToken: !trainFirstToken,
            template: template, seed: seed)
    }

    func run() async throws {
        Interrupt.listen()
        let home = Home()
        let promptName = try PromptStore.name(name)
        let dataPath = try DataSource.path(for: data, home: home)
        let dataset = try Dataset(path: dataPath)
        if dataset[.train].isEmpty { throw CommandFailure(.data, "\(data) has no rows in its train split") }
        let loaded = try options.load()
        let identified = try loaded.fingerprint(cache: home.cache)
        let fingerprint = identified.base
        let initialization = try chooseInitialization(dataset)
        let tokenCount = tokens ?? initialization.naturalLength(tokenizer: loaded.tokenizer) ?? 32
        let configuration = try configuration(tokens: tokenCount)
        let method = try MethodCatalog.method(named: configuration.method)
        let checkpoint = try prepareRun(home.run(promptName.description))
        let initial = try method.initialParameters(
            initialization, tokens: tokenCount, model: loaded.model, tokenizer: loaded.tokenizer)
        var identity = [
            "base_fingerprint": fingerprint.fingerprint, "data": try Self.digest(ofFile: dataPath),
            "initialization": initialization.kind,
        ]
        if case .text(let text) = initialization { identity["initial_text"] = text }
        let trainer = try Trainer(
            model: loaded.model, tokenizer: loaded.tokenizer, examples: dataset[.train], configuration: configuration,
            initial: initial, weightsMemory: weightsMemory, forwardPrecision: forward, identity: identity,
            checkpointPath: checkpoint,
            resumes: resume)
        Output.note(
            "\(configuration.method) on \(loaded.name) (\(fingerprint.short)): \(tokenCount) virtual tokens, "
                + "\(initial.count) parameters, \(dataset[.train].count) training rows"
                + (trainer.resumedStep > 0 ? ", resumed at step \(trainer.resumedStep)" : ""))
        let outcome = try train(trainer, dataset: dataset, loaded: loaded, configuration: configuration, method: method)
        if outcome.ending == .interrupted {
            throw CommandFailure(
                .interrupted,
                "stopped at step \(outcome.steps) of \(configuration.steps); nothing is lost: repeat the command "
                    + "with --resume to go on")
        }
        let shape = loaded.model.shape
        let prompt = try SoftPrompt(
            placement: method.placement, virtualTokenCount: tokenCount,
            values: method.storedValues(outcome.parameters, tokens: tokenCount, shape: shape),
            shape: shape.promptShape, base: fingerprint, baseName: loaded.name, baseSource: identified.source,
            method: method.name,
            training: try trainingRecord(outcome, configuration, initialization, dataDigest: identity["data"] ?? ""))
        let store = try PromptStore(home: home)
        var metrics: [String: String] = [:]
        if let best = outcome.best?.score {
            metrics["dev-loss"] = String(format: "%.4f", best.loss)
            if let accuracy = best.accuracy { metrics["dev-accuracy"] = String(format: "%.4f", accuracy) }
        }
        let stored = try await store.save(prompt, name: promptName, metrics: metrics)
        // Only now is the run's checkpoint no longer needed: what it led to is durable.
        try? FileManager.default.removeItem(atPath: home.run(promptName.description))
        try report(
            outcome, stored: stored, promptName: promptName.description, fingerprint: fingerprint,
            configuration: configuration)
    }

    /// Text if any was given, what --init says otherwise, and by default the instruction the labels suggest.
    private func chooseInitialization(_ dataset: Dataset) throws -> PromptInitialization {
        switch initKind ?? "text" {
        case "text": return .text(initText ?? HandWrittenPrompt.defaultInstruction(labels: dataset.labels))
        case "vocabulary": return .vocabulary(seed: seed)
        case "zero": return .zero
        default:
            throw CommandFailure(.usage, "--init must be text, vocabulary or zero, not “\(initKind ?? "")”")
        }
    }

    /// The checkpoint's path, once it is clear whether an unfinished run goes on or is discarded.
    private func prepareRun(_ folder: String) throws -> String {
        let checkpoint = folder + "/checkpoint.safetensors"
        if FileManager.default.fileExists(atPath: checkpoint) {
            if restart {
                try FileManager.default.removeItem(atPath: folder)
            } else if !resume {
                throw CommandFailure(
                    .usage,
                    "there is an unfinished run named \(name); add --resume to go on with it or --restart to discard it"
                )
            }
        } else if resume {
            throw CommandFailure(.notFound, "there is no unfinished run named \(name) to resume")
        }
        try Home.makeFolder(folder)
        return checkpoint
    }

    private func train(
        _ trainer: Trainer, dataset: Dataset, loaded: LoadedModel, configuration: TuningConfiguration,
        method: any TuningMethod.Type
    ) throws -> Trainer.Outcome {
        let dev = dataset[.dev]
        let scoring = DevScoring(
            model: loaded.model, tokenizer: loaded.tokenizer, examples: dev, labels: dataset.labels,
            template: try ExampleTemplate(prompt: configuration.template))
        let line = ProgressLine()
        defer { line.finish() }
        return try trainer.run(
            evaluate: dev.isEmpty
                ? nil
                : { parameters in
                    let entry: PromptAttachment.Entry =
                        method.placement == .keysAndValues ? .cache(parameters) : .input(parameters)
                    return try scoring.score(
                        PromptAttachment(virtualTokenCount: configuration.tokens, entry: entry))
                },
            shouldStop: { Interrupt.isRequested },
            progress: { progress in
                let fraction = Double(progress.step) / Double(progress.steps)
                if let evaluation = progress.evaluation {
                    line.finish()
                    Output.note(
                        "  step \(evaluation.step): dev \(evaluation.score.text)"
                            + (progress.best == evaluation ? "  best" : ""))
                    return
                }
                line.update(
                    "\(ProgressLine.bar(fraction)) step \(progress.step)/\(progress.steps)  loss "
                        + String(format: "%.3f", progress.smoothedLoss)
                        + String(format: "  %.1f examples/s", progress.examplesPerSecond)
                        + "  \(Output.duration(progress.secondsLeft)) left",
                    force: progress.step == progress.steps)
            })
    }

    /// What a reader of the stored prompt should know of its making.
    private func trainingRecord(
        _ outcome: Trainer.Outcome, _ configuration: TuningConfiguration, _ initialization: PromptInitialization,
        dataDigest: String
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
        if case .text(let text) = initialization { record["initial_text"] = .string(text) }
        if let best = outcome.best { record["best_step"] = .integer(Int64(best.step)) }
        return record
    }

    /// SHA-256 of a file, as registries write it.
    private static func digest(ofFile path: String) throws -> String {
        let file = try MappedFile(path: path)
        var hasher = DigestHasher(algorithm: .sha256)
        hasher.update(file.unsafeBytes)
        return hasher.finalize().description
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

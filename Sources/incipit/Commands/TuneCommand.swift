import ArgumentParser
import DataParallel
import Foundation
import LanguageModels
import PromptTuning

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

            multitask-prompt-tuning takes --data and every --mix file as a task of its own and stores a prompt for each, \
            NAME/FILE; --export-tasks keeps what they share, from which --from-tasks begins a new task.

            In a build with MPI (swift build --traits MPI), mpirun -n 4 incipit tune … trains in four processes: the same \
            bytes as one with --accumulate 4, four batches a step.

            Where new rows do worse than dev, train longer on less of each row: --steps 800 --token-dropout 0.3 \
            --patience 0. Where answers are made of the input's letters, let it be read twice: \
            --template $'{input} {input}\\nAnswer:'.

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
    @Option(name: .customLong("init"), help: "Begin with: text, vocabulary, zero or nearest.") var initKind: String?
    @Option(help: "Begin with a stored prompt of this model: NAME, NAME:TAG or NAME@DIGEST.") var from: String?
    @Flag(help: "Begin with the stored prompt of this model that does best on some training rows (--init nearest).")
    var nearest = false
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
    @Option(
        help: """
            Products with the weights while training: int8 (forward as the prompt will be served, gradients rounded too), \
            int8-forward (exact gradients, slower, four times the weights' memory) or float (slowest).
            """)
    var precision = TrainingPrecision.int8
    @Flag(help: "Do not learn the end-of-text token after the target.") var noEnd = false
    @Flag(help: "Learn a label among the labels only, as it is scored, instead of among all tokens.")
    var restrictLabels = false
    @Flag(
        name: [.customLong("allow-bad-start"), .customLong("any-start")],
        help: "Begin even if the start's loss exceeds the bare model's by more than 0.5 nat.") var allowBadStart = false
    @Flag(help: "Print what the run would take, and stop.") var dryRun = false
    @Flag(help: "Train the first virtual token too, instead of keeping it as the attention sink it began as.")
    var trainFirstToken = false
    @OptionGroup var unfinished: UnfinishedRunOptions
    @Flag(help: "Print the summary as JSON.") var json = false
    @OptionGroup(title: "Multitask options") var multitask: MultitaskOptions

    func validate() throws {
        if initText != nil, let initKind, initKind != "text" {
            throw ValidationError("--init-text goes with --init text, not --init \(initKind).")
        }
        if initText != nil || initKind.map({ $0 != "nearest" }) ?? false, from != nil || nearest {
            throw ValidationError(
                "\(from == nil ? "--nearest" : "--from") is a start of its own; leave out --init and --init-text.")
        }
        if from != nil, isNearest { throw ValidationError("--from and the nearest prompt exclude each other.") }
        if multitask.isUsed, method != MultitaskPromptTuning.name {
            throw ValidationError(
                "--task-rank, --export-tasks and --from-tasks go with --method \(MultitaskPromptTuning.name).")
        }
        if multitask.fromTasks != nil, from != nil || isNearest || initText != nil || initKind != nil {
            throw ValidationError("--from-tasks is a start of its own; leave out --from, --nearest and --init.")
        }
        if stretch < 2 { throw ValidationError("--stretch must be at least 2, not \(stretch).") }
        do { try configuration(tokens: tokens ?? 1).validate() } catch let error as TuningError {
            throw ValidationError("\(error).")
        }
    }

    func configuration(tokens: Int, rank: Int? = nil) throws -> TuningConfiguration {
        let rate = try learningRate ?? MethodCatalog.method(named: method).defaultLearningRate
        let method = try MethodCatalog.method(named: self.method)
        var configuration = TuningConfiguration(
            method: self.method, tokens: tokens, steps: steps, batchSize: batch, learningRate: rate,
            warmupSteps: warmup,
            finalFraction: finalFraction, weightDecay: weightDecay, clipNorm: clip, averaging: averaging,
            tokenDropout: tokenDropout,
            optimizer: optimizer,
            evaluateEvery: evaluateEvery, patience: patience, learnsEnd: !noEnd,
            freezesFirstToken: !trainFirstToken && method.placement != .adaptionPrompt,
            template: template, seed: seed)
        configuration.accumulation = accumulate
        configuration.normBall = normBall ?? method.defaultNormBall
        if method.taskFactors(tokens: 1, tasks: 1, rank: 1, shape: Self.anyShape) != nil {
            configuration.tasks = 1 + mix.count
            configuration.taskRank = rank ?? multitask.taskRank ?? 1
        }
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
        let exchange = try ProcessGroup.join()
        let isFirst = exchange?.isFirst ?? true
        let home = Home()
        let promptName = try PromptStore.name(name)
        let material = try TuningMaterial(self, home: home)
        let loaded = try options.load()
        let identified = try loaded.fingerprint(cache: home.cache)
        let shape = loaded.model.shape
        let method = try MethodCatalog.method(named: self.method)
        let graph = try loaded.model.differentiable(weightsMemory: weightsMemory)
        graph.precision = precision
        let start = try await chooseStart(material, loaded, graph, home: home, method: method, isFirst: isFirst)
        var configuration = try configuration(tokens: start.tokens, rank: start.source?.rank)
        // Four processes take a batch each: the same run as one that takes four a step.
        configuration.accumulation *= exchange?.size ?? 1
        let initial = try start.parameters(method, configuration, shape: shape)
        var identity = material.identity
        identity["base_fingerprint"] = identified.base.fingerprint
        identity.merge(start.identity) { _, new in new }
        let objectives = try material.objectives(
            loaded, graph: graph, configuration: configuration, method: method, initial: start.values)
        let run =
            dryRun || !isFirst
            ? nil : try TuningRun(name: promptName.description, home: home, unfinished)
        if run != nil { try remember(start, home: home) }
        let trainer = try Trainer(
            model: loaded.model, graph: graph, objectives: objectives, configuration: configuration, initial: initial,
            precision: precision, identity: identity, checkpointPath: run?.checkpoint, resumes: unfinished.resume,
            exchange: exchange)
        if dryRun {
            if isFirst { try plan(trainer, graph, initial, shape, method, items: objectives.itemCount) }
            return ProcessGroup.leave()
        }
        let files = trainer.tasks == nil ? [material.main] : material.weightedFiles.map(\.file)
        let scorers = try files.map { try scoring($0, material, loaded, graph, configuration, method) }
        guard let run else {
            _ = try trainer.run(evaluate: evaluation(of: scorers), shouldStop: { Interrupt.isRequested })
            return ProcessGroup.leave()
        }
        Output.note(
            "\(configuration.method) on \(loaded.name) (\(identified.base.short)): \(start.tokens) virtual tokens, "
                + "\(initial.count) parameters, \(objectives.itemCount) training rows"
                + (configuration.tasks > 1 ? " of \(configuration.tasks) tasks" : "")
                + (exchange.map { ", \($0.size) processes" } ?? "")
                + (trainer.resumedStep > 0 ? ", resumed at step \(trainer.resumedStep)" : ""))
        if trainer.resumedStep == 0, !allowBadStart {
            try checkStart(start, trainer, material, loaded, method: method)
        }
        let training = try log.map { try TrainingLog(folder: $0, resumedStep: trainer.resumedStep) }
        var logFailure: (any Error)?
        let outcome = try run.train(
            trainer, evaluate: evaluation(of: scorers), describe: { "dev \($0.text)" },
            onProgress: { progress in
                do { try training?.add(progress) } catch { logFailure = logFailure ?? error }
            })
        if let logFailure { throw logFailure }
        try training?.finish(outcome, title: "\(promptName): \(configuration.method) on \(loaded.name)")
        let result = TuningResult(
            command: self, home: home, loaded: loaded, identified: identified, method: method, start: start,
            configuration: configuration, outcome: outcome, dataDigest: identity["data"] ?? "")
        let stored = try await result.store(trainer, name: promptName, files: files, scorers: scorers)
        // Only now is the run's checkpoint no longer needed: what it led to is durable.
        run.finish()
        try result.report(stored)
        ProcessGroup.leave()
    }
}

extension WeightsMemory: ExpressibleByArgument {}
extension TrainingPrecision: ExpressibleByArgument {}

extension DevScore {
    /// For people: accuracy where there is one, and the loss.
    var text: String {
        let loss = String(format: "loss %.3f", loss)
        return accuracy.map { "accuracy \(Output.percent($0)), " + loss } ?? loss
    }
}

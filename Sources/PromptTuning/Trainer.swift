import Foundation
import LanguageModels
import Safetensors
import SoftPrompts
import Tokenization

/// Learns a soft prompt on a frozen model: batches, gradient, optimizer, evaluations on dev, checkpoints.
///
/// The same base, data, configuration and start give the same bytes, whatever the thread count and however often the run
/// was interrupted and resumed.
public final class Trainer {
    /// A look at a run in progress.
    public struct Progress: Sendable {
        public let step: Int
        public let steps: Int
        /// Loss of the newest step, nats per target token.
        public let loss: Double
        /// Exponential mean of the loss over about twenty steps.
        public let smoothedLoss: Double
        public let learningRate: Double
        public let examplesPerSecond: Double
        public let secondsLeft: Double
        /// Set right after an evaluation.
        public let evaluation: DevEvaluation?
        public let best: DevEvaluation?
    }

    /// How a run ended.
    public struct Outcome: Sendable {
        public enum Ending: String, Sendable, Codable {
            case finished, stoppedEarly, interrupted
        }
        public let ending: Ending
        /// The best virtual tokens by dev score (the last ones where no evaluation was made), averaged over steps as
        /// configured, in the layout of the method's placement; of several tasks, one after the other.
        public let parameters: [Float]
        public let steps: Int
        public let losses: [Float]
        public let evaluations: [DevEvaluation]
        public let best: DevEvaluation?
        public let examplesPerSecond: Double
        public let seconds: Double
    }

    public let configuration: TuningConfiguration
    public let method: any TuningMethod.Type
    /// How the tasks share parameters, where the method has tasks.
    public let tasks: TaskFactors?
    let model: any LanguageModel
    let graph: any DifferentiableModel
    var objectives: ObjectiveMixture
    private let schedule: LearningRateSchedule
    private let checkpointPath: String?
    /// The other processes of this run, if there are any.
    let exchange: (any GradientExchange)?
    private let identity: [String: String]
    var scratch: [Float] = []
    private var optimizer: any Optimizer
    private var state: TrainingState

    /// What the virtual tokens were before the first step, as the optimizer sees them.
    let initial: [Float]
    /// Indices of parameters that never change.
    private let frozen: [Int]

    /// Prepares a run on labelled rows.
    ///
    /// - Parameters:
    ///   - rows: the training rows; their order does not matter beyond the seed.
    ///   - initial: the parameters to begin with, from the method's `initialParameters` or a stored prompt.
    ///   - identity: further facts that make a run this run (base fingerprint, digest of the data, initial text);
    ///     a checkpoint with others is not resumed.
    ///   - checkpointPath: where to keep the checkpoint; nil keeps none.
    ///   - resumes: continue from the checkpoint if there is one.
    /// - Throws: `TuningError` for settings, data or a checkpoint that cannot be used.
    public convenience init(
        model: any LanguageModel, tokenizer: any Tokenizer, examples rows: [Example],
        configuration: TuningConfiguration,
        initial: [Float], weightsMemory: WeightsMemory = .auto, precision: TrainingPrecision = .float,
        identity: [String: String] = [:],
        checkpointPath: String? = nil, resumes: Bool = false
    ) throws {
        try configuration.validate()
        guard !rows.isEmpty else {
            throw TuningError(code: .invalidData, message: "the data set has no rows in its train split")
        }
        let encoder = ExampleEncoder(
            tokenizer: tokenizer, template: try ExampleTemplate(prompt: configuration.template),
            learnsEnd: configuration.learnsEnd)
        let graph = try model.differentiable(weightsMemory: weightsMemory)
        let method = try MethodCatalog.method(named: configuration.method)
        let layer = method.firstTrainedLayer(shape: model.shape)
        let supervised = try SupervisedObjective(
            rows: rows, encoder: encoder, tokenDropout: layer > 0 ? 0 : configuration.tokenDropout,
            seed: configuration.seed)
        var objective: any Objective = supervised
        if layer > 0 {
            graph.precision = precision
            objective = try CachedActivations.over(
                supervised, graph: graph, prefix: initial, tokens: configuration.tokens, layer: layer)
        }
        try self.init(
            model: model, graph: graph, objectives: ObjectiveMixture([.init(objective)], seed: configuration.seed),
            configuration: configuration,
            initial: initial, precision: precision, identity: identity, checkpointPath: checkpointPath,
            resumes: resumes)
    }

    /// Prepares a run on any objectives.
    ///
    /// - Parameters:
    ///   - graph: the model's differentiable form; a caller who needs it too keeps one copy of its weights.
    ///   - objectives: what is learned from.
    ///   - optimizerState: moments to go on with (`continue`); a checkpoint that is resumed has its own.
    ///   - exchange: other processes that run the same; a step's `accumulation` batches are shared out among all of
    ///     them, and the result is, bit for bit, that of one process. Checkpoints are process 0's.
    public init(
        model: any LanguageModel, graph: any DifferentiableModel, objectives: ObjectiveMixture,
        configuration: TuningConfiguration, initial: [Float], optimizerState: OptimizerState? = nil,
        precision: TrainingPrecision = .float, identity: [String: String] = [:], checkpointPath: String? = nil,
        resumes: Bool = false, exchange: (any GradientExchange)? = nil
    ) throws {
        try configuration.validate()
        self.configuration = configuration
        self.model = model
        self.graph = graph
        self.objectives = objectives
        self.exchange = exchange
        method = try MethodCatalog.method(named: configuration.method)
        tasks = method.taskFactors(
            tokens: configuration.tokens, tasks: configuration.tasks, rank: configuration.taskRank, shape: model.shape)
        guard configuration.tasks == (tasks == nil ? 1 : objectives.parts.count) else {
            throw TuningError(
                code: .invalidSetting,
                message:
                    "\(method.name) cannot learn \(configuration.tasks) tasks from \(objectives.parts.count) data sets")
        }
        let expected =
            tasks?.parameterCount ?? method.parameterCount(tokens: configuration.tokens, shape: model.shape)
        guard initial.count == expected else {
            throw TuningError(
                code: .invalidSetting,
                message: "\(initial.count) initial parameters do not make \(configuration.tokens) virtual "
                    + "tokens of \(expected / configuration.tokens)")
        }
        let positions = method.placement == .adaptionPrompt ? 0 : configuration.tokens
        let room = model.shape.contextLength - positions
        guard objectives.longestSequence <= room else {
            throw TuningError(
                code: .invalidData,
                message: "the longest example has \(objectives.longestSequence) tokens; behind \(positions) "
                    + "virtual ones the model has room for \(max(0, room))")
        }
        frozen = Self.frozenIndices(configuration, method: method, count: expected, shape: model.shape)
        schedule = try LearningRateSchedule(
            peak: configuration.learningRate, warmUpSteps: min(configuration.warmupSteps, configuration.steps),
            totalSteps: configuration.steps, floorFraction: configuration.finalFraction)
        graph.precision = precision
        self.checkpointPath = checkpointPath
        var identity = identity
        identity["configuration"] = try configuration.canonicalText()
        identity["precision"] = precision.rawValue
        self.identity = identity
        try exchange?.check(identity)
        // Another kind of processor may have rounded the start otherwise.
        let begin = try exchange?.broadcast(initial) ?? initial
        self.initial = begin
        if let exchange {
            let file =
                resumes && exchange.isFirst
                ? checkpointPath.flatMap { FileManager.default.contents(atPath: $0) } ?? Data() : Data()
            let bytes = try exchange.broadcast(Array(file))
            state =
                bytes.isEmpty
                ? TrainingState(parameters: begin)
                : try TrainingState.read(
                    SafetensorsFile(bytes: bytes, name: checkpointPath ?? "the checkpoint"), identity: identity,
                    parameterCount: initial.count)
        } else if resumes, let checkpointPath, FileManager.default.fileExists(atPath: checkpointPath) {
            state = try TrainingState.read(from: checkpointPath, identity: identity, parameterCount: initial.count)
        } else {
            state = TrainingState(parameters: initial)
        }
        optimizer = try OptimizerCatalog.make(
            configuration.optimizer, parameterCount: initial.count, weightDecay: configuration.weightDecay)
        if state.step > 0 {
            try optimizer.restore(state.optimizer)
        } else if let optimizerState {
            try optimizer.restore(optimizerState)
        }
    }

    /// The parameters whose gradient the configuration sets to zero.
    private static func frozenIndices(
        _ configuration: TuningConfiguration, method: any TuningMethod.Type, count: Int, shape: DecoderShape
    ) -> [Int] {
        let tokens = configuration.frozenTokenCount
        guard tokens > 0 || method.firstTrainedLayer(shape: shape) > 0, !method.isReparameterised else { return [] }
        var mask = [Float](repeating: 1, count: count)
        mask.withUnsafeMutableBufferPointer {
            guard let base = $0.baseAddress else { return }
            method.freeze(firstTokens: tokens, in: base, tokens: configuration.tokens, shape: shape)
        }
        return mask.indices.filter { mask[$0] == 0 }
    }

    /// Steps taken before this session of the run.
    public var resumedStep: Int { state.step }

    /// Bytes of float weights the trainer holds.
    public var weightBytes: Int { graph.residentByteCount }

    /// Trains until the steps are done, patience runs out or `shouldStop` says so.
    ///
    /// - Parameters:
    ///   - evaluate: scores parameters on dev; nil keeps the last parameters instead of the best.
    ///   - shouldStop: asked between steps; the checkpoint is written before returning.
    ///   - progress: called after every step and evaluation.
    /// - Throws: `TuningError.diverged` when the loss is no longer finite; errors of `evaluate` and of writing.
    public func run(
        evaluate: (([Float]) throws -> DevScore)? = nil, shouldStop: () -> Bool = { false },
        progress: (Progress) -> Void = { _ in }
    ) throws -> Outcome {
        let clock = ContinuousClock()
        let started = clock.now
        let earlierSeconds = state.seconds
        var lastCheckpoint = clock.now
        var trainingTime = Duration.zero
        var examplesSeen = 0
        var smoothed = Double(state.losses.last ?? .nan)
        var gradient = [Float](repeating: 0, count: state.parameters.count)
        var ending = Outcome.Ending.finished

        func report(_ evaluation: DevEvaluation?) {
            let rate = trainingTime > .zero ? Double(examplesSeen) / trainingTime.seconds : 0
            let elapsed = (clock.now - started).seconds
            let done = state.step - (resumedAt)
            let perStep = done > 0 ? elapsed / Double(done) : 0
            progress(
                Progress(
                    step: state.step, steps: configuration.steps, loss: Double(state.losses.last ?? .nan),
                    smoothedLoss: smoothed, learningRate: schedule.rate(at: max(0, state.step - 1)),
                    examplesPerSecond: rate, secondsLeft: perStep * Double(configuration.steps - state.step),
                    evaluation: evaluation, best: state.bestEvaluation))
        }
        let resumedAt = state.step

        func evaluateNow() throws {
            guard let evaluate, state.evaluations.last?.step != state.step else { return }
            let score = { try evaluate(self.folded(self.state.average)) }
            let evaluation = DevEvaluation(step: state.step, score: try exchange?.broadcast(score) ?? score())
            state.evaluations.append(evaluation)
            if state.bestEvaluation.map({ evaluation.score.isBetter(than: $0.score) }) ?? true {
                state.bestEvaluation = evaluation
                state.best = state.average
                state.evaluationsSinceBest = 0
            } else {
                state.evaluationsSinceBest += 1
            }
            report(evaluation)
        }
        func checkpoint() throws {
            guard let checkpointPath, exchange?.isFirst ?? true else { return }
            state.seconds = earlierSeconds + (clock.now - started).seconds
            state.optimizer = optimizer.state
            try state.write(to: checkpointPath, identity: identity)
            lastCheckpoint = clock.now
        }
        var patienceEnded: Bool {
            configuration.patience > 0 && state.evaluationsSinceBest >= configuration.patience
        }

        if state.step == 0 {
            try evaluateNow()
            try checkpoint()
        }
        while state.step < configuration.steps {
            let stops = shouldStop()
            if try exchange?.anyone(stops) ?? stops {
                ending = .interrupted
                break
            }
            if patienceEnded {
                ending = .stoppedEarly
                break
            }
            let stepStarted = clock.now
            let loss = try step(&gradient)
            trainingTime += clock.now - stepStarted
            examplesSeen += configuration.batchSize * configuration.accumulation
            smoothed = smoothed.isFinite ? smoothed * 0.95 + loss * 0.05 : loss
            let isEvaluation = state.step % configuration.evaluateEvery == 0 || state.step == configuration.steps
            if isEvaluation { try evaluateNow() }
            report(nil)
            if isEvaluation || clock.now - lastCheckpoint > .seconds(20) { try checkpoint() }
        }
        try checkpoint()
        let seconds = (clock.now - started).seconds
        return Outcome(
            ending: ending, parameters: folded(evaluate == nil ? state.average : state.best), steps: state.step,
            losses: state.losses, evaluations: state.evaluations, best: state.bestEvaluation,
            examplesPerSecond: trainingTime > .zero ? Double(examplesSeen) / trainingTime.seconds : 0,
            seconds: earlierSeconds + seconds)
    }

    /// The optimizer's moments, for a run that goes on from this one.
    public var optimizerState: OptimizerState { optimizer.state }
    /// Parameters as the optimizer sees them: those of the best evaluation where there was one.
    public var keptParameters: [Float] { state.bestEvaluation == nil ? state.average : state.best }

    /// Virtual tokens out of parameters; those of several tasks one after the other.
    func folded(_ parameters: [Float]) -> [Float] {
        tasks?.prompts(parameters) ?? method.fold(parameters, tokens: configuration.tokens, shape: model.shape)
    }

    /// One optimizer step; returns the batch's loss.
    private func step(_ gradient: inout [Float]) throws -> Double {
        let tokens = configuration.tokens
        let folded = folded(state.parameters)
        let parts = configuration.accumulation
        var foldedGradient = [Float](repeating: 0, count: folded.count)
        let loss = try gather(
            portions(of: &objectives, from: state.step * parts, count: parts), folded: folded, into: &foldedGradient)
        // Tasks share matrices between their tokens: none of them stays as it is.
        if tasks == nil, configuration.frozenTokenCount > 0 || method.firstTrainedLayer(shape: model.shape) > 0 {
            foldedGradient.withUnsafeMutableBufferPointer {
                guard let base = $0.baseAddress else { return }
                method.freeze(
                    firstTokens: configuration.frozenTokenCount, in: base, tokens: tokens, shape: model.shape)
            }
        }
        gradient =
            tasks?.gradient(foldedGradient, parameters: state.parameters)
            ?? (method.isReparameterised
                ? method.unfold(foldedGradient, parameters: state.parameters, tokens: tokens, shape: model.shape)
                : foldedGradient)
        let norm = gradient.withUnsafeBufferPointer { GradientClipping.norm($0) }
        guard loss.isFinite, norm.isFinite else {
            throw TuningError(
                code: .diverged,
                message:
                    "the loss or its gradient is no longer a number at step \(state.step + 1); use a lower --learning-rate than "
                    + "\(configuration.learningRate), or another --init")
        }
        if configuration.clipNorm > 0 {
            gradient.withUnsafeMutableBufferPointer {
                _ = GradientClipping.clip($0, toNorm: configuration.clipNorm)
            }
        }
        optimizer.step(
            parameters: &state.parameters, gradients: gradient, learningRate: schedule.rate(at: state.step))
        // Weight decay moves what has no gradient too.
        if configuration.weightDecay > 0 { for index in frozen { state.parameters[index] = initial[index] } }
        if configuration.normBall > 0, !method.isReparameterised {
            NormBall.project(
                &state.parameters, around: initial, radius: configuration.normBall,
                width: method.vectorWidth(shape: model.shape))
        }
        // A mean over fewer steps at first, so that it soon forgets the start.
        let taken = Double(state.step + 1)
        let keep = Float(min(configuration.averaging, taken / (taken + 10)))
        if configuration.averaging == 0 {
            state.average = state.parameters
        } else {
            for index in state.average.indices {
                state.average[index] = keep * state.average[index] + (1 - keep) * state.parameters[index]
            }
        }
        state.losses.append(Float(loss))
        state.step += 1
        return loss
    }
}

import Foundation
import LanguageModels
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
        /// configured, in the layout of the method's placement.
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
    private let model: any LanguageModel
    private let graph: any DifferentiableModel
    private var objectives: ObjectiveMixture
    private let schedule: LearningRateSchedule
    private let checkpointPath: String?
    private let identity: [String: String]
    private var scratch: [Float] = []
    private var optimizer: any Optimizer
    private var state: TrainingState

    /// What the virtual tokens were before the first step, as the optimizer sees them.
    private let initial: [Float]
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
        initial: [Float], weightsMemory: WeightsMemory = .auto, forwardPrecision: ForwardPrecision = .float,
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
            graph.forwardPrecision = forwardPrecision
            objective = try CachedActivations.over(
                supervised, graph: graph, prefix: initial, tokens: configuration.tokens, layer: layer)
        }
        try self.init(
            model: model, graph: graph, objectives: ObjectiveMixture([.init(objective)], seed: configuration.seed),
            configuration: configuration,
            initial: initial, forwardPrecision: forwardPrecision, identity: identity, checkpointPath: checkpointPath,
            resumes: resumes)
    }

    /// Prepares a run on any objectives.
    ///
    /// - Parameters:
    ///   - graph: the model's differentiable form; a caller who needs it too keeps one copy of its weights.
    ///   - objectives: what is learned from.
    ///   - optimizerState: moments to go on with (`continue`); a checkpoint that is resumed has its own.
    public init(
        model: any LanguageModel, graph: any DifferentiableModel, objectives: ObjectiveMixture,
        configuration: TuningConfiguration, initial: [Float], optimizerState: OptimizerState? = nil,
        forwardPrecision: ForwardPrecision = .float, identity: [String: String] = [:], checkpointPath: String? = nil,
        resumes: Bool = false
    ) throws {
        try configuration.validate()
        self.configuration = configuration
        self.model = model
        self.graph = graph
        self.objectives = objectives
        self.initial = initial
        method = try MethodCatalog.method(named: configuration.method)
        let expected = method.parameterCount(tokens: configuration.tokens, shape: model.shape)
        guard initial.count == expected else {
            throw TuningError(
                code: .invalidSetting,
                message: "\(initial.count) initial parameters do not make \(configuration.tokens) virtual "
                    + "tokens of \(expected / configuration.tokens)")
        }
        let room = model.shape.contextLength - configuration.tokens
        guard objectives.longestSequence <= room else {
            throw TuningError(
                code: .invalidData,
                message: "the longest example has \(objectives.longestSequence) tokens; behind \(configuration.tokens) "
                    + "virtual ones the model has room for \(max(0, room))")
        }
        frozen = Self.frozenIndices(configuration, method: method, count: expected, shape: model.shape)
        schedule = try LearningRateSchedule(
            peak: configuration.learningRate, warmUpSteps: min(configuration.warmupSteps, configuration.steps),
            totalSteps: configuration.steps, floorFraction: configuration.finalFraction)
        graph.forwardPrecision = forwardPrecision
        self.checkpointPath = checkpointPath
        var identity = identity
        identity["configuration"] = try configuration.canonicalText()
        identity["forward_precision"] = forwardPrecision.rawValue
        self.identity = identity
        if resumes, let checkpointPath, FileManager.default.fileExists(atPath: checkpointPath) {
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
            let evaluation = DevEvaluation(step: state.step, score: try evaluate(folded(state.average)))
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
            guard let checkpointPath else { return }
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
            if shouldStop() {
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

    /// Virtual tokens out of parameters.
    private func folded(_ parameters: [Float]) -> [Float] {
        method.fold(parameters, tokens: configuration.tokens, shape: model.shape)
    }

    /// Loss of the start, and of the bare base, on the first batches: a start that is much worse will not recover.
    ///
    /// - Parameter batches: how many.
    public func startingLosses(batches: Int = 2) throws -> (start: Double, bare: Double) {
        var objectives = self.objectives
        var start = 0.0, bare = 0.0
        let tokens = folded(initial)
        for step in 0..<batches {
            let batch = objectives.batch(step: step, size: configuration.batchSize)
            start += try tokens.withUnsafeBufferPointer {
                try graph.loss(
                    of: batch, prompt: method.view($0.baseAddress!, tokens: configuration.tokens), gradient: nil
                ).loss
            }
            bare += try graph.loss(of: batch, prompt: .none, gradient: nil).loss
        }
        return (start / Double(batches), bare / Double(batches))
    }

    /// Seconds a step takes, measured on the first batches; nothing is changed.
    public func secondsPerStep() throws -> Double {
        var objectives = self.objectives
        let tokens = folded(initial)
        var gradient = [Float](repeating: 0, count: tokens.count)
        scratch = gradient
        var seconds = 0.0
        // The first step pays for memory that later ones reuse.
        for step in 0..<2 {
            let batch = objectives.batch(step: step, size: configuration.batchSize)
            let start = ContinuousClock.now
            _ = try gather(batch, folded: tokens, into: &gradient, share: 1)
            seconds = (ContinuousClock.now - start).seconds
        }
        return seconds * Double(configuration.accumulation)
    }

    /// Adds the gradient of one batch, times `share`, to `gradient`; returns the batch's loss.
    private func gather(_ batch: TrainingBatch, folded: [Float], into gradient: inout [Float], share: Float) throws
        -> Double
    {
        let tokens = configuration.tokens
        return try folded.withUnsafeBufferPointer { folded in
            try scratch.withUnsafeMutableBufferPointer { buffer in
                let result = try graph.loss(
                    of: batch, prompt: method.view(folded.baseAddress!, tokens: tokens), gradient: buffer.baseAddress!)
                for index in gradient.indices { gradient[index] += share * buffer[index] }
                return result.loss
            }
        }
    }

    /// One optimizer step; returns the batch's loss.
    private func step(_ gradient: inout [Float]) throws -> Double {
        let tokens = configuration.tokens
        let folded = folded(state.parameters)
        let parts = configuration.accumulation
        let batches = (0..<parts).map { part in
            objectives.batch(step: state.step * parts + part, size: configuration.batchSize)
        }
        // Together the parts count as one batch: by their targets where the loss is their mean, else evenly.
        let isMean = batches.allSatisfy { $0.weighing == nil }
        let sizes = batches.map { isMean ? Double($0.targetCount) : 1 }
        let total = sizes.reduce(0, +)
        var loss = 0.0
        var foldedGradient = [Float](repeating: 0, count: folded.count)
        if scratch.count != folded.count { scratch = [Float](repeating: 0, count: folded.count) }
        for (batch, size) in zip(batches, sizes) {
            loss +=
                try size / total
                * gather(batch, folded: folded, into: &foldedGradient, share: Float(size / total))
        }
        if configuration.frozenTokenCount > 0 || method.firstTrainedLayer(shape: model.shape) > 0 {
            foldedGradient.withUnsafeMutableBufferPointer {
                guard let base = $0.baseAddress else { return }
                method.freeze(
                    firstTokens: configuration.frozenTokenCount, in: base, tokens: tokens, shape: model.shape)
            }
        }
        gradient =
            method.isReparameterised
            ? method.unfold(foldedGradient, parameters: state.parameters, tokens: tokens, shape: model.shape)
            : foldedGradient
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

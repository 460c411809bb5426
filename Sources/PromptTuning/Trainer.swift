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
        /// The best parameters by dev score (the last ones where no evaluation was made), averaged over steps as configured.
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
    private let examples: [TrainingBatch.Example]
    private var order: ExampleOrder
    private let dropout: TokenDropout
    private let schedule: LearningRateSchedule
    private let checkpointPath: String?
    private let identity: [String: String]
    private var optimizer: any Optimizer
    private var state: TrainingState

    /// Prepares a run.
    ///
    /// - Parameters:
    ///   - rows: the training rows; their order does not matter beyond the seed.
    ///   - initial: the parameters to begin with, from the method's `initialParameters` or a stored prompt.
    ///   - identity: further facts that make a run this run (base fingerprint, digest of the data, initial text);
    ///     a checkpoint with others is not resumed.
    ///   - checkpointPath: where to keep the checkpoint; nil keeps none.
    ///   - resumes: continue from the checkpoint if there is one.
    /// - Throws: `TuningError` for settings, data or a checkpoint that cannot be used.
    public init(
        model: any LanguageModel, tokenizer: any Tokenizer, examples rows: [Example],
        configuration: TuningConfiguration,
        initial: [Float], weightsMemory: WeightsMemory = .auto, forwardPrecision: ForwardPrecision = .float,
        identity: [String: String] = [:],
        checkpointPath: String? = nil, resumes: Bool = false
    ) throws {
        try configuration.validate()
        self.configuration = configuration
        self.model = model
        method = try MethodCatalog.method(named: configuration.method)
        let expected = method.parameterCount(tokens: configuration.tokens, shape: model.shape)
        guard initial.count == expected else {
            throw TuningError(
                code: .invalidSetting,
                message: "\(initial.count) initial parameters do not make \(configuration.tokens) virtual "
                    + "tokens of \(expected / configuration.tokens)")
        }
        guard !rows.isEmpty else {
            throw TuningError(code: .invalidData, message: "the data set has no rows in its train split")
        }
        let encoder = ExampleEncoder(
            tokenizer: tokenizer, template: try ExampleTemplate(prompt: configuration.template),
            learnsEnd: configuration.learnsEnd)
        let room = model.shape.contextLength - configuration.tokens
        examples = try rows.map { row in
            let example = try encoder.encode(row)
            guard example.tokens.count <= room else {
                throw TuningError(
                    code: .invalidData,
                    message:
                        "the example “\(row.input.prefix(60))” has \(example.tokens.count) tokens; behind \(configuration.tokens) "
                        + "virtual ones the model has room for \(max(0, room))")
            }
            return example
        }
        dropout = TokenDropout(examples: examples, rate: configuration.tokenDropout, seed: configuration.seed)
        order = ExampleOrder(seed: configuration.seed, exampleCount: examples.count)
        schedule = try LearningRateSchedule(
            peak: configuration.learningRate, warmUpSteps: min(configuration.warmupSteps, configuration.steps),
            totalSteps: configuration.steps, floorFraction: configuration.finalFraction)
        graph = try model.differentiable(weightsMemory: weightsMemory)
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
        if state.step > 0 { try optimizer.restore(state.optimizer) }
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
            let evaluation = DevEvaluation(step: state.step, score: try evaluate(state.average))
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
            examplesSeen += configuration.batchSize
            smoothed = smoothed.isFinite ? smoothed * 0.95 + loss * 0.05 : loss
            let isEvaluation = state.step % configuration.evaluateEvery == 0 || state.step == configuration.steps
            if isEvaluation { try evaluateNow() }
            report(nil)
            if isEvaluation || clock.now - lastCheckpoint > .seconds(20) { try checkpoint() }
        }
        try checkpoint()
        let seconds = (clock.now - started).seconds
        return Outcome(
            ending: ending, parameters: evaluate == nil ? state.average : state.best, steps: state.step,
            losses: state.losses, evaluations: state.evaluations, best: state.bestEvaluation,
            examplesPerSecond: trainingTime > .zero ? Double(examplesSeen) / trainingTime.seconds : 0,
            seconds: earlierSeconds + seconds)
    }

    /// One optimizer step; returns the batch's loss.
    private func step(_ gradient: inout [Float]) throws -> Double {
        let size = configuration.batchSize
        let batch = TrainingBatch(
            order.batch(step: state.step, batchSize: size).enumerated().map { place, index in
                dropout.apply(to: examples[index], step: state.step, place: place)
            })
        let tokens = configuration.tokens
        let loss = try state.parameters.withUnsafeBufferPointer { parameters in
            try gradient.withUnsafeMutableBufferPointer { buffer in
                let result = try graph.loss(
                    of: batch, prompt: method.view(parameters.baseAddress!, tokens: tokens),
                    gradient: buffer.baseAddress!)
                if configuration.freezesFirstToken {
                    method.freezeFirstToken(in: buffer.baseAddress!, tokens: tokens, shape: model.shape)
                }
                return result.loss
            }
        }
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

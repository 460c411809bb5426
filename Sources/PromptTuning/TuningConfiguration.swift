import Foundation

/// Everything that decides the outcome of a tuning run, besides the base and the data. Stored with the prompt.
public struct TuningConfiguration: Sendable, Equatable, Codable {
    /// `TuningMethod.name`.
    public var method: String
    /// Virtual tokens.
    public var tokens: Int
    /// Optimizer steps at most.
    public var steps: Int
    /// Examples a step.
    public var batchSize: Int
    /// Peak learning rate.
    public var learningRate: Double
    /// Steps of linear warm-up.
    public var warmupSteps: Int
    /// Learning rate at the end, as a fraction of the peak (cosine in between).
    public var finalFraction: Double
    /// Decoupled weight decay of AdamW.
    public var weightDecay: Double
    /// Largest global norm of the gradient; 0 turns clipping off.
    public var clipNorm: Double
    /// Decay per step of the running mean of the parameters, which is what is evaluated and kept (Polyak averaging);
    /// 0 keeps the parameters themselves.
    public var averaging: Double
    /// Fraction of an example's own input tokens left out, drawn anew each step: keeps a few virtual tokens from learning
    /// single examples by heart.
    public var tokenDropout: Double
    /// `adamw` or `sgd`.
    public var optimizer: String
    /// Steps between evaluations on dev.
    public var evaluateEvery: Int
    /// Evaluations without a better one before the run ends early; 0 never ends early.
    public var patience: Int
    /// Whether the end-of-text token is learned after the target, so that generation stops there.
    public var learnsEnd: Bool
    /// Whether the first virtual token stays as it began (an attention sink, Cartridges).
    public var freezesFirstToken: Bool
    /// How a row becomes text; `{input}` stands for the input field.
    public var template: String
    /// Seed of example order and random initialisation.
    public var seed: UInt64
    /// Batches whose gradients make one step.
    public var accumulation = 1
    /// Farthest a virtual token's vector may move from where it began, as a fraction of its own length; 0 sets no limit.
    public var normBall = 0.0
    /// Virtual tokens at the front that stay as they are, of an older prompt that is appended to.
    public var keptTokens = 0

    /// Data sets that are learned at once, each as a task with a prompt of its own (multitask prompt tuning).
    public var tasks = 1
    /// Rank of each task's matrix.
    public var taskRank = 1

    /// Virtual tokens at the front that stay as they began.
    public var frozenTokenCount: Int { max(keptTokens, freezesFirstToken ? 1 : 0) }

    public init(
        method: String = PrefixTuning.name, tokens: Int = 32, steps: Int = 400, batchSize: Int = 16,
        learningRate: Double = PrefixTuning.defaultLearningRate, warmupSteps: Int = 10, finalFraction: Double = 0.1,
        weightDecay: Double = 0, clipNorm: Double = 1, averaging: Double = 0.98, tokenDropout: Double = 0.1,
        optimizer: String = "adamw",
        evaluateEvery: Int = 50,
        patience: Int = 5, learnsEnd: Bool = true, freezesFirstToken: Bool = true,
        template: String = ExampleTemplate.standard.prompt, seed: UInt64 = 0
    ) {
        self.method = method
        self.tokens = tokens
        self.steps = steps
        self.batchSize = batchSize
        self.learningRate = learningRate
        self.warmupSteps = warmupSteps
        self.finalFraction = finalFraction
        self.weightDecay = weightDecay
        self.clipNorm = clipNorm
        self.averaging = averaging
        self.tokenDropout = tokenDropout
        self.optimizer = optimizer
        self.evaluateEvery = evaluateEvery
        self.patience = patience
        self.learnsEnd = learnsEnd
        self.freezesFirstToken = freezesFirstToken
        self.template = template
        self.seed = seed
    }

    /// The settings under which the prompt of one task, folded from what several shared, goes on alone.
    public var ofPlainPrompt: TuningConfiguration {
        guard tasks > 1 || method == MultitaskPromptTuning.name else { return self }
        var result = self
        result.method = PromptTuningMethod.name
        result.tasks = 1
        result.taskRank = 1
        return result
    }

    /// The settings as JSON with sorted keys: equal texts mean equal runs.
    public func canonicalText() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    /// Reads what `canonicalText` wrote, now or in an earlier version: settings it does not name have their defaults.
    ///
    /// - Throws: an error of `JSONDecoder` or `JSONSerialization` when this is no configuration.
    public init(json: Data) throws {
        let defaults = try JSONSerialization.jsonObject(with: JSONEncoder().encode(TuningConfiguration()))
        let given = try JSONSerialization.jsonObject(with: json)
        guard var merged = defaults as? [String: Any], let given = given as? [String: Any] else {
            throw TuningError(code: .invalidSetting, message: "the configuration is not a JSON object")
        }
        merged.merge(given) { _, new in new }
        self = try JSONDecoder().decode(
            TuningConfiguration.self, from: JSONSerialization.data(withJSONObject: merged))
        try validate()
    }

    /// - Throws: `TuningError.invalidSetting` naming the first setting that makes no sense.
    public func validate() throws {
        func require(_ condition: Bool, _ message: String) throws {
            if !condition { throw TuningError(code: .invalidSetting, message: message) }
        }
        _ = try MethodCatalog.method(named: method)
        try require((1...4096).contains(tasks), "a run learns 1…4096 tasks, not \(tasks)")
        try require((1...256).contains(taskRank), "the rank of a task's matrix must be 1…256, not \(taskRank)")
        try require((1...65_536).contains(tokens), "virtual tokens must be 1…65536, not \(tokens)")
        try require(steps >= 1 && steps <= 100_000_000, "steps must be at least 1, not \(steps)")
        try require(
            batchSize >= 1 && batchSize <= 1_000_000, "the batch must hold at least 1 example, not \(batchSize)")
        try require(
            learningRate.isFinite && learningRate > 0, "the learning rate must be positive, not \(learningRate)")
        try require(warmupSteps >= 0, "warm-up cannot last \(warmupSteps) steps")
        try require((0...1).contains(finalFraction), "the final fraction must lie in 0…1, not \(finalFraction)")
        try require(weightDecay.isFinite && weightDecay >= 0, "weight decay cannot be \(weightDecay)")
        try require((0..<1).contains(tokenDropout), "token dropout must lie in 0..<1, not \(tokenDropout)")
        try require((0..<1).contains(averaging), "the averaging decay must lie in 0..<1, not \(averaging)")
        try require(clipNorm.isFinite && clipNorm >= 0, "the clipping norm cannot be \(clipNorm)")
        try require(
            OptimizerCatalog.names.contains(optimizer),
            "there is no optimizer “\(optimizer)”; those there are: \(OptimizerCatalog.names.joined(separator: ", "))")
        try require(evaluateEvery >= 1, "evaluations cannot be \(evaluateEvery) steps apart")
        try require(patience >= 0, "patience cannot be \(patience)")
        try require((1...100_000).contains(accumulation), "a step takes at least 1 batch, not \(accumulation)")
        try require(normBall.isFinite && normBall >= 0, "the norm ball's radius cannot be \(normBall)")
        try require(
            (0..<max(tokens, 1)).contains(keptTokens) || keptTokens == 0,
            "of \(tokens) virtual tokens \(keptTokens) cannot be kept: none would be left to learn")
        try require(template.contains("{input}"), "the template must contain {input}")
    }
}

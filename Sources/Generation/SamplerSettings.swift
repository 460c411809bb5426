/// A sampling setting that makes no sense.
public struct SamplerSettingsError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The setting's name, as `SamplerSettings` spells it.
    public let setting: String
    /// What the value was and what it may be.
    public let message: String
    public var description: String { message }
}

/// How the next token is chosen from the logits.
///
/// The steps, in this order: logit bias; penalties; top-k; top-p; min-p; temperature; one draw. Top-p and min-p look at
/// the probabilities at temperature 1, as llama.cpp does. Every step keeps at least one token.
public struct SamplerSettings: Sendable, Equatable {
    /// Divides the logits before the draw. 0: always the most likely token, whatever top-k, top-p and min-p say.
    public var temperature: Float
    /// Keeps the `topK` most likely tokens; 0 keeps all.
    public var topK: Int
    /// Keeps the most likely tokens until their probability reaches `topP`, the one that reaches it included; 1 keeps all.
    public var topP: Float
    /// Keeps tokens at least `minP` times as likely as the most likely one; 0 keeps all.
    public var minP: Float
    /// For tokens seen in the window: positive logits are divided by it, others multiplied. 1: off.
    public var repetitionPenalty: Float
    /// Subtracted from the logit once for each time the token is in the window. 0: off.
    public var frequencyPenalty: Float
    /// Subtracted once from the logit of each token in the window. 0: off.
    public var presencePenalty: Float
    /// How many of the last tokens the penalties look at; 0: none, `nil`: all.
    public var penaltyWindow: Int?
    /// Added to the logits of these tokens; minus infinity forbids a token.
    public var logitBias: [Int: Float]
    /// The draw's seed. The same seed, settings and logits give the same tokens.
    public var seed: UInt64

    public init(
        temperature: Float = 0.8, topK: Int = 40, topP: Float = 0.95, minP: Float = 0.05,
        repetitionPenalty: Float = 1, frequencyPenalty: Float = 0, presencePenalty: Float = 0,
        penaltyWindow: Int? = 64, logitBias: [Int: Float] = [:], seed: UInt64 = .random(in: .min ... .max)
    ) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
        self.repetitionPenalty = repetitionPenalty
        self.frequencyPenalty = frequencyPenalty
        self.presencePenalty = presencePenalty
        self.penaltyWindow = penaltyWindow
        self.logitBias = logitBias
        self.seed = seed
    }

    /// The most likely token every time.
    public static let greedy = SamplerSettings(temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0)

    /// - Throws: `SamplerSettingsError` naming the first setting that is out of range.
    public func validate() throws(SamplerSettingsError) {
        func check(_ setting: String, _ value: some CustomStringConvertible, _ isGood: Bool, _ range: String)
            throws(SamplerSettingsError)
        {
            guard !isGood else { return }
            throw SamplerSettingsError(setting: setting, message: "\(setting) is \(value), but must be \(range)")
        }
        try check("temperature", temperature, temperature.isFinite && temperature >= 0, "a number of at least 0")
        try check("topK", topK, topK >= 0, "at least 0 (0 keeps all tokens)")
        try check("topP", topP, topP >= 0 && topP <= 1, "from 0 to 1")
        try check("minP", minP, minP >= 0 && minP <= 1, "from 0 to 1")
        try check(
            "repetitionPenalty", repetitionPenalty, repetitionPenalty.isFinite && repetitionPenalty > 0,
            "a number above 0 (1 is off)")
        try check("frequencyPenalty", frequencyPenalty, frequencyPenalty.isFinite, "a finite number (0 is off)")
        try check("presencePenalty", presencePenalty, presencePenalty.isFinite, "a finite number (0 is off)")
        try check("penaltyWindow", penaltyWindow ?? 0, (penaltyWindow ?? 0) >= 0, "at least 0 (0 is off)")
        for (token, bias) in logitBias.sorted(by: { $0.key < $1.key }) {
            try check("logitBias", "\(bias) for token \(token)", token >= 0, "given for tokens of at least 0")
            try check(
                "logitBias", "\(bias) for token \(token)", !bias.isNaN && bias < .infinity,
                "a finite number or minus infinity")
        }
    }
}

/// A sampling setting that makes no sense.
public struct SamplerSettingsError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The setting's name, as `SamplerSettings` spells it.
    public let setting: String
    /// What the value was and what it may be.
    public let message: String
    public var description: String { message }

    public init(setting: String, message: String) {
        self.setting = setting
        self.message = message
    }
}

/// How the next token is chosen from the logits.
///
/// The steps, unless `order` says otherwise: logit bias; grammar; penalties; DRY; top-n-sigma; top-k; typical; top-p; min-p;
/// XTC; temperature; one draw. This order, the formulas and the defaults are llama.cpp's. Each step sees the probabilities
/// of what those before it left, and keeps at least one token. With mirostat only bias, grammar and temperature go before.
public struct SamplerSettings: Sendable, Equatable {
    /// Divides the logits. 0: only the likeliest token is left.
    public var temperature: Float
    /// Lets the temperature move by this much up and down with the entropy; 0: fixed.
    public var dynamicTemperatureRange: Float = 0
    /// The power of the entropy's share with which it moves.
    public var dynamicTemperatureExponent: Float = 1
    /// Keeps the `topK` most likely tokens; 0 keeps all.
    public var topK: Int
    /// Keeps the most likely tokens until their probability reaches `topP`, the one that reaches it included; 1 keeps all.
    public var topP: Float
    /// Keeps tokens at least `minP` times as likely as the most likely one; 0 keeps all.
    public var minP: Float
    /// Keeps the tokens of most typical surprise until their probability exceeds this; 1 keeps all.
    public var typicalP: Float = 1
    /// Keeps logits at most this many standard deviations below the highest; 0 or less keeps all.
    public var topNSigma: Float = -1
    /// How often XTC removes the top choices; 0: never.
    public var xtcProbability: Float = 0
    /// The probability from which a token is a top choice to XTC; above 0.5 it is off.
    public var xtcThreshold: Float = 0.1
    /// DRY's strength; 0: off.
    public var dryMultiplier: Float = 0
    /// By how much DRY's penalty grows with each token repeated.
    public var dryBase: Float = 1.75
    /// Repetitions shorter than this cost nothing in DRY.
    public var dryAllowedLength: Int = 2
    /// How many of the last tokens DRY looks at; 0: none, `nil`: all.
    public var dryWindow: Int? = 64
    /// Texts across which DRY sees no repetition.
    public var drySequenceBreakers: [String] = ["\n", ":", "\"", "*"]
    /// 1 or 2: mirostat in that version draws; 0: off.
    public var mirostat: Int = 0
    /// The surprise mirostat aims at, in bits a token.
    public var mirostatTarget: Float = 5
    /// How fast mirostat corrects itself.
    public var mirostatRate: Float = 0.1
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
    /// Names of the samplers in the order in which they run (`SamplerCatalog`); those left out do nothing.
    public var order: [String] = SamplerCatalog.standardOrder
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
        func share(_ setting: String, _ value: Float) throws(SamplerSettingsError) {
            try check(setting, value, value >= 0 && value <= 1, "from 0 to 1")
        }
        func finite(_ setting: String, _ value: Float, _ note: String) throws(SamplerSettingsError) {
            try check(setting, value, value.isFinite, "a finite number (\(note))")
        }
        func window(_ setting: String, _ value: Int?) throws(SamplerSettingsError) {
            try check(setting, value ?? 0, (value ?? 0) >= 0 && (value ?? 0) <= 1 << 24, "from 0 (off) to 16777216")
        }
        try check("temperature", temperature, temperature.isFinite && temperature >= 0, "a number of at least 0")
        try check(
            "dynamicTemperatureRange", dynamicTemperatureRange,
            dynamicTemperatureRange.isFinite && dynamicTemperatureRange >= 0, "a number of at least 0 (0 is off)")
        try finite("dynamicTemperatureExponent", dynamicTemperatureExponent, "1 is linear")
        try check("topK", topK, topK >= 0, "at least 0 (0 keeps all tokens)")
        try share("topP", topP)
        try share("minP", minP)
        try share("typicalP", typicalP)
        try finite("topNSigma", topNSigma, "0 is off")
        try share("xtcProbability", xtcProbability)
        try share("xtcThreshold", xtcThreshold)
        try check(
            "dryMultiplier", dryMultiplier, dryMultiplier.isFinite && dryMultiplier >= 0,
            "a number of at least 0 (0 is off)")
        try check("dryBase", dryBase, dryBase.isFinite && dryBase >= 1, "a number of at least 1")
        try check("dryAllowedLength", dryAllowedLength, dryAllowedLength >= 0, "at least 0")
        try window("dryWindow", dryWindow)
        try check("mirostat", mirostat, (0...2).contains(mirostat), "0 (off), 1 or 2")
        try check(
            "mirostatTarget", mirostatTarget, mirostatTarget.isFinite && mirostatTarget >= 0, "a number of at least 0")
        try check("mirostatRate", mirostatRate, mirostatRate.isFinite && mirostatRate >= 0, "a number of at least 0")
        try check(
            "repetitionPenalty", repetitionPenalty, repetitionPenalty.isFinite && repetitionPenalty > 0,
            "a number above 0 (1 is off)")
        try finite("frequencyPenalty", frequencyPenalty, "0 is off")
        try finite("presencePenalty", presencePenalty, "0 is off")
        try window("penaltyWindow", penaltyWindow)
        for (token, bias) in logitBias.sorted(by: { $0.key < $1.key }) {
            try check("logitBias", "\(bias) for token \(token)", token >= 0, "given for tokens of at least 0")
            try check(
                "logitBias", "\(bias) for token \(token)", !bias.isNaN && bias < .infinity,
                "a finite number or minus infinity")
        }
        _ = try SamplerCatalog.order(order.joined(separator: ";"))
    }
}

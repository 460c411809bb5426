import ArgumentParser
import Foundation
import Generation

/// The samplers beyond temperature, top-k, top-p and min-p, and the order in which they run. Names and defaults are
/// llama.cpp's.
struct SamplerOptions: ParsableArguments {
    @Option(help: "The temperature moves by this much up and down with the entropy; 0 keeps it fixed.")
    var dynatempRange: Float = 0
    @Option(help: "Power of the entropy's share with which it moves.") var dynatempExp: Float = 1
    @Option(help: "Keep tokens of the most typical surprise up to this probability; 1 keeps all.") var typical: Float =
        1
    @Option(
        parsing: .unconditional,
        help: "Keep logits at most this many standard deviations below the highest; 0 keeps all.")
    var topNSigma: Float = 0
    @Option(help: "How often XTC removes the top choices; 0: never.") var xtcProbability: Float = 0
    @Option(help: "Probability from which a token is a top choice to XTC.") var xtcThreshold: Float = 0.1
    @Option(help: "DRY's strength against repeated passages; 0: off, 0.8 is usual.") var dryMultiplier: Float = 0
    @Option(help: "By how much DRY's penalty grows with each token repeated.") var dryBase: Float = 1.75
    @Option(help: "Repetitions shorter than this cost nothing in DRY.") var dryAllowedLength = 2
    @Option(parsing: .unconditional, help: "How many of the last tokens DRY looks at; -1: all.") var dryLastN = 64
    @Option(
        name: .customLong("dry-sequence-breaker"),
        help:
            "Text across which DRY sees no repetition; replaces the usual ones (new line, colon, quotation mark, asterisk)."
    )
    var breakers: [String] = []
    @Option(help: "1 or 2: mirostat in that version draws, and of the others only the temperature acts.") var mirostat =
        0
    @Option(help: "The surprise that mirostat aims at, in bits a token.") var mirostatTau: Float = 5
    @Option(help: "How fast mirostat corrects itself.") var mirostatEta: Float = 0.1
    @Option(parsing: .unconditional, help: "Subtract this from a token's logit for each time it has come.")
    var frequencyPenalty: Float = 0
    @Option(parsing: .unconditional, help: "Subtract this from the logits of tokens that have come.")
    var presencePenalty: Float = 0
    @Option(parsing: .unconditional, help: "How many of the last tokens the three penalties look at; -1: all.")
    var repeatLastN = 64
    @Option(help: "ID+BIAS or ID-BIAS: add to a token's logit; ID-inf forbids it. May be repeated.")
    var logitBias: [String] = []
    @Option(
        help: ArgumentHelp(
            "Samplers in the order in which they run, separated by “;”.", discussion: "Those left out do nothing.",
            valueName: "a;b;c"))
    var samplers: String = SamplerCatalog.standardOrder.joined(separator: ";")

    /// Puts the options into settings.
    func apply(to settings: inout SamplerSettings) throws {
        settings.dynamicTemperatureRange = dynatempRange
        settings.dynamicTemperatureExponent = dynatempExp
        settings.typicalP = typical
        settings.topNSigma = topNSigma
        (settings.xtcProbability, settings.xtcThreshold) = (xtcProbability, xtcThreshold)
        (settings.dryMultiplier, settings.dryBase) = (dryMultiplier, dryBase)
        settings.dryAllowedLength = dryAllowedLength
        settings.dryWindow = try window(dryLastN, "--dry-last-n")
        if !breakers.isEmpty { settings.drySequenceBreakers = breakers }
        (settings.mirostat, settings.mirostatTarget, settings.mirostatRate) = (mirostat, mirostatTau, mirostatEta)
        (settings.frequencyPenalty, settings.presencePenalty) = (frequencyPenalty, presencePenalty)
        settings.penaltyWindow = try window(repeatLastN, "--repeat-last-n")
        settings.order = try SamplerCatalog.order(samplers)
        for text in logitBias {
            guard let sign = text.lastIndex(where: { $0 == "+" || $0 == "-" }), let id = Int(text[..<sign]),
                let bias = Float(text[sign...]), settings.logitBias.updateValue(bias, forKey: id) == nil
            else {
                throw SamplerSettingsError(
                    setting: "logitBias",
                    message: "'\(text)' is no bias: write ID+BIAS or ID-BIAS, such as 15+2.5 or 15-inf, each token once"
                )
            }
        }
    }

    private func window(_ value: Int, _ name: String) throws -> Int? {
        guard value >= -1 else {
            throw SamplerSettingsError(
                setting: name, message: "\(name) is \(value), but must be at least 0, or -1 for all")
        }
        return value == -1 ? nil : value
    }
}

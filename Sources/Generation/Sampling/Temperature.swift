import Foundation

/// Divides the logits by a temperature; 0 keeps the likeliest token only. With a range, the temperature follows the
/// entropy of what is left (dynamic temperature).
///
///     T fixed:    logit ← logit / T
///     T ± r:      T = Tmin + (Tmax − Tmin) · (H / ln n)^e      Tmin = max(0, T − r), Tmax = T + r
///
/// H is the entropy of the n tokens left, e the exponent: certain places get colder, open ones hotter. A single token
/// is left alone.
struct Temperature: SamplingStep {
    static let kind = SamplerKind(
        "temperature", aliases: ["temp"], formula: "logit / T; dynamic: T = Tmin + (Tmax − Tmin)·(H / ln n)^e",
        source: "Ackley, Hinton, Sejnowski 1985; dynamic: kalomaze 2023 (llama.cpp #4972)"
    ) { settings, _ throws(SamplerSettingsError) in
        Temperature(
            base: settings.temperature, range: settings.dynamicTemperatureRange,
            exponent: settings.dynamicTemperatureExponent)
    }

    let base, range, exponent: Float
    var keepsLikeliest: Bool { true }

    func apply(_ candidates: inout Candidates, _ random: inout RandomGenerator) {
        var temperature = base
        if range > 0 {
            let count = candidates.count
            if count <= 1 { return }
            let share = candidates.entropy / log(Float(count))
            let lowest = max(0, base - range)
            let highest = base + range
            temperature = lowest + (highest - lowest) * pow(max(0, share), exponent)
        }
        if temperature <= 0 {
            candidates.keepTop(1)
        } else if temperature != 1 {
            candidates.map { $0 / temperature }
        }
    }
}

/// OLMo 2 (Team OLMo 2024): norms behind the branches instead of before them, and over whole queries and keys.
public enum OLMo2Architecture: DecoderArchitecture {
    public static let name = "olmo2"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder()
        c.pairing = .halves
        c.hasPreNorms = false
        c.hasPostNorms = true
        c.queryKeyNorm = .whole
        guard try parameters.countOrZero("attention.sliding_window", limit: 1 << 30) == 0 else {
            throw parameters.failure("olmo2 with a sliding window (OLMo 3) cannot be run yet")
        }
        return c
    }
}

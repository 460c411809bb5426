/// Granite: llama with four scales (on input, attention, residual sums and logits).
public enum GraniteArchitecture: DecoderArchitecture {
    public static let name = "granite"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder()
        c.inputScale = try parameters.number("embedding_scale", default: 1, zeroIsMissing: true)
        c.residualScale = try parameters.number("residual_scale", default: 1, zeroIsMissing: true)
        c.logitScale = 1 / (try parameters.number("logit_scale", default: 1, zeroIsMissing: true))
        return c
    }
}

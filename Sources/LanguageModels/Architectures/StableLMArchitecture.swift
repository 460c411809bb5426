/// StableLM: LayerNorm, part of each head rotated. The 12B has norms for every query and key head, and its feed-forward
/// reads attention's input.
public enum StableLMArchitecture: DecoderArchitecture {
    public static let name = "stablelm"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder(norm: .layer)
        c.pairing = .halves
        c.queryKeyNorm = .perHeadOwnWeights
        c.residual = .parallelWithoutSecondNorm
        return c
    }
}

/// SmolLM3: llama in which every fourth layer has no positions.
public enum SmolLM3Architecture: DecoderArchitecture {
    public static let name = "smollm3"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder()
        c.layerRotations = (0..<c.layerCount).map { ($0 + 1) % 4 == 0 ? nil : 0 }
        return c
    }
}

/// GPT-2 (Radford et al. 2019): learned positions, LayerNorm, biases everywhere, GELU without a gate.
public enum GPT2Architecture: DecoderArchitecture {
    public static let name = "gpt2"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder(norm: .layer, rotates: false)
        c.pairing = .halves
        c.fusesAttention = true
        c.requiresAttentionBias = true
        c.hasPositionTable = true
        c.gating = .none
        c.activation = .geluTanh
        return c
    }
}

/// GPT-NeoX and Pythia (Black et al. 2022): attention and feed-forward side by side, part of each head rotated.
public enum GPTNeoXArchitecture: DecoderArchitecture {
    public static let name = "gptneox"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder(norm: .layer)
        c.pairing = .halves
        c.fusesAttention = true
        c.gating = .none
        c.activation = .gelu
        c.residual = try parameters.flag("use_parallel_residual", default: true) ? .parallel : .sequential
        return c
    }
}

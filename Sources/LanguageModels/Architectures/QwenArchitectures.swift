/// Qwen 1.5 to 2.5: llama with biases on queries, keys and values, RoPE over halves.
public enum Qwen2Architecture: DecoderArchitecture {
    public static let name = "qwen2"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder()
        c.pairing = .halves
        c.requiresAttentionBias = true
        return c
    }
}

/// Qwen 1.5 and 2 with experts: weights as the router gives them, and a shared expert with a gate of its own.
public enum Qwen2MoEArchitecture: DecoderArchitecture {
    public static let name = "qwen2moe"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder(usesExperts: true)
        c.pairing = .halves
        c.requiresAttentionBias = true
        c.experts = try parameters.experts(
            length: { max(1, c.feedForwardSize / $0) }, normalizes: false, sharedLength: c.feedForwardSize)
        guard c.experts != nil else { throw parameters.failure("qwen2moe.expert_count is missing") }
        return c
    }
}

/// Qwen 3: a norm on every query and key head, heads of a length of their own, no biases.
public enum Qwen3Architecture: DecoderArchitecture {
    public static let name = "qwen3"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder()
        c.pairing = .halves
        c.queryKeyNorm = .perHead
        return c
    }
}

/// Qwen 3 with experts, whose weights are normalised.
public enum Qwen3MoEArchitecture: DecoderArchitecture {
    public static let name = "qwen3moe"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder(usesExperts: true)
        c.pairing = .halves
        c.queryKeyNorm = .perHead
        c.experts = try parameters.experts(length: { max(1, c.feedForwardSize / $0) }, normalizes: true)
        guard c.experts != nil else { throw parameters.failure("qwen3moe.expert_count is missing") }
        return c
    }
}

import Layers

/// Gemma 2 (Gemma Team 2024): norms before and behind each branch, soft caps, a window in every other layer, GeGLU.
public enum Gemma2Architecture: DecoderArchitecture {
    public static let name = "gemma2"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder()
        // The 27B model, known by its layers, divides by the root of width / heads.
        try GemmaFamily.complete(&c, parameters, isLarge: c.layerCount == 46)
        c.attentionSoftCap = try parameters.softCap("attn_logit_softcapping", default: 50)
        c.logitSoftCap = try parameters.softCap("final_logit_softcapping", default: 30)
        let window = try parameters.count("attention.sliding_window", default: 4096, limit: 1 << 30)
        let sliding = try parameters.slidingLayers(c.layerCount) { $0 % 2 == 0 }
        c.windows = sliding.map { $0 ? window : 0 }
        return c
    }
}

/// Gemma 3 (Gemma Team 2025): norms on queries and keys instead of soft caps, five layers with a window and a RoPE base
/// of their own to each full one.
public enum Gemma3Architecture: DecoderArchitecture {
    public static let name = "gemma3"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder()
        try GemmaFamily.complete(&c, parameters, isLarge: c.layerCount == 62)
        c.queryKeyNorm = .perHead
        c.logitSoftCap = try parameters.softCap("final_logit_softcapping")
        let window = try parameters.countOrZero("attention.sliding_window", limit: 1 << 30)
        let sliding = try parameters.slidingLayers(c.layerCount) { window > 0 && ($0 + 1) % 6 != 0 }
        guard window > 0 || !sliding.contains(true) else {
            throw parameters.failure("gemma3.attention.sliding_window is missing, but layers have a window")
        }
        c.windows = sliding.map { $0 ? window : 0 }
        let local = RotarySettings(
            dimension: c.rotations[0].dimension,
            base: Double(try parameters.positive("rope.freq_base_swa", default: 10000)), scaling: .linear(factor: 1),
            usesFrequencyTensor: false)
        c.rotations.append(local)
        c.layerRotations = sliding.map { $0 ? 1 : 0 }
        return c
    }
}

/// What the Gemmas share.
private enum GemmaFamily {
    static func complete(
        _ c: inout DecoderConfiguration, _ parameters: Hyperparameters, isLarge: Bool
    ) throws {
        c.pairing = .halves
        c.hasPostNorms = true
        c.activation = .geluTanh
        c.embeddingScale = Float(c.hiddenSize).squareRoot()
        if isLarge, try parameters.number("attention.scale", default: 0) <= 0 {
            c.attentionScale = 1 / Float(max(1, c.hiddenSize / c.headCount)).squareRoot()
        }
    }
}

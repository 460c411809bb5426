import Layers

/// Phi 3, 3.5 and 4: one matrix for queries, keys and values, one for gate and up; LongRoPE; a window where the file
/// states one.
public enum Phi3Architecture: DecoderArchitecture {
    public static let name = "phi3"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder()
        c.pairing = .halves
        c.fusesAttention = true
        c.gating = .fused
        let window = try parameters.countOrZero("attention.sliding_window", limit: 1 << 30)
        c.windows = Array(repeating: window, count: c.layerCount)
        // Files of llama.cpp's converter have LongRoPE's factors and amplitude without naming the scaling.
        let hasAmplitude = try parameters.number("rope.scaling.attn_factor", default: 0) > 0
        if try parameters.text("rope.scaling.type") == nil, hasAmplitude {
            let amplitude = try parameters.positive("rope.scaling.attn_factor", default: 1)
            c.rotations[0].scaling = .longRope(
                original: try parameters.count(
                    "rope.scaling.original_context_length", default: c.contextLength, limit: 1 << 30),
                amplitude: Double(amplitude))
        }
        return c
    }
}

/// Llama (Touvron et al. 2023): RMSNorm before each branch, RoPE over neighbours, grouped-query attention, SwiGLU.
/// SmolLM2, TinyLlama, Mistral, Mixtral and Llama 1–3 are of this family.
public enum LlamaArchitecture: DecoderArchitecture {
    public static let name = "llama"

    public static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration {
        var c = try parameters.decoder(usesExperts: true)
        // Mixtral: an expert is as wide as the layer says.
        c.experts = try parameters.experts(length: { _ in c.feedForwardSize }, normalizes: true)
        return c
    }
}

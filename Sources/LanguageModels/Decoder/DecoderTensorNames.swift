/// GGUF's names of a decoder's tensors; every architecture uses the same ones, each those it has.
enum DecoderTensorNames {
    static let embedding = "token_embd.weight"
    static let positions = "position_embd.weight"
    static let outputNorm = "output_norm"
    /// Absent when the output projection is tied to the embedding.
    static let output = "output.weight"
    /// Divisors of the RoPE frequencies (Llama 3), optional.
    static let ropeFrequencies = "rope_freqs.weight"
    /// The same of LongRoPE, for sequences within and beyond the original context.
    static let ropeFactorsShort = "rope_factors_short.weight"
    static let ropeFactorsLong = "rope_factors_long.weight"

    /// The name of a layer's part, to which `.weight` or `.bias` is added.
    static func layer(_ index: Int, _ part: Part) -> String { "blk.\(index).\(part.rawValue)" }

    enum Part: String {
        case attentionNorm = "attn_norm"
        case queries = "attn_q"
        case keys = "attn_k"
        case values = "attn_v"
        case queriesKeysValues = "attn_qkv"
        case queryNorm = "attn_q_norm"
        case keyNorm = "attn_k_norm"
        case attentionOutput = "attn_output"
        case postAttentionNorm = "post_attention_norm"
        case feedForwardNorm = "ffn_norm"
        case gate = "ffn_gate"
        case up = "ffn_up"
        case down = "ffn_down"
        case postFeedForwardNorm = "post_ffw_norm"
        case router = "ffn_gate_inp"
        case expertGates = "ffn_gate_exps"
        case expertUps = "ffn_up_exps"
        case expertDowns = "ffn_down_exps"
        case sharedRouter = "ffn_gate_inp_shexp"
        case sharedGate = "ffn_gate_shexp"
        case sharedUp = "ffn_up_shexp"
        case sharedDown = "ffn_down_shexp"
    }
}

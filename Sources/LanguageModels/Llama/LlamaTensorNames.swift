/// GGUF names of a llama-family model's tensors; dimensions in ggml order, columns first.
enum LlamaTensorNames {
    static let embedding = "token_embd.weight"
    static let outputNorm = "output_norm.weight"
    /// Absent when the output projection is tied to the embedding.
    static let output = "output.weight"
    /// Divisors of the RoPE frequencies (Llama 3), optional.
    static let ropeFrequencies = "rope_freqs.weight"

    static func layer(_ index: Int, _ part: Part) -> String { "blk.\(index).\(part.rawValue).weight" }

    enum Part: String {
        case attentionNorm = "attn_norm"
        case queries = "attn_q"
        case keys = "attn_k"
        case values = "attn_v"
        case attentionOutput = "attn_output"
        case feedForwardNorm = "ffn_norm"
        case gate = "ffn_gate"
        case up = "ffn_up"
        case down = "ffn_down"
    }
}

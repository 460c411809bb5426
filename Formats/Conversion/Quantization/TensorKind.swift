import TensorTypes

/// What a weight does, as far as quantization mixes tell weights apart. Named by GGUF's tensor names.
enum TensorKind: Sendable, Hashable, CaseIterable {
    case tokenEmbedding, output
    /// Values, alone or fused with queries and keys (`attn_qkv`) or with the compressed keys (`attn_kv_b`).
    case attentionValue
    case attentionKey, attentionQuery, attentionOutput
    case feedForwardUp, feedForwardGate, feedForwardDown
    case other

    /// Parts of names, in the order in which they decide.
    private static let parts: [(String, TensorKind)] = [
        ("attn_qkv.weight", .attentionValue), ("attn_kv_b.weight", .attentionValue),
        ("attn_v.weight", .attentionValue), ("attn_k.weight", .attentionKey), ("attn_q.weight", .attentionQuery),
        ("attn_output.weight", .attentionOutput), ("ffn_up", .feedForwardUp), ("ffn_gate", .feedForwardGate),
        ("ffn_down", .feedForwardDown),
    ]

    init(name: String) {
        switch name {
        case "output.weight": self = .output
        case "token_embd.weight", "per_layer_token_embd.weight": self = .tokenEmbedding
        default: self = Self.parts.first { name.contains($0.0) }?.1 ?? .other
        }
    }
}

/// Which tensors keep the type they have, whatever the mix. The list is llama.cpp's, as of October 2026.
enum KeptTensors {
    /// Names that contain one of these are small, or sensitive, or no matrices.
    private static let parts = [
        "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj",
        "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight",
        "time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight",
        "time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight",
        "time_mix_a2.weight", "time_mix_g1.weight", "time_mix_g2.weight", "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight", "attn_rel_b.weight", ".position_embd",
        "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger", "a.rvq.codebook",
        "mm.a.code_embd",
    ]

    /// Names of the whole tensor.
    private static let names: Set<String> = ["position_embd.weight", "token_types.weight"]

    /// What the newest GLM keeps in addition.
    private static let glm5 = [
        "hc_", "indexer.attn_q_b", "indexer.attn_k", "indexer.proj", "indexer_compressor_gate",
        "indexer_compressor_ape", "ssm_f_a.weight", "ssm_f_b.weight", "ssm_g_a.weight", "ssm_g_b.weight",
        "ssm_beta.weight", "attn_kv_a_mqa.weight", "attn_k_b.weight", "attn_v_b.weight",
    ]

    /// Whether a tensor keeps its type: vectors, norms, routers, position tables, and what is no weight at all.
    static func contains(_ tensor: SourceTensor, architecture: String) -> Bool {
        let name = tensor.name
        // Trailing ones are no dimensions.
        guard (tensor.dimensions.lastIndex { $0 != 1 } ?? 0) >= 1, name.hasSuffix("weight") else { return true }
        // Integer tables hold ids or masks, never something to round.
        guard tensor.type.isQuantized || tensor.type.isFloatWithinF32 || tensor.type == .f64 else { return true }
        if names.contains(name) || parts.contains(where: name.contains) { return true }
        return architecture == "glm5-next" && glm5.contains(where: name.contains)
    }
}

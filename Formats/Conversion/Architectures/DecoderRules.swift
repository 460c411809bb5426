/// Tensor rules that many decoders share, one group a call.
extension TensorRules {
    /// Embedding in, norm and output at the end. Call `begin` first and `end` last.
    mutating func begin(_ size: ModelDimensions, source: String = "model.embed_tokens") {
        weight("token_embd", source, [size.vocabulary, size.width])
    }

    mutating func end(
        _ size: ModelDimensions, norm source: String = "model.norm", output: String? = "lm_head",
        transform: TensorTransform = .copy, bias: Bias = .none
    ) {
        norm("output_norm", source, size.width, transform, bias: bias)
        if let output { weight("output", output, [size.vocabulary, size.width], optional: true, bias: .optional) }
    }

    /// Separate query, key, value and output projections.
    /// - Parameter isPaired: whether GGUF has the rows of each query and key head as pairs (llama's RoPE).
    mutating func attention(_ layer: Int, _ size: ModelDimensions, isPaired: Bool = false) {
        let from = "model.layers.\(layer).self_attn."
        let to = "blk.\(layer).attn_"
        let (queries, keys) = (size.heads * size.keyLength, size.keyValueHeads * size.keyLength)
        let values = size.keyValueHeads * size.valueLength
        let query = isPaired ? TensorTransform.rows(.halvesToPairs(heads: size.heads)) : .copy
        let key = isPaired ? TensorTransform.rows(.halvesToPairs(heads: size.keyValueHeads)) : .copy
        weight(to + "q", from + "q_proj", [queries, size.width], query, bias: .optional)
        weight(to + "k", from + "k_proj", [keys, size.width], key, bias: .optional)
        weight(to + "v", from + "v_proj", [values, size.width], bias: .optional)
        weight(
            to + "output", from + "o_proj", [size.width, size.heads * size.valueLength], bias: .optional)
    }

    /// Norms of query and key.
    mutating func queryKeyNorms(_ layer: Int, lengths: (query: Int, key: Int), _ transform: TensorTransform = .copy) {
        let from = "model.layers.\(layer).self_attn."
        norm("blk.\(layer).attn_q_norm", from + "q_norm", lengths.query, transform)
        norm("blk.\(layer).attn_k_norm", from + "k_norm", lengths.key, transform)
    }

    /// Gate, up and down.
    mutating func gatedFeedForward(_ layer: Int, _ size: ModelDimensions) {
        let from = "model.layers.\(layer).mlp."
        let to = "blk.\(layer).ffn_"
        weight(to + "gate", from + "gate_proj", [size.feedForward, size.width], bias: .optional)
        weight(to + "up", from + "up_proj", [size.feedForward, size.width], bias: .optional)
        weight(to + "down", from + "down_proj", [size.width, size.feedForward], bias: .optional)
    }

    /// The norms in front of attention and feed-forward.
    mutating func twoNorms(_ layer: Int, _ size: ModelDimensions) {
        norm("blk.\(layer).attn_norm", "model.layers.\(layer).input_layernorm", size.width)
        norm("blk.\(layer).ffn_norm", "model.layers.\(layer).post_attention_layernorm", size.width)
    }
}

extension ModelDimensions {
    /// The rules of a whole decoder: the usual beginning and end around what `layer` adds.
    func rules(_ layer: (inout TensorRules, Int) -> Void) -> [TensorRule] {
        var rules = TensorRules()
        rules.begin(self)
        for number in 0..<layers { layer(&rules, number) }
        rules.end(self)
        return rules.rules
    }
}

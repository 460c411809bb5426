/// Which tokens end an answer.
///
/// Files name one end token, but chat models end a turn with others. Beside the ids that the metadata gives, tokens
/// with one of the texts below count, of whatever kind: converters do not agree on the kind.
enum EndOfGeneration {
    static let texts: Set<String> = [
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
        "<|endoftext|>", "<|end_of_text|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
        "<|end_of_turn|>", "<turn|>", "<|tool_response>", "<end_of_utterance>", "<eos>",
        "<｜end▁of▁sentence｜>", "<｜end▁of▁text｜>", "<|endofmessage|>", "<|fim_pad|>", "<fim-pad>", "<fim_pad>",
        "<PAD>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
    ]

    static func ids(tokens: [[UInt8]], special: SpecialTokens) -> Set<Int> {
        var result = Set(
            [
                special.endOfSequence, special.endOfTurn, special.endOfMessage, special.fillInTheMiddlePadding,
                special.fillInTheMiddleRepository, special.fillInTheMiddleSeparator,
            ].compactMap { $0 })
        var byText: [String: Int] = [:]
        for (id, token) in tokens.enumerated() where !token.isEmpty && token.count <= 40 {
            let text = String(decoding: token, as: UTF8.self)
            guard texts.contains(text) else { continue }
            byText[text] = id
            result.insert(id)
        }
        // gpt-oss: `<|end|>` only closes a channel there; `<|return|>` and `<|call|>` end the answer.
        if byText["<|return|>"] != nil, byText["<|call|>"] != nil, let end = byText["<|end|>"] {
            result.remove(end)
        }
        return result
    }
}

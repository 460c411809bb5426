import ByteIO
import GGUF

/// WordPiece (`tokenizer.ggml.model` = `bert`), from `tokenizer.json` or `vocab.txt`.
///
/// GGUF marks the beginnings of words instead of their continuations: `##ing` is stored as `ing`, `walk` as `▁walk`,
/// control tokens as they are.
enum WordPieceReader {
    static func read(
        _ tokenizer: HuggingFaceTokenizer, vocabulary: [(text: String, id: Int)], prefix: String,
        sources: inout TokenizerSources
    ) throws -> TokenizerParts {
        var table = VocabularyTable(path: tokenizer.path, capacity: vocabulary.count)
        for (text, id) in vocabulary { try table.add(id, VocabularyToken(text: text, kind: .normal)) }
        try AddedTokens.add(tokenizer.addedTokens, to: &table, sources: &sources)
        let normalizer = NormalizerSteps(tokenizer.normalizer)
        let bert = normalizer.first("BertNormalizer")
        let lowercases = normalizer.lowercases
        // BERT strips accents exactly when it lowercases, unless told otherwise.
        let stripsAccents =
            bert?["strip_accents"]?.boolValue ?? (bert == nil ? normalizer.first("StripAccents") != nil : lowercases)
        return try parts(
            table, prefix: prefix, lowercases: lowercases, stripsAccents: stripsAccents, sources: sources)
    }

    /// A `vocab.txt`: one token a line, its id the line's number.
    static func readText(_ text: String, sources: inout TokenizerSources) throws -> TokenizerParts {
        let path = sources.folder.path(of: "vocab.txt")
        var lines = text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        guard lines.count <= VocabularyTable.idLimit else {
            throw ConversionError(.malformed, "the file has \(lines.count) lines, which is absurd", path: path)
        }
        var table = VocabularyTable(path: path, capacity: lines.count)
        for (id, bytes) in lines.enumerated() {
            let line = bytes.last == 0x0D ? bytes.dropLast() : bytes
            guard !line.isEmpty else {
                throw ConversionError(.malformed, "line \(id + 1) is empty; each line is a token", path: path)
            }
            try table.set(id, VocabularyToken(text: String(Substring(line)), kind: .normal))
        }
        for text in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] {
            if let id = table.id(of: text) { try table.replace(id, kind: .control) }
        }
        try AddedTokens.add(try sources.addedTokensJSON(), to: &table, sources: &sources)
        let lowercases = sources.configuration["do_lower_case"]?.boolValue ?? true
        let stripsAccents = sources.configuration["strip_accents"]?.boolValue ?? lowercases
        return try parts(table, prefix: "##", lowercases: lowercases, stripsAccents: stripsAccents, sources: sources)
    }

    private static func parts(
        _ table: VocabularyTable, prefix: String, lowercases: Bool, stripsAccents: Bool, sources: TokenizerSources
    ) throws -> TokenizerParts {
        // The table keeps the texts as they are written: special tokens are looked up by them.
        var parts = TokenizerParts(model: "bert", preTokenizer: sources.preTokenizer ?? "default", table: table)
        let types = sources.modelConfiguration["type_vocab_size"]?.intValue ?? 1
        guard let count = UInt32(exactly: types) else {
            throw ConversionError(
                .malformed, "type_vocab_size is \(types); a count is expected",
                path: sources.folder.path(of: "config.json"))
        }
        parts.normalizerPairs = [
            ("tokenizer.ggml.token_type_count", .uint32(count)),
            ("tokenizer.ggml.normalizer.lowercase", .bool(lowercases)),
            ("tokenizer.ggml.normalizer.strip_accents", .bool(stripsAccents)),
        ]
        parts.continuationPrefix = prefix
        return parts
    }

    /// The text as GGUF stores it.
    static func stored(_ token: VocabularyToken, prefix: String) -> String {
        if token.kind == .control { return token.text }
        guard !prefix.isEmpty, token.text.utf8.starts(with: prefix.utf8) else {
            return String(TokenText.blank) + token.text
        }
        return String(Substring(token.text.utf8.dropFirst(prefix.utf8.count)))
    }
}

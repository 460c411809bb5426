import ByteIO
import GGUF

/// SentencePiece vocabularies: BPE (`tokenizer.ggml.model` = `llama`) and Unigram (`t5`).
enum SentencePieceReader {
    /// Reads a SentencePiece model file, with the added tokens of the files beside it.
    static func read(_ model: SentencePieceModel, name: String, sources: inout TokenizerSources) throws
        -> TokenizerParts
    {
        let path = sources.folder.path(of: name)
        guard model.algorithm == .bytePair || model.algorithm == .unigram else {
            throw ConversionError(
                .unsupported, "SentencePiece models of words or characters are not supported by GGUF", path: path)
        }
        guard !model.treatsBlankAsSuffix else {
            throw ConversionError(
                .unsupported, "the model puts blanks at the end of words, which GGUF readers do not", path: path)
        }
        var table = VocabularyTable(path: path, capacity: model.pieces.count)
        for (id, piece) in model.pieces.enumerated() {
            let text = piece.kind == .userDefined ? TokenText.withBlanks(piece.text) : piece.text
            try table.set(id, VocabularyToken(text: text, kind: piece.kind, score: piece.score))
        }
        if model.algorithm == .unigram, name == "sentencepiece.bpe.model" {
            table = try realigned(table, sources: &sources)
        }
        try overlayAddedTokens(on: &table, sources: &sources)
        var parts = TokenizerParts(
            model: model.algorithm == .bytePair ? "llama" : "t5", preTokenizer: "default", table: table,
            hasScores: true)
        parts.defaultAddsBOS = model.algorithm == .bytePair
        let ids: [(SpecialTokens.Role, Int)] = [
            (.bos, model.beginID), (.eos, model.endID), (.unk, model.unknownID), (.pad, model.paddingID),
        ]
        for (role, id) in ids where name != "sentencepiece.bpe.model" {
            if let kind = table[id]?.kind, kind == .control || kind == .unknown { parts.ownIDs[role] = id }
        }
        if model.algorithm == .unigram {
            parts.addsSpacePrefix = model.addsDummyPrefix
            parts.normalizerPairs = unigramPairs(
                removesExtraBlanks: model.removesExtraBlanks, charsmap: model.charsmap)
        } else {
            parts.addsSpacePrefix = spacePrefix(sources, derived: model.addsDummyPrefix)
            if !model.charsmap.isEmpty {
                sources.warnings.append(
                    "the normalisation rules (\(model.normalizerName)) cannot be stored; readers will not apply them")
            }
        }
        return parts
    }

    static func unigramPairs(removesExtraBlanks: Bool, charsmap: [UInt8]) -> [(key: String, value: GGUFValue)] {
        var pairs: [(key: String, value: GGUFValue)] = [
            ("tokenizer.ggml.remove_extra_whitespaces", .bool(removesExtraBlanks))
        ]
        if !charsmap.isEmpty { pairs.append(("tokenizer.ggml.precompiled_charsmap", .array(GGUFArray(charsmap)))) }
        return pairs
    }

    /// What to write as `add_space_prefix`: what `tokenizer_config.json` says, else only what differs from the default.
    static func spacePrefix(_ sources: TokenizerSources, derived: Bool) -> Bool? {
        if sources.architecture.hasPrefix("gemma") { return false }
        return sources.configuration["add_prefix_space"]?.boolValue ?? (derived ? nil : false)
    }

    /// XLM-RoBERTa's ids: fairseq's four special tokens first, the pieces shifted by one, `<mask>` last.
    private static func realigned(_ table: VocabularyTable, sources: inout TokenizerSources) throws -> VocabularyTable {
        var result = VocabularyTable(path: table.path, capacity: table.count + 2)
        for (id, text) in ["<s>", "<pad>", "</s>", "<unk>"].enumerated() {
            try result.set(id, VocabularyToken(text: text, kind: text == "<unk>" ? .unknown : .control))
        }
        for id in 3..<max(3, table.count) {
            if let piece = table[id] { try result.set(id + 1, piece) }
        }
        try result.set(result.count, VocabularyToken(text: "<mask>", kind: .control))
        return result
    }

    /// Added tokens replace pieces, in the reference converter's order: `added_tokens.json`, `tokenizer_config.json`,
    /// and then, for what those do not list, `tokenizer.json`.
    private static func overlayAddedTokens(on table: inout VocabularyTable, sources: inout TokenizerSources) throws {
        var done: Set<Int> = []
        for token in try sources.addedTokensJSON() {
            try put(token, kind: .userDefined, text: token.text, in: &table, sources: &sources)
        }
        for token in try sources.addedTokensDecoder() {
            let (kind, text) = AddedTokens.stored(token)
            try put(token, kind: kind, text: text, in: &table, sources: &sources)
            done.insert(token.id)
        }
        for token in sources.tokenizer?.addedTokens ?? [] where !done.contains(token.id) {
            let (kind, text) = AddedTokens.stored(token)
            // What the model file itself marks as special stays as it is there.
            if let piece = table[token.id], piece.kind != .normal, ExactString.equal(piece.text, text),
                piece.kind != .userDefined || kind == .userDefined
            {
                continue
            }
            try put(token, kind: kind, text: text, in: &table, sources: &sources)
        }
    }

    private static func put(
        _ token: HuggingFaceTokenizer.AddedToken, kind: TokenKind, text: String, in table: inout VocabularyTable,
        sources: inout TokenizerSources
    ) throws {
        if let old = table[token.id], old.kind != .unused, !ExactString.equal(old.text, token.text),
            !ExactString.equal(old.text, text)
        {
            sources.warnings.append(
                "token \(token.id) \(old.text.quotedForMessage) is replaced by the added token "
                    + token.text.quotedForMessage)
        }
        try table.set(
            token.id, VocabularyToken(text: text, kind: kind, score: VocabularyTable.addedScore))
    }

    // MARK: - tokenizer.json

    /// Unigram from a `tokenizer.json`.
    static func readUnigram(
        _ tokenizer: HuggingFaceTokenizer, pieces: [(text: String, score: Float)], unknownID: Int?,
        hasByteFallback: Bool, sources: inout TokenizerSources
    ) throws -> TokenizerParts {
        var table = VocabularyTable(path: tokenizer.path, capacity: pieces.count)
        for (id, piece) in pieces.enumerated() {
            let isHole = TokenText.isPadding(piece.text)
            let kind: TokenKind =
                id == unknownID
                ? .unknown
                : isHole ? .unused : hasByteFallback && TokenText.byte(piece.text) != nil ? .byte : .normal
            let score = isHole ? VocabularyTable.holeScore : piece.score
            try table.set(id, VocabularyToken(text: piece.text, kind: kind, score: score))
        }
        for token in tokenizer.addedTokens + (try sources.addedTokensDecoder()) {
            let (kind, text) = AddedTokens.stored(token)
            if let piece = table[token.id], ExactString.equal(piece.text, token.text) {
                if piece.kind != .unknown { try table.replace(token.id, kind: kind, text: text) }
            } else if table[token.id] == nil, table.id(of: token.text) == nil {
                try table.set(
                    token.id, VocabularyToken(text: text, kind: kind, score: VocabularyTable.addedScore))
            }
        }
        let normalizer = NormalizerSteps(tokenizer.normalizer)
        let charsmap = try charactersMap(normalizer, path: tokenizer.path)
        sources.warnings += normalizer.warnings(forByteLevel: false)
        var parts = TokenizerParts(model: "t5", preTokenizer: "default", table: table, hasScores: true)
        let blanks = MetaspaceSettings(tokenizer)
        parts.addsSpacePrefix = blanks.addsPrefix || normalizer.prepend != nil
        // Either way of writing it: blanks are squeezed, or text is cut at them and the blanks thrown away.
        let squeezes = normalizer.steps.contains { type, value in
            type == "Replace" && (value["pattern"]?["Regex"]?.stringValue ?? "").hasPrefix(" {2,}")
        }
        parts.normalizerPairs = unigramPairs(
            removesExtraBlanks: squeezes || blanks.splitsAtWhitespace, charsmap: charsmap)
        return parts
    }

    private static func charactersMap(_ normalizer: NormalizerSteps, path: String) throws -> [UInt8] {
        guard let text = normalizer.first("Precompiled")?["precompiled_charsmap"]?.stringValue else { return [] }
        guard let bytes = Base64.decode(text) else {
            throw ConversionError(
                .malformed, "the normalizer's precompiled_charsmap is not Base64", path: path)
        }
        try CharacterMap.check(bytes, path: path)
        return bytes
    }

    /// BPE over characters with byte tokens, as Llama 2's `tokenizer.json` has it.
    ///
    /// Readers choose the pair whose result has the highest score; the merges' order becomes scores.
    static func readBytePair(
        _ tokenizer: HuggingFaceTokenizer, vocabulary: [(text: String, id: Int)],
        merges: [HuggingFaceTokenizer.Merge], flags: HuggingFaceTokenizer.BytePairFlags,
        sources: inout TokenizerSources
    ) throws -> TokenizerParts {
        var table = VocabularyTable(path: tokenizer.path, capacity: vocabulary.count)
        for (text, id) in vocabulary {
            let kind: TokenKind = TokenText.byte(text) != nil ? .byte : text == flags.unknown ? .unknown : .normal
            try table.add(id, VocabularyToken(text: text, kind: kind))
        }
        let isGemma4 = sources.architecture.hasPrefix("gemma4")
        let lines =
            isGemma4 ? BytePairReader.checkedMerges(merges, table, warnings: &sources.warnings) : nil
        try AddedTokens.add(tokenizer.addedTokens, to: &table, sources: &sources)
        if isGemma4 {
            try finishGemma4(&table)
        } else {
            try score(&table, merges: merges, sources: &sources)
        }
        let normalizer = NormalizerSteps(tokenizer.normalizer)
        sources.warnings += normalizer.warnings(forByteLevel: false)
        var parts = TokenizerParts(
            model: isGemma4 ? "gemma4" : "llama", preTokenizer: isGemma4 ? nil : "default", table: table,
            hasScores: true, merges: lines)
        parts.defaultAddsBOS = true
        let prefix = normalizer.prepend != nil || MetaspaceSettings(tokenizer).addsPrefix
        parts.addsSpacePrefix = isGemma4 ? false : spacePrefix(sources, derived: prefix)
        return parts
    }

    /// Gemma 4 merges by its list, so that scores say nothing; and its marks of calls and channels stay visible.
    private static func finishGemma4(_ table: inout VocabularyTable) throws {
        let visible: Set<String> = [
            "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>",
            "<|\"|>",
        ]
        for id in 0..<table.count {
            guard let token = table[id] else { continue }
            try table.replace(
                id, kind: visible.contains(token.text) ? .userDefined : token.kind, score: VocabularyTable.addedScore)
        }
    }

    /// Gives scores that put the merges in their order, the ones SentencePiece itself would have written: 0 for the
    /// first merged piece, -1 for the next, single characters behind them.
    private static func score(
        _ table: inout VocabularyTable, merges: [HuggingFaceTokenizer.Merge], sources: inout TokenizerSources
    ) throws {
        var ranks: [Int: Int] = [:]
        ranks.reserveCapacity(merges.count)
        var pairs = 0
        for merge in merges {
            guard let id = table.id(of: merge.left + merge.right) else { continue }
            pairs += 1
            if ranks[id] == nil { ranks[id] = ranks.count }
        }
        var next = ranks.count
        for id in 0..<table.count where table[id]?.kind == .normal {
            let rank = ranks[id] ?? next
            if ranks[id] == nil { next += 1 }
            try table.replace(id, kind: .normal, score: -Float(rank))
        }
        let possible = splits(table)
        if possible > pairs {
            sources.warnings.append(
                "the merges leave out \(possible - pairs) of \(possible) ways to join two tokens to a third; readers "
                    + "that go by scores will use them")
        }
    }

    /// How many pairs of tokens make up another token.
    private static func splits(_ table: VocabularyTable) -> Int {
        var count = 0
        for slot in table.slots {
            guard let slot, slot.kind == .normal else { continue }
            let scalars = slot.text.unicodeScalars
            guard var cut = scalars.indices.first, scalars.count <= 64 else { continue }
            while true {
                cut = scalars.index(after: cut)
                guard cut < scalars.endIndex else { break }
                if table.id(of: String(scalars[..<cut])) != nil, table.id(of: String(scalars[cut...])) != nil {
                    count += 1
                }
            }
        }
        return count
    }
}

/// How a `tokenizer.json` treats blanks.
struct MetaspaceSettings {
    /// Whether a blank is put before the text.
    var addsPrefix = false
    /// Whether white space only separates.
    var splitsAtWhitespace = false

    init(_ tokenizer: HuggingFaceTokenizer) {
        guard let value = tokenizer.preTokenizer else { return }
        let steps = value["pretokenizers"]?.arrayValue ?? [value]
        for step in steps {
            switch step["type"]?.stringValue {
            case "Metaspace":
                let scheme = step["prepend_scheme"]?.stringValue
                addsPrefix = scheme.map { $0 != "never" } ?? step["add_prefix_space"]?.boolValue ?? true
            case "WhitespaceSplit": splitsAtWhitespace = true
            default: break
            }
        }
    }
}

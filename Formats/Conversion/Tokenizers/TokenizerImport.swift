import ByteIO
import GGUF

/// What a folder's tokenizer files become in a GGUF file.
public struct ImportedTokenizer: Sendable {
    /// All `tokenizer.*` pairs, in the order in which the reference converter writes them.
    public var pairs: [(key: String, value: GGUFValue)]
    /// The number of tokens, padding included.
    public var tokenCount: Int
    /// What the user should know but need not act on.
    public var warnings: [String]
}

/// Reads the tokenizer of a Hugging Face model folder.
///
/// | files | `tokenizer.ggml.model` |
/// | --- | --- |
/// | `tokenizer.json`, BPE over bytes; or `vocab.json` and `merges.txt` | `gpt2` |
/// | `tokenizer.model` of SentencePiece, BPE; or `tokenizer.json`, BPE with byte tokens | `llama` (`gemma4`) |
/// | `spiece.model` and its like, or `tokenizer.json`, Unigram | `t5` |
/// | `tokenizer.json`, WordPiece; or `vocab.txt` | `bert` |
///
/// `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`, `generation_config.json`, `config.json` and
/// the chat templates beside them are read too.
public enum TokenizerImport {
    /// - Parameters:
    ///   - folder: the model's folder.
    ///   - architecture: GGUF's name ("llama", "qwen2"), which decides between forms that look alike.
    ///   - vocabularySize: the rows of the embedding; ids without a token are filled up to it. Nil takes the
    ///     tokenizer's own.
    ///   - preTokenizer: overrides what is recognised ("qwen2").
    /// - Throws: ``ConversionError`` when files are missing or malformed, or the tokenizer is of a kind that GGUF
    ///   readers do not know; then the message names the nearest kind.
    public static func read(
        folder: String, architecture: String, vocabularySize: Int?, preTokenizer: String? = nil
    ) throws -> ImportedTokenizer {
        if let vocabularySize, vocabularySize <= 0 {
            throw ConversionError(.invalidRequest, "a vocabulary of \(vocabularySize) tokens is not possible")
        }
        var sources = try TokenizerSources(
            folder: folder, architecture: architecture, vocabularySize: vocabularySize, preTokenizer: preTokenizer)
        let parts = try self.parts(&sources)
        let special = try SpecialTokens(parts, sources: &sources)
        let templates = try ChatTemplateFiles.pairs(&sources)
        let tokens = try parts.table.padded(to: vocabularySize, warnings: &sources.warnings)

        var pairs: [(key: String, value: GGUFValue)] = [("tokenizer.ggml.model", .text(parts.model))]
        if let name = parts.preTokenizer { pairs.append(("tokenizer.ggml.pre", .text(name))) }
        let texts = tokens.map { token in
            parts.continuationPrefix.map { WordPieceReader.stored(token, prefix: $0) } ?? token.text
        }
        pairs.append(("tokenizer.ggml.tokens", .array(GGUFArray(texts))))
        if parts.hasScores { pairs.append(("tokenizer.ggml.scores", .array(GGUFArray(tokens.map(\.score))))) }
        pairs.append(("tokenizer.ggml.token_type", .array(GGUFArray(tokens.map(\.kind.rawValue)))))
        if let flag = parts.addsSpacePrefix { pairs.append(("tokenizer.ggml.add_space_prefix", .bool(flag))) }
        pairs += parts.normalizerPairs
        if let merges = parts.merges { pairs.append(("tokenizer.ggml.merges", .array(GGUFArray(merges)))) }
        pairs += special.pairs(tokenCount: tokens.count)
        pairs += templates
        return ImportedTokenizer(pairs: pairs, tokenCount: tokens.count, warnings: sources.warnings)
    }

    /// Chooses the files that are the tokenizer.
    ///
    /// A SentencePiece model is preferred to the `tokenizer.json` made from it, for its exact scores; a `tokenizer.json`
    /// of another kind beside it is what transformers would use, and so do we.
    private static func parts(_ sources: inout TokenizerSources) throws -> TokenizerParts {
        if let tokenizer = sources.tokenizer {
            switch tokenizer.model {
            case .unigram(let pieces, let unknownID, let hasByteFallback):
                return try SentencePieceReader.readUnigram(
                    tokenizer, pieces: pieces, unknownID: unknownID, hasByteFallback: hasByteFallback,
                    sources: &sources)
            case .wordPiece(let vocabulary, let prefix, _):
                return try WordPieceReader.read(tokenizer, vocabulary: vocabulary, prefix: prefix, sources: &sources)
            case .bytePair(let vocabulary, let merges, let flags):
                var structure = try PreTokenizerStructure(tokenizer.preTokenizer, path: tokenizer.path)
                if NormalizerSteps(tokenizer.normalizer).first("ByteLevel") != nil { structure.usesByteAlphabet = true }
                guard flags.hasByteFallback, !structure.usesByteAlphabet else {
                    return try BytePairReader.read(
                        .init(
                            path: tokenizer.path, vocabulary: vocabulary, merges: merges,
                            ignoresMerges: flags.ignoresMerges, addedTokens: tokenizer.addedTokens,
                            structure: structure, normalizer: tokenizer.normalizer),
                        sources: &sources)
                }
                if !sources.architecture.hasPrefix("gemma4"), let parts = try sentencePiece(&sources) { return parts }
                return try SentencePieceReader.readBytePair(
                    tokenizer, vocabulary: vocabulary, merges: merges, flags: flags, sources: &sources)
            }
        }
        if let parts = try sentencePiece(&sources) { return parts }
        if let vocabulary = try sources.folder.json("vocab.json") {
            return try BytePairReader.readSlow(vocabulary: vocabulary, sources: &sources)
        }
        if let text = try sources.folder.text("vocab.txt") {
            return try WordPieceReader.readText(text, sources: &sources)
        }
        let isTekken = try sources.folder.file("tekken.json") != nil
        throw ConversionError(
            .missingFile,
            isTekken
                ? "only tekken.json is there, which is not supported; take tokenizer.json from the model's page"
                : "there is no tokenizer: tokenizer.json, tokenizer.model, vocab.json with merges.txt or vocab.txt is needed",
            path: sources.folder.path)
    }

    private static func sentencePiece(_ sources: inout TokenizerSources) throws -> TokenizerParts? {
        for name in ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model"] {
            guard let file = try sources.folder.file(name) else { continue }
            let model = try withExtendedLifetime(file) {
                try SentencePieceModel(file.unsafeBytes, path: sources.folder.path(of: name))
            }
            return try SentencePieceReader.read(model, name: name, sources: &sources)
        }
        return nil
    }
}

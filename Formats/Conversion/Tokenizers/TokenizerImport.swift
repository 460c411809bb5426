import GGUF

/// What a folder's tokenizer files become in a GGUF file.
public struct ImportedTokenizer: Sendable {
    /// All `tokenizer.*` pairs, in the order the reference converter writes them.
    public var pairs: [(key: String, value: GGUFValue)]
    /// The number of tokens, padding included.
    public var tokenCount: Int
    /// What the user should know but need not act on.
    public var warnings: [String]
}

/// Reads the tokenizer of a Hugging Face model folder.
public enum TokenizerImport {
    /// - Parameters:
    ///   - folder: holds `tokenizer.json`, `tokenizer.model`, or `vocab.json` with `merges.txt`, or `vocab.txt`.
    ///   - architecture: GGUF's name ("llama", "qwen2"), which decides between forms that look alike.
    ///   - vocabularySize: the rows of the embedding; unused ids are padded up to it. Nil takes the tokenizer's own.
    ///   - preTokenizer: overrides what is recognised ("qwen2").
    /// - Throws: ``ConversionError``.
    public static func read(
        folder: String, architecture: String, vocabularySize: Int?, preTokenizer: String? = nil
    ) throws -> ImportedTokenizer {
        throw ConversionError(.unsupported, "reading tokenizers is not there yet", path: folder)
    }
}

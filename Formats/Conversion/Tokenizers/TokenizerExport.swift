import GGUF

/// A tokenizer as the files of a Hugging Face model folder.
public struct ExportedTokenizer: Sendable {
    public var files: [(name: String, bytes: [UInt8])]
    public var warnings: [String]
}

/// Writes the tokenizer of a GGUF file as Hugging Face files.
public enum TokenizerExport {
    /// - Throws: ``ConversionError``.
    public static func files(of metadata: GGUFMetadata) throws -> ExportedTokenizer {
        throw ConversionError(.unsupported, "writing tokenizers is not there yet", path: metadata.path)
    }
}

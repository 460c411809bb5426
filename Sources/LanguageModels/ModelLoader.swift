import Conversion
import Foundation
import GGUF
import Kernels
import SoftPrompts
import Tokenization

/// A model ready for use, with its tokenizer and the file or folder it came from.
public struct LoadedModel: Sendable {
    public let model: any LanguageModel
    public let tokenizer: any Tokenizer
    public let source: any ModelSource
    public let path: String

    /// What people call it: `general.name`, or the file's name.
    public var name: String {
        if let name = try? source.metadata.stringIfPresent("general.name"), !name.isEmpty { return name }
        return (path as NSString).lastPathComponent
    }

    /// The base fingerprint; computed once per file and cached under the folder `cache`.
    ///
    /// - Throws: when the file cannot be read through.
    public func fingerprint(cache: String? = nil) throws -> ModelFingerprint {
        try ModelFingerprint.compute(of: file, cacheFolder: cache.map { $0 + "/fingerprints" })
    }
}

/// Opens model files.
public enum ModelLoader {
    /// Maps the file, checks every hyperparameter and tensor, packs the weights and builds the tokenizer.
    ///
    /// - Throws: the format's, the model's or the tokenizer's error, each naming the file.
    public static func load(path: String, pool: ThreadPool) throws -> LoadedModel {
        try load(GGUFSource(GGUFFile(path: path)), pool: pool)
    }

    /// The same of a model in any container.
    ///
    /// Tensors of a GGUF file are read where they are mapped; those of other containers are made in memory, once.
    public static func load(_ source: any ModelSource, pool: ThreadPool) throws -> LoadedModel {
        let path = source.path
        let architecture = try ModelCatalog.architecture(for: source.metadata, path: path)
        let model = try architecture.load(source, pool: pool)
        let tokenizer = try tokenizer(of: source.metadata, path: path)
        guard tokenizer.vocabularyCount <= model.shape.vocabularySize else {
            throw ModelError(
                .invalidTokenizer,
                "the tokenizer has \(tokenizer.vocabularyCount) tokens, but the embedding only "
                    + "\(model.shape.vocabularySize) rows", path: path)
        }
        return LoadedModel(model: model, tokenizer: tokenizer, source: source, path: path)
    }

    /// The tokenizer that a GGUF file describes.
    ///
    /// - Throws: `ModelError.invalidTokenizer` or the tokenizer's own error.
    public static func tokenizer(of file: GGUFFile) throws -> any Tokenizer {
        try tokenizer(of: file.metadata, path: file.path)
    }

    /// The tokenizer that a model's metadata describe.
    ///
    /// - Throws: `ModelError.invalidTokenizer` or the tokenizer's own error.
    public static func tokenizer(of metadata: GGUFMetadata, path: String) throws -> any Tokenizer {
        let prefix = "tokenizer.ggml."
        guard let model = try metadata.stringIfPresent(prefix + "model") else {
            throw ModelError(
                .invalidTokenizer, "tokenizer.ggml.model is missing; the file carries no tokenizer", path: path)
        }
        guard let tokens = try metadata.arrayIfPresent(prefix + "tokens")?.stringBytes, !tokens.isEmpty else {
            throw ModelError(
                .invalidTokenizer, "tokenizer.ggml.tokens is missing or no list of strings", path: path)
        }
        func id(_ role: String) throws -> Int? { try metadata.intIfPresent(prefix + role + "_token_id") }
        let description = TokenizerDescription(
            model: model, preTokenizer: try metadata.stringIfPresent(prefix + "pre"), tokens: tokens,
            kinds: try (metadata.intsIfPresent(prefix + "token_type") ?? []).map {
                TokenKind(rawValue: Int32(truncatingIfNeeded: $0))
            },
            scores: try metadata.floatsIfPresent(prefix + "scores") ?? [],
            merges: try metadata.arrayIfPresent(prefix + "merges")?.stringBytes ?? [],
            special: SpecialTokens(
                beginningOfSequence: try id("bos"), endOfSequence: try id("eos"), endOfTurn: try id("eot"),
                endOfMessage: try id("eom"), unknown: try id("unknown"), separator: try id("seperator"),
                padding: try id("padding"), fillInTheMiddlePadding: try id("fim_pad"),
                fillInTheMiddleRepository: try id("fim_rep"), fillInTheMiddleSeparator: try id("fim_sep")),
            addsBeginning: try metadata.boolIfPresent(prefix + "add_bos_token"),
            addsEnd: try metadata.boolIfPresent(prefix + "add_eos_token"),
            addsSpacePrefix: try metadata.boolIfPresent(prefix + "add_space_prefix"))
        return try TokenizerCatalog.make(description)
    }
}

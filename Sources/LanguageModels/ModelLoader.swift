import Conversion
import Foundation
import GGUF
import Kernels
import SoftPrompts
import Tokenization
import TokenizerFiles

/// A model ready for use, with its tokenizer and the file it came from.
public struct LoadedModel: Sendable {
    public let model: any LanguageModel
    public let tokenizer: any Tokenizer
    public let file: GGUFFile
    public let path: String

    /// What people call it: `general.name`, or the file's name.
    public var name: String {
        if let name = try? file.metadata.stringIfPresent("general.name"), !name.isEmpty { return name }
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
        let file = try GGUFFile(path: path)
        let architecture = try ModelCatalog.architecture(for: file, path: path)
        let model = try architecture.load(file, pool: pool)
        let tokenizer = try tokenizer(of: file)
        guard tokenizer.vocabularyCount <= model.shape.vocabularySize else {
            throw ModelError(
                .invalidTokenizer,
                "the tokenizer has \(tokenizer.vocabularyCount) tokens, but the embedding only "
                    + "\(model.shape.vocabularySize) rows", path: path)
        }
        return LoadedModel(model: model, tokenizer: tokenizer, file: file, path: path)
    }

    /// The tokenizer that a GGUF file describes.
    ///
    /// - Throws: the tokenizer's error or the format's, each naming the file.
    public static func tokenizer(of file: GGUFFile) throws -> any Tokenizer {
        try GGUFTokenizer.make(from: file)
    }
}

import Conversion
import Foundation
import GGUF
import Kernels
import SoftPrompts
import Tokenization
import TokenizerFiles

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
        try ModelFingerprint.compute(of: source, cacheFolder: cache.map { $0 + "/fingerprints" })
    }
}

/// Opens models: GGUF files and Hugging Face folders.
public enum ModelLoader {
    /// Maps the file or the folder's files, checks every hyperparameter and tensor, packs the weights and builds the
    /// tokenizer.
    ///
    /// - Throws: the format's, the model's or the tokenizer's error, each naming the file.
    public static func load(path: String, pool: ThreadPool) throws -> LoadedModel {
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
            return try load(HuggingFaceSource(folder: path), pool: pool)
        }
        return try load(GGUFSource(GGUFFile(path: path)), pool: pool)
    }

    /// The same of a model in any container.
    ///
    /// Tensors of a GGUF file are read where they are mapped; those of other containers are made in memory, once.
    /// - Parameter adapters: LoRA adapters that apply to it, made for this source.
    public static func load(
        _ source: any ModelSource, adapters: [ScaledAdapter] = [], pool: ThreadPool
    ) throws -> LoadedModel {
        let path = source.path
        let architecture = try ModelCatalog.architecture(for: source.metadata, path: path)
        let model = try architecture.load(source, adapters: adapters, pool: pool)
        let tokenizer = try GGUFTokenizer.make(from: source.metadata, path: path)
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
    /// - Throws: the tokenizer's error or the format's, each naming the file.
    public static func tokenizer(of file: GGUFFile) throws -> any Tokenizer {
        try GGUFTokenizer.make(from: file)
    }
}

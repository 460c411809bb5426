import Foundation
import OCIArtifacts
import Safetensors
import SoftPrompts

/// A layer beside the prompt itself: the evaluation that justifies it, the training log, a model card.
public struct PromptLayer: Hashable, Sendable {
    public let mediaType: String
    /// The file name that clients give it when they pull.
    public let title: String
    public let bytes: [UInt8]

    public init(mediaType: String, title: String, bytes: [UInt8]) {
        self.mediaType = mediaType
        self.title = title
        self.bytes = bytes
    }

    public static func evaluation(json: [UInt8]) -> PromptLayer {
        PromptLayer(mediaType: MediaType.softPromptEvaluation, title: "evaluation.json", bytes: json)
    }

    public static func trainingLog(_ lines: [UInt8]) -> PromptLayer {
        PromptLayer(mediaType: MediaType.softPromptTrainingLog, title: "training.jsonl", bytes: lines)
    }

    public static func modelCard(markdown: [UInt8]) -> PromptLayer {
        PromptLayer(mediaType: MediaType.softPromptModelCard, title: "README.md", bytes: markdown)
    }
}

/// A soft prompt as an OCI artifact: manifest, blobs, and the base anchor that is its subject.
///
/// A function of its inputs alone: the same prompt gives the same digest, so storing it twice stores it once.
public struct PromptArtifact: Sendable {
    public let manifest: Manifest
    /// The manifest's exact bytes.
    public let bytes: [UInt8]
    public let digest: Digest
    /// Every blob that the manifest needs, config first.
    public let blobs: [(descriptor: Descriptor, bytes: [UInt8])]
    public let anchor: BaseAnchor

    /// Builds the artifact.
    ///
    /// - Parameters:
    ///   - encoding: how values are stored; F32 is exact.
    ///   - parent: the manifest digest of the version that this one was made from.
    ///   - layers: further layers, in this order.
    ///   - annotations: added to the manifest; cannot replace those the prompt itself determines.
    /// - Throws: `SoftPromptError` when the prompt is not valid; ``RegistryError``.
    public init(
        _ prompt: SoftPrompt, encoding: PromptEncoding = PromptEncoding(.f32), parent: Digest? = nil,
        layers: [PromptLayer] = [],
        annotations: [String: String] = [:]
    ) throws {
        let files = try SoftPromptFile(prompt, encoding: encoding)
        anchor = BaseAnchor(fingerprint: try Digest(prompt.base.fingerprint))
        let config = Descriptor(of: files.configuration, mediaType: MediaType.softPromptConfig)
        var blobs = [(descriptor: config, bytes: files.configuration)]
        let standard = [
            PromptLayer(
                mediaType: MediaType.softPromptTensor, title: SoftPromptFile.tensorFileName, bytes: files.tensors),
            PromptLayer(
                mediaType: MediaType.softPromptPEFTConfig, title: SoftPromptFile.peftConfigurationFileName,
                bytes: files.peftConfiguration),
        ]
        for layer in standard + layers {
            let titles = [AnnotationKey.title: layer.title, AnnotationKey.fileName: layer.title]
            blobs.append((Descriptor(of: layer.bytes, mediaType: layer.mediaType, annotations: titles), layer.bytes))
        }
        var all = annotations
        all[AnnotationKey.baseFingerprint] = prompt.base.fingerprint
        all[AnnotationKey.baseWeights] = prompt.base.weights
        all[AnnotationKey.baseEmbedding] = prompt.base.embedding
        all[AnnotationKey.baseTokenizer] = prompt.base.tokenizer
        all[AnnotationKey.baseArchitecture] = prompt.base.architecture
        all[AnnotationKey.baseName] = prompt.baseName
        all[AnnotationKey.tokens] = String(prompt.virtualTokenCount)
        all[AnnotationKey.columns] = String(prompt.columns)
        all[AnnotationKey.dtype] = encoding.name
        all[AnnotationKey.placement] = prompt.placement.rawValue
        all[AnnotationKey.method] = prompt.method
        if let parent { all[AnnotationKey.parent] = parent.description }
        self.blobs = blobs
        manifest = Manifest(
            artifactType: MediaType.softPrompt, config: config, layers: blobs.dropFirst().map(\.descriptor),
            subject: anchor.descriptor, annotations: all)
        bytes = manifest.serialized
        digest = .sha256(of: bytes)
    }

    /// Puts anchor and blobs into a repository: all that must be there before the manifest.
    func writeContent(to store: any RegistryStore, in repository: RepositoryName) async throws {
        let empty = Descriptor.empty
        if try await store.manifest(.tag(anchor.tag), in: repository)?.digest != anchor.digest {
            if try await store.blob(empty.digest, in: repository) == nil {
                try await store.writeBlob(Descriptor.emptyContent, in: repository)
            }
            _ = try await store.putManifest(
                anchor.bytes, mediaType: MediaType.imageManifest, as: .tag(anchor.tag), tags: [], in: repository)
        }
        for blob in blobs where try await store.blob(blob.descriptor.digest, in: repository) == nil {
            try await store.writeBlob(blob.bytes, in: repository)
        }
    }
}

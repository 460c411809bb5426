import Foundation
import OCIArtifacts
import Safetensors
import SoftPrompts

/// Versioned soft prompts on top of any store.
///
///     let registry = PromptRegistry(try EmbeddedStore(path: "…/registry"))
///     let version = try await registry.store(prompt, name: "demo/gloss-category")
///     let loaded = try await registry.load("demo/gloss-category:v1")
public struct PromptRegistry: Sendable {
    /// Where everything is kept.
    public let backend: any RegistryStore

    public init(_ backend: any RegistryStore) {
        self.backend = backend
    }

    /// A prompt read back, with what its manifest says.
    public struct Loaded: Sendable {
        public let prompt: SoftPrompt
        public let record: PromptRecord
        /// The exact files, for writing a folder.
        public let files: SoftPromptFile
        /// Layers beside the prompt; read one with ``PromptRegistry/layer(_:of:)``.
        public let extraLayers: [Descriptor]
    }

    // MARK: - Storing

    /// Stores a prompt as the next version of `name` and moves `latest` to it.
    ///
    /// The number is picked in the transaction that stores the manifest. Storing the same prompt with the same options
    /// again gives the same version.
    ///
    /// - Parameters:
    ///   - encoding: F32 keeps every bit; F16 and BF16 halve the size and round; I8 quarters it.
    ///   - tags: movable tags to set on it.
    ///   - parent: the manifest digest of the version it was made from.
    ///   - layers: evaluation, training log, model card.
    ///   - metrics: short results shown in lists; each becomes an annotation `dev.incipit.metric.<name>`.
    ///   - created: written down only when given: the digest then depends on it.
    /// - Throws: `SoftPromptError` when the prompt is not valid; ``RegistryError``.
    @discardableResult
    public func store(
        _ prompt: SoftPrompt, name: RepositoryName, encoding: PromptEncoding = PromptEncoding(.f32), tags: [Tag] = [],
        parent: Digest? = nil, layers: [PromptLayer] = [], metrics: [String: String] = [:], created: Date? = nil,
        annotations: [String: String] = [:]
    ) async throws -> VersionReceipt {
        if let tag = tags.first(where: { $0.versionNumber != nil || $0.isReferrersFallback || $0.isBaseAnchor }) {
            throw RegistryError(
                .denied,
                "\(tag) is reserved: version numbers are given by the registry, other tags are yours to choose",
                repository: name)
        }
        if let parent, try await backend.manifest(.digest(parent), in: name) == nil {
            throw RegistryError(
                .manifestUnknown, "the parent \(parent) is not in \(name); name a version that is", repository: name,
                digest: parent)
        }
        var all = annotations
        for (key, value) in metrics { all[AnnotationKey.metricPrefix + key] = value }
        if let created { all[AnnotationKey.created] = ISO8601DateFormatter().string(from: created) }
        let artifact = try PromptArtifact(
            prompt, encoding: encoding, parent: parent, layers: layers, annotations: all)
        try await artifact.writeContent(to: backend, in: name)
        return try await backend.storeNextVersion(
            artifact.bytes, mediaType: MediaType.imageManifest, tags: tags, in: name)
    }

    // MARK: - Loading

    /// Loads `name:tag`, `name@digest`, or the latest version of `name`.
    public func load(_ text: String) async throws -> Loaded {
        let reference: Reference
        do { reference = try Reference(text) } catch { throw RegistryError(error) }
        if let host = reference.host {
            throw RegistryError(
                .nameInvalid, "\(text) is on \(host); pull it first, or name a prompt of this registry",
                repository: reference.repository)
        }
        return try await load(reference.reference ?? .tag(.latest), of: reference.repository)
    }

    /// Loads a version, every link of the chain from tag to manifest to bytes verified.
    ///
    /// - Throws: ``RegistryError``: `.manifestUnknown` (with what there is instead), `.notASoftPrompt`, `.corrupt`;
    ///   `SoftPromptError` for content that is wrong in itself.
    public func load(_ reference: ManifestReference, of name: RepositoryName) async throws -> Loaded {
        let (stored, manifest) = try await manifest(reference, of: name)
        guard let config = manifest.config else { throw Self.notAPrompt(stored, name, "it has no config") }
        func only(_ mediaType: String) throws -> Descriptor {
            let matches = manifest.layers.filter { $0.mediaType == mediaType }
            guard matches.count == 1 else {
                throw Self.notAPrompt(stored, name, "it has \(matches.count) layers of type \(mediaType), not one")
            }
            return matches[0]
        }
        let tensors = try only(MediaType.softPromptTensor)
        let peft = try only(MediaType.softPromptPEFTConfig)
        let files = SoftPromptFile(
            tensors: try await bytes(of: tensors, in: name, limit: Self.largestTensorFile),
            peftConfiguration: try await bytes(of: peft, in: name), configuration: try await bytes(of: config, in: name)
        )
        let prompt = try files.prompt(name: "\(name):\(reference)")
        let anchor = BaseAnchor(fingerprint: try Digest(prompt.base.fingerprint))
        guard manifest.annotations[AnnotationKey.baseFingerprint] == prompt.base.fingerprint,
            manifest.subject == nil || manifest.subject?.digest == anchor.digest
        else {
            throw Self.notAPrompt(stored, name, "its manifest and its configuration name different bases")
        }
        let extra = manifest.layers.filter { $0.digest != tensors.digest && $0.digest != peft.digest }
        return Loaded(
            prompt: prompt, record: try await record(stored, manifest, of: name), files: files, extraLayers: extra)
    }

    /// What is known of a version without reading its values.
    public func record(_ reference: ManifestReference, of name: RepositoryName) async throws -> PromptRecord {
        let (stored, manifest) = try await manifest(reference, of: name)
        return try await record(stored, manifest, of: name)
    }

    /// The bytes of a layer of a version.
    public func layer(_ descriptor: Descriptor, of name: RepositoryName) async throws -> [UInt8] {
        try await bytes(of: descriptor, in: name)
    }

    /// 8 GiB of F32 and a header: the most a prompt may have.
    private static let largestTensorFile = (8 << 30) + (1 << 20)

    // MARK: - Tags

    /// Points a movable tag at what `reference` means now: promotion and rollback are both this.
    ///
    /// - Throws: `.manifestUnknown`; `.denied` for a version tag, which never moves.
    public func setTag(_ tag: Tag, to reference: ManifestReference, of name: RepositoryName) async throws {
        let (stored, _) = try await manifest(reference, of: name)
        _ = try await backend.putManifest(
            stored.bytes, mediaType: stored.mediaType, as: .tag(tag), tags: [], in: name)
    }

    // MARK: - Helpers

    private func manifest(
        _ reference: ManifestReference, of name: RepositoryName
    ) async throws -> (StoredManifest, Manifest) {
        guard let stored = try await backend.manifest(reference, in: name) else {
            throw try await missing(reference, of: name)
        }
        let found = Digest.of(stored.bytes, algorithm: stored.digest.algorithm)
        guard found == stored.digest, Self.names(reference, stored.digest) else {
            throw RegistryError(
                .corrupt, "manifest \(reference) of \(name) has bytes whose digest is \(found)", repository: name,
                digest: stored.digest)
        }
        let manifest: Manifest
        do {
            manifest = try Manifest.parse(stored.bytes, mediaType: stored.mediaType)
        } catch {
            throw Self.notAPrompt(stored, name, error.message)
        }
        guard manifest.effectiveArtifactType == MediaType.softPrompt else {
            throw Self.notAPrompt(
                stored, name, "its artifact type is \(manifest.effectiveArtifactType ?? "not given")")
        }
        return (stored, manifest)
    }

    private static func names(_ reference: ManifestReference, _ digest: Digest) -> Bool {
        if case .digest(let wanted) = reference { wanted == digest } else { true }
    }

    private func missing(_ reference: ManifestReference, of name: RepositoryName) async throws -> RegistryError {
        guard try await backend.repositoryExists(name) else {
            return RegistryError(
                .nameUnknown, "there is no prompt \(name) in this registry", repository: name)
        }
        let tags = try await backend.tags(in: name, last: nil, limit: nil)
            .filter { !$0.isReferrersFallback && !$0.isBaseAnchor }
        let list = tags.isEmpty ? "it has no tags" : "there are " + tags.map(\.description).joined(separator: ", ")
        return RegistryError(.manifestUnknown, "\(name) has no \(reference); \(list)", repository: name)
    }

    private func record(
        _ stored: StoredManifest, _ manifest: Manifest, of name: RepositoryName
    ) async throws -> PromptRecord {
        let tags = try await backend.tagDigests(in: name).filter { $0.value == stored.digest }.map(\.key)
        return PromptRecord(
            name: name, digest: stored.digest, tags: tags, annotations: manifest.annotations,
            manifestSize: stored.bytes.count)
    }

    private func bytes(of descriptor: Descriptor, in name: RepositoryName, limit: Int = 64 << 20) async throws
        -> [UInt8]
    {
        let bytes = try await backend.readBlob(descriptor.digest, in: name, limit: limit)
        guard bytes.count == descriptor.size,
            Digest.of(bytes, algorithm: descriptor.digest.algorithm) == descriptor.digest
        else {
            throw RegistryError(
                .corrupt, "blob \(descriptor.digest) of \(name) came with other bytes than its digest stands for",
                repository: name, digest: descriptor.digest)
        }
        return bytes
    }

    private static func notAPrompt(_ stored: StoredManifest, _ name: RepositoryName, _ why: String) -> RegistryError {
        RegistryError(
            .notASoftPrompt, "\(name)@\(stored.digest.short) is not a soft prompt that can be loaded: \(why)",
            repository: name, digest: stored.digest)
    }
}

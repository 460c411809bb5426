import Foundation
import OCIArtifacts
import SoftPrompts

/// What is said of a version by those who signed it.
public enum PromptSignatures {
    /// The statement of `cosign sign`: this manifest is the signer's.
    public static let cosignPredicate = "https://sigstore.dev/cosign/sign/v1"
    /// SLSA provenance v1: how it was made.
    public static let provenancePredicate = "https://slsa.dev/provenance/v1"
    /// `artifactType` of an SSHSIG over the manifest's bytes.
    public static let sshArtifactType = "application/vnd.incipit.sshsig.v1"
    static let predicateKey = "dev.sigstore.bundle.predicateType"
    static let contentKey = "dev.sigstore.bundle.content"

    /// One signature that a key of ours made.
    public struct Valid: Hashable, Sendable {
        /// The referrer that holds it.
        public let referrer: Digest
        /// ``VerificationKey/hint``.
        public let key: String
        /// nil for SSHSIG, which says no more than that the manifest is signed.
        public let predicateType: String?
    }

    /// SLSA's predicate for a tuned prompt: the base and the data are what it was made from, the settings how.
    static func provenance(of prompt: SoftPrompt, tool: String) throws -> JSONNode {
        var parameters: [String: JSONNode] = ["method": .string(prompt.method)]
        var dependencies: [JSONNode] = [
            .object([
                "name": .string(prompt.baseName), "digest": .object(["sha256": .string(hex(prompt.base.fingerprint))]),
            ])
        ]
        for (key, value) in prompt.training {
            let node = try JSONNode.parse(value.canonicalBytes())
            if let text = node.string, text.hasPrefix("sha256:") {
                dependencies.append(
                    .object(["name": .string(key), "digest": .object(["sha256": .string(hex(text))])]))
            } else {
                parameters[key] = node
            }
        }
        dependencies.sort { ($0["name"]?.string ?? "") < ($1["name"]?.string ?? "") }
        return .object([
            "buildDefinition": .object([
                "buildType": .string("urn:incipit:tune:v1"), "externalParameters": .object(parameters),
                "resolvedDependencies": .array(dependencies),
            ]),
            "runDetails": .object(["builder": .object(["id": .string("urn:incipit:\(tool)")])]),
        ])
    }

    private static func hex(_ digest: String) -> String { String(digest.dropFirst("sha256:".count)) }

    /// The digests of the three files that `export` writes and `pull` of any OCI client leaves, by name.
    public static func files(of loaded: PromptRegistry.Loaded) -> [String: Digest] {
        [
            SoftPromptFile.tensorFileName: .sha256(of: loaded.files.tensors),
            SoftPromptFile.peftConfigurationFileName: .sha256(of: loaded.files.peftConfiguration),
            SoftPromptFile.configurationFileName: .sha256(of: loaded.files.configuration),
        ]
    }
}

extension PromptRegistry {
    /// Signs a version; the signatures are stored beside it as referrers, and travel with `push --referrers`.
    ///
    /// A P-256 key makes three bundles: cosign's statement over the manifest, OpenSSF model signing's over the files, and
    /// the provenance. An ed25519 key makes an SSHSIG over the manifest's bytes. What this key has signed already is not
    /// signed again.
    ///
    /// - Parameter tool: name and version of what made the prompt, for the provenance.
    /// - Returns: the referrers' digests, new and old.
    @discardableResult
    public func sign(
        _ reference: ManifestReference, of name: RepositoryName, key: SigningKey, tool: String
    ) async throws -> [Digest] {
        let loaded = try await load(reference, of: name)
        guard let stored = try await backend.manifest(.digest(loaded.record.digest), in: name) else {
            throw RegistryError.unknownManifest(reference, in: name)
        }
        let known = try await signaturesThatHold(of: stored, in: name, keys: [key.verificationKey], store: backend)
        switch key {
        case .ed25519(let key):
            if let old = known.first(where: { $0.predicateType == nil }) { return [old.referrer] }
            let text = try SSHSignature.sign(stored.bytes, key: key)
            return [
                try await attach(
                    Array(text.utf8), type: PromptSignatures.sshArtifactType, to: stored, in: name, annotations: [:])
            ]
        case .p256(let key):
            let subject = Statement.Subject(name: name.description, digest: stored.digest)
            let statements = [
                Statement(
                    subjects: [subject], predicateType: PromptSignatures.cosignPredicate, predicate: .object([:])),
                ModelSignature.statement(name: name.description, files: PromptSignatures.files(of: loaded)),
                Statement(
                    subjects: [subject], predicateType: PromptSignatures.provenancePredicate,
                    predicate: try PromptSignatures.provenance(of: loaded.prompt, tool: tool)),
            ]
            var result: [Digest] = []
            for statement in statements {
                if let old = known.first(where: { $0.predicateType == statement.predicateType }) {
                    result.append(old.referrer)
                    continue
                }
                let bundle = try SigstoreBundle(signing: statement, key: key)
                result.append(
                    try await attach(
                        bundle.bytes, type: SigstoreBundle.mediaType, to: stored, in: name,
                        annotations: [
                            PromptSignatures.contentKey: "dsse-envelope",
                            PromptSignatures.predicateKey: statement.predicateType,
                        ]))
            }
            return result
        }
    }

    private func attach(
        _ bytes: [UInt8], type: String, to subject: StoredManifest, in name: RepositoryName,
        annotations: [String: String]
    ) async throws -> Digest {
        // The name that clients give the file when they pull it; as cosign's, without a colon.
        let digest = Digest.sha256(of: bytes)
        let ending = type == SigstoreBundle.mediaType ? "sigstore.json" : "sig"
        let title = [AnnotationKey.title: "\(digest.algorithm.rawValue)-\(digest.hex).\(ending)"]
        let manifest = Manifest(
            artifactType: type, config: .empty,
            layers: [Descriptor(of: bytes, mediaType: type, annotations: title)],
            subject: Descriptor(mediaType: subject.mediaType, digest: subject.digest, size: subject.bytes.count),
            annotations: annotations)
        try await backend.writeBlob(Descriptor.emptyContent, in: name)
        try await backend.writeBlob(bytes, in: name)
        let serialized = manifest.serialized
        return try await backend.putManifest(
            serialized, mediaType: manifest.mediaType, as: .digest(.sha256(of: serialized)), tags: [], in: name
        ).digest
    }

    /// The signatures of a version that hold for one of the keys.
    public func validSignatures(
        _ reference: ManifestReference, of name: RepositoryName, keys: [VerificationKey]
    ) async throws -> [PromptSignatures.Valid] {
        guard let stored = try await backend.manifest(reference, in: name) else {
            throw RegistryError.unknownManifest(reference, in: name)
        }
        return try await signaturesThatHold(of: stored, in: name, keys: keys, store: backend)
    }
}

/// The most signatures of one manifest that are looked at: whoever can push could attach any number.
private let maximumSignatures = 200

/// The signatures of a manifest that hold for one of the keys, in any store. What is damaged, by other keys, or about
/// something else counts as absent.
func signaturesThatHold(
    of stored: StoredManifest, in name: RepositoryName, keys: [VerificationKey], store: any RegistryStore
) async throws -> [PromptSignatures.Valid] {
    var result: [PromptSignatures.Valid] = []
    for type in [SigstoreBundle.mediaType, PromptSignatures.sshArtifactType] {
        let referrers = try await store.referrers(of: stored.digest, artifactType: type, in: name)
        for referrer in referrers.prefix(maximumSignatures) {
            guard let held = try await store.manifest(.digest(referrer.digest), in: name),
                let manifest = try? Manifest.parse(held.bytes, mediaType: held.mediaType),
                manifest.subject?.digest == stored.digest, manifest.layers.count == 1,
                let layer = manifest.layers.first,
                layer.size <= SigstoreBundle.maximumSize,
                let bytes = try? await store.readBlob(layer.digest, in: name, limit: SigstoreBundle.maximumSize),
                Digest.of(bytes, algorithm: layer.digest.algorithm) == layer.digest
            else { continue }
            for key in keys {
                guard let predicate = holds(bytes, type: type, of: stored, by: key) else { continue }
                result.append(.init(referrer: referrer.digest, key: key.hint, predicateType: predicate.type))
                break
            }
        }
    }
    return result
}

/// What a signature says, if it holds for the key and, where it names a manifest, for this one.
private func holds(_ bytes: [UInt8], type: String, of stored: StoredManifest, by key: VerificationKey) -> (
    type: String?, Void
)? {
    switch key {
    case .ed25519(let key):
        guard type == PromptSignatures.sshArtifactType,
            SSHSignature.isValid(String(decoding: bytes, as: UTF8.self), of: stored.bytes, key: key)
        else { return nil }
        return (nil, ())
    case .p256(let key):
        guard type == SigstoreBundle.mediaType, let bundle = try? SigstoreBundle(bytes),
            let statement = try? bundle.verified(by: key)
        else { return nil }
        // The files' statement is not about the manifest: it is checked where the files are.
        let isAboutFiles = statement.predicateType == ModelSignature.predicateType
        guard isAboutFiles || statement.subjects.contains(where: { $0.digest == stored.digest }) else { return nil }
        return (statement.predicateType, ())
    }
}

import Foundation
import OCIArtifacts
import SoftPrompts
import Synchronization
import TestSupport
import Testing

@testable import PromptRegistry

@Suite struct PromptRegistryTests {
    let name: RepositoryName

    init() throws { name = try RepositoryName("demo/gloss") }

    static func fingerprint(_ seed: UInt8) -> BaseFingerprint {
        func part(_ index: UInt8) -> String { Digest.sha256(of: [seed, index]).description }
        return BaseFingerprint(
            fingerprint: part(0), weights: part(1), embedding: part(2), tokenizer: part(3), architecture: part(4))
    }

    static func prompt(_ seed: UInt8, base: UInt8 = 1, tokens: Int = 5) throws -> SoftPrompt {
        let shape = ModelShape(layerCount: 2, hiddenSize: 64, headCount: 4, keyValueHeadCount: 2, headDimension: 16)
        let noise = RegistryStoreChecks.noise(tokens * 128, seed: UInt64(seed))
        return try SoftPrompt(
            placement: .keysAndValues, virtualTokenCount: tokens, values: noise.map { Float($0) / 255 - 0.5 },
            shape: shape, base: fingerprint(base), baseName: "tiny", method: "prefix-tuning",
            training: ["seed": .integer(Int64(seed))])
    }

    @Test(arguments: [true, false])
    func storesAndLoads(isEmbedded: Bool) async throws {
        let folder = try TemporaryFolder()
        let registry = PromptRegistry(isEmbedded ? try folder.open() as any RegistryStore : MemoryStore())
        let one = try Self.prompt(1)
        let first = try await registry.store(one, name: name, metrics: ["accuracy": "0.91"])
        #expect(first.number == 1 && first.isNew)
        let again = try await registry.store(one, name: name, metrics: ["accuracy": "0.91"])
        #expect(again.number == 1 && !again.isNew && again.digest == first.digest)
        let two = try Self.prompt(2)
        let second = try await registry.store(
            two, name: name, tags: [OCIArtifacts.Tag("best")], parent: first.digest,
            layers: [.evaluation(json: Array("{\"accuracy\":0.93}".utf8)), .trainingLog(Array("{}\n".utf8))])
        #expect(second.number == 2)

        #expect(try await registry.load("demo/gloss:v1").prompt == one)
        let loaded = try await registry.load("demo/gloss")
        #expect(loaded.prompt == two)
        #expect(loaded.record.version == 2 && loaded.record.parent == first.digest)
        #expect(Set(loaded.record.tags.map(\.description)) == ["v2", "latest", "best"])
        #expect(
            loaded.extraLayers.map(\.mediaType) == [MediaType.softPromptEvaluation, MediaType.softPromptTrainingLog])
        #expect(try await registry.layer(loaded.extraLayers[0], of: name) == Array("{\"accuracy\":0.93}".utf8))
        #expect(try await registry.load("demo/gloss@\(first.digest)").record.metrics == ["accuracy": "0.91"])

        try await registry.setTag(OCIArtifacts.Tag("best"), to: .tag(.version(1)), of: name)
        #expect(try await registry.load("demo/gloss:best").prompt == one)
        await #expect(throws: RegistryError.self) {
            try await registry.setTag(.version(2), to: .tag(.version(1)), of: name)
        }
    }

    @Test func theArtifactIsDeterministic() throws {
        let a = try PromptArtifact(Self.prompt(3))
        let b = try PromptArtifact(Self.prompt(3))
        #expect(a.bytes == b.bytes)
        #expect(
            a.manifest.subject?.digest == BaseAnchor(fingerprint: try Digest(Self.fingerprint(1).fingerprint)).digest)
        #expect(
            a.manifest.layers.compactMap { $0.annotations?["org.opencontainers.image.title"] } == [
                "adapter_model.safetensors", "adapter_config.json",
            ])
        #expect(try Manifest.parse(a.bytes).serialized == a.bytes)
    }

    @Test(arguments: [true, false])
    func listsByBase(isEmbedded: Bool) async throws {
        let folder = try TemporaryFolder()
        let registry = PromptRegistry(isEmbedded ? try folder.open() as any RegistryStore : MemoryStore())
        let other = try RepositoryName("demo/other")
        try await registry.store(Self.prompt(1, base: 1), name: name)
        try await registry.store(Self.prompt(2, base: 2), name: name)
        try await registry.store(Self.prompt(3, base: 1), name: other)
        let mine = try await registry.list(base: Self.fingerprint(1))
        #expect(mine.map(\.displayName) == ["demo/gloss:v1", "demo/other:v1"])
        let all = try await registry.list()
        #expect(all.map(\.displayName) == ["demo/gloss:v1", "demo/gloss:v2", "demo/other:v1"])
        #expect(all.first?.tokens == 5 && all.first?.baseName == "tiny")
        let none = try await registry.list(base: Self.fingerprint(9))
        #expect(none.isEmpty)
    }

    @Test func errorsSayWhatThereIs() async throws {
        let registry = PromptRegistry(MemoryStore())
        try await registry.store(Self.prompt(1), name: name)
        do {
            _ = try await registry.load("demo/gloss:v7")
            Issue.record("v7 does not exist")
        } catch let error as RegistryError {
            #expect(error.code == .manifestUnknown && error.message == "demo/gloss has no v7; there are latest, v1")
        }
        for text in ["demo/nothing:v1", "host.example/demo/gloss:v1", "Bad Name"] {
            await #expect(throws: RegistryError.self) { try await registry.load(text) }
        }
        let anchor = BaseAnchor(fingerprint: try Digest(Self.fingerprint(1).fingerprint))
        await #expect { try await registry.load("demo/gloss:\(anchor.tag)") } throws: {
            ($0 as? RegistryError)?.code == .notASoftPrompt
        }
        await #expect(throws: RegistryError.self) {
            try await registry.store(Self.prompt(2), name: name, tags: [.version(9)])
        }
    }

    @Test func aLyingManifestIsRefused() async throws {
        let store = MemoryStore()
        let artifact = try PromptArtifact(Self.prompt(1, base: 1))
        try await artifact.writeContent(to: store, in: name)
        var manifest = artifact.manifest
        manifest.annotations[AnnotationKey.baseFingerprint] = Self.fingerprint(2).fingerprint
        _ = try await store.putManifest(
            manifest.serialized, mediaType: manifest.mediaType, as: .tag(.latest), tags: [], in: name)
        await #expect { try await PromptRegistry(store).load("demo/gloss") } throws: {
            ($0 as? RegistryError)?.code == .notASoftPrompt
        }
    }

    @Test func copiesBetweenStores() async throws {
        let folder = try TemporaryFolder()
        let source = try folder.open()
        let target = MemoryStore()
        let there = try RepositoryName("mirror/gloss")
        let registry = PromptRegistry(source)
        let first = try await registry.store(Self.prompt(1, tokens: 400), name: name)
        try await RegistryStoreChecks.push(
            "signature", to: source, name,
            subject: Descriptor(mediaType: MediaType.imageManifest, digest: first.digest, size: 1))
        let reports = Mutex<[CopyProgress]>([])
        let receipt = try await copyArtifact(
            .tag(.version(1)), from: source, repository: name, to: target, repository: there, includeReferrers: true
        ) { progress in reports.withLock { $0.append(progress) } }
        #expect(receipt.digest == first.digest)
        #expect(receipt.progress.bytesCopied == receipt.progress.bytesTotal && receipt.progress.bytesCopied > 200_000)
        #expect(reports.withLock { $0.last } == receipt.progress)
        let copied = try await PromptRegistry(target).load("mirror/gloss:v1")
        #expect(try copied.prompt == Self.prompt(1, tokens: 400))
        let tags = try await target.tags(in: there, last: nil, limit: nil)
        #expect(tags.contains { $0.isBaseAnchor })
        let referrers = try await target.referrers(of: first.digest, artifactType: nil, in: there)
        #expect(referrers.count == 1)

        let again = try await copyArtifact(
            .tag(.version(1)), from: source, repository: name, to: target, repository: there,
            as: [OCIArtifacts.Tag("prod")])
        #expect(again.progress.blobsCopied == 0 && again.progress.bytesCopied == 0)
        let promoted = try await target.manifest(.tag(OCIArtifacts.Tag("prod")), in: there)
        #expect(promoted?.digest == first.digest)
        await #expect(throws: RegistryError.self) {
            try await copyArtifact(.tag(.version(9)), from: source, repository: name, to: target, repository: there)
        }
    }

    @Test func aLostAnchorIsMadeAgain() async throws {
        let source = MemoryStore()
        let target = MemoryStore()
        let receipt = try await PromptRegistry(source).store(Self.prompt(1), name: name)
        let anchor = BaseAnchor(fingerprint: try Digest(Self.fingerprint(1).fingerprint))
        try await source.deleteManifest(.digest(anchor.digest), in: name)
        try await copyArtifact(.tag(.version(1)), from: source, repository: name, to: target, repository: name)
        let stored = try await target.manifest(.tag(anchor.tag), in: name)
        #expect(stored?.bytes == anchor.bytes)
        let listed = try await PromptRegistry(target).list(base: Self.fingerprint(1))
        #expect(listed.map(\.digest) == [receipt.digest])
    }

    @Test func copyingOntoAnotherVersionIsDenied() async throws {
        let source = MemoryStore()
        let target = MemoryStore()
        try await PromptRegistry(source).store(Self.prompt(1), name: name)
        try await PromptRegistry(target).store(Self.prompt(2), name: name)
        await #expect {
            try await copyArtifact(.tag(.version(1)), from: source, repository: name, to: target, repository: name)
        } throws: { ($0 as? RegistryError)?.code == .denied }
    }

    @Test func aDamagedSourceIsNotCopied() async throws {
        let folder = try TemporaryFolder()
        let source = try folder.open { $0.inlineLimit = 1000 }
        let target = MemoryStore()
        let receipt = try await PromptRegistry(source).store(Self.prompt(1, tokens: 100), name: name)
        let path = try #require(folder.files("blobs").first)
        var stored = try Data(contentsOf: URL(fileURLWithPath: path))
        stored[stored.count - 9] ^= 1
        try stored.write(to: URL(fileURLWithPath: path))
        await #expect {
            try await copyArtifact(.tag(.version(1)), from: source, repository: name, to: target, repository: name)
        } throws: { ($0 as? RegistryError)?.code == .corrupt }
        let absent = try await target.manifest(.digest(receipt.digest), in: name)
        #expect(absent == nil)
    }

    /// A store that offers nothing beyond the plain protocol, as a remote one.
    @Test func versionsAreNumberedOnAnyStore() async throws {
        let registry = PromptRegistry(PlainStore(inner: MemoryStore()))
        #expect(try await registry.store(Self.prompt(1), name: name).number == 1)
        #expect(try await registry.store(Self.prompt(2), name: name).number == 2)
        #expect(try await registry.store(Self.prompt(1), name: name).number == 1)
        #expect(try await registry.list().map(\.displayName) == ["demo/gloss:v1", "demo/gloss:v2"])
    }
}

private struct PlainStore: RegistryStore {
    let inner: MemoryStore

    func blob(_ digest: Digest, in repository: RepositoryName) async throws -> BlobInfo? {
        try await inner.blob(digest, in: repository)
    }
    func readBlob(
        _ digest: Digest, in repository: RepositoryName, range: Range<Int>?,
        _ consume: @Sendable ([UInt8]) async throws -> Void
    ) async throws { try await inner.readBlob(digest, in: repository, range: range, consume) }
    func writeBlob(
        _ digest: Digest, size: Int?, in repository: RepositoryName,
        from source: @Sendable () async throws -> [UInt8]?
    ) async throws { try await inner.writeBlob(digest, size: size, in: repository, from: source) }
    func mountBlob(_ digest: Digest, from source: RepositoryName?, to repository: RepositoryName) async throws -> Bool {
        try await inner.mountBlob(digest, from: source, to: repository)
    }
    func deleteBlob(_ digest: Digest, in repository: RepositoryName) async throws {
        try await inner.deleteBlob(digest, in: repository)
    }
    func manifest(_ reference: ManifestReference, in repository: RepositoryName) async throws -> StoredManifest? {
        try await inner.manifest(reference, in: repository)
    }
    func putManifest(
        _ bytes: [UInt8], mediaType: String, as reference: ManifestReference, tags: [OCIArtifacts.Tag],
        in repository: RepositoryName
    ) async throws -> ManifestReceipt {
        try await inner.putManifest(bytes, mediaType: mediaType, as: reference, tags: tags, in: repository)
    }
    func deleteManifest(_ reference: ManifestReference, in repository: RepositoryName) async throws {
        try await inner.deleteManifest(reference, in: repository)
    }
    func tags(in repository: RepositoryName, last: String?, limit: Int?) async throws -> [OCIArtifacts.Tag] {
        try await inner.tags(in: repository, last: last, limit: limit)
    }
    func referrers(
        of digest: Digest, artifactType: String?, in repository: RepositoryName
    ) async throws -> [Descriptor] {
        try await inner.referrers(of: digest, artifactType: artifactType, in: repository)
    }
    func repositories() async throws -> [RepositoryName] { try await inner.repositories() }
    func repositoryExists(_ repository: RepositoryName) async throws -> Bool {
        try await inner.repositoryExists(repository)
    }
}

import Foundation
import OCIArtifacts
import SoftPrompts
import Testing

@testable import PromptRegistry

@Suite struct SigningTests {
    private static var name: RepositoryName { get throws { try RepositoryName("team/task") } }

    @Test func aSignedVersionIsTrustedAndATamperedOneIsNot() async throws {
        let folder = try TemporaryFolder()
        let registry = PromptRegistry(try folder.open())
        let name = try Self.name
        try await registry.store(try PromptRegistryTests.prompt(1), name: name)
        let first = try await registry.record(.tag(.version(1)), of: name).digest
        for key in [SigningKey.generateP256(), .generateEd25519()] {
            let other = SigningKey.generateP256().verificationKey
            var policy = TrustPolicy()
            policy.rules = [.init(try RepositoryGlob("team/**"), keys: [other, key.verificationKey])]
            let stored = try #require(try await registry.backend.manifest(.digest(first), in: name))
            await #expect { try await policy.check(stored, in: name, of: registry.backend, names: [name]) } throws: {
                ($0 as? RegistryError)?.code == .untrusted
            }
            let made = try await registry.sign(.tag(.version(1)), of: name, key: key, tool: "incipit-test")
            #expect(made.count == (try await registry.sign(.digest(first), of: name, key: key, tool: "x")).count)
            try await policy.check(stored, in: name, of: registry.backend, names: [name])
            // Not for another key, not for another version, and not where no rule is.
            #expect(try await registry.validSignatures(.digest(first), of: name, keys: [other]).isEmpty)
            // The signatures travel.
            let memory = MemoryStore()
            _ = try await copyArtifact(
                .digest(first), from: registry.backend, repository: name, to: memory, repository: name, as: [.latest],
                includeReferrers: true)
            try await policy.check(stored, in: name, of: memory, names: [name])
        }
        try await registry.store(try PromptRegistryTests.prompt(2), name: name)
        let second = try #require(try await registry.backend.manifest(.tag(.version(2)), in: name))
        var policy = TrustPolicy()
        policy.rules = [.init(.all, keys: [SigningKey.generateP256().verificationKey])]
        await #expect(throws: RegistryError.self) {
            try await policy.check(second, in: name, of: registry.backend, names: [name])
        }
    }

    /// The layout that cosign's bundle specification asks for, read as plain JSON.
    @Test func theManifestsSignatureIsLaidOutAsCosignReadsIt() async throws {
        let registry = PromptRegistry(MemoryStore())
        let (name, key) = (try Self.name, SigningKey.generateP256())
        let version = try await registry.store(try PromptRegistryTests.prompt(1), name: name)
        try await registry.sign(.tag(.version(1)), of: name, key: key, tool: "t")
        let type = "application/vnd.dev.sigstore.bundle.v0.3+json"
        let entries = try await registry.backend.referrers(of: version.digest, artifactType: type, in: name)
        let predicate = "https://sigstore.dev/cosign/sign/v1"
        let entry = try #require(
            entries.first { $0.annotations?["dev.sigstore.bundle.predicateType"] == predicate })
        #expect(entry.annotations?["dev.sigstore.bundle.content"] == "dsse-envelope")
        let stored = try #require(try await registry.backend.manifest(.digest(entry.digest), in: name))
        let manifest = try JSONNode.parse(stored.bytes)
        #expect(manifest["artifactType"]?.string == type)
        #expect(manifest["config"]?["mediaType"]?.string == "application/vnd.oci.empty.v1+json")
        #expect(manifest["subject"]?["digest"]?.string == version.digest.description)
        let layers = try #require(manifest["layers"]?.array)
        let digest = try Digest(try #require(layers.first?["digest"]?.string))
        #expect(layers.count == 1 && layers[0]["mediaType"]?.string == type)
        #expect(
            layers[0]["annotations"]?["org.opencontainers.image.title"]?.string == "sha256-\(digest.hex).sigstore.json")
        let bundle = try JSONNode.parse(try await registry.backend.readBlob(digest, in: name))
        #expect(bundle["mediaType"]?.string == type)
        #expect(bundle["verificationMaterial"]?["publicKey"]?["hint"]?.string == key.verificationKey.hint)
        let envelope = try #require(bundle["dsseEnvelope"])
        #expect(envelope["payloadType"]?.string == "application/vnd.in-toto+json")
        let payload = try #require(envelope["payload"]?.string.flatMap { Data(base64Encoded: $0) })
        let statement = try JSONNode.parse(Array(payload))
        #expect(statement["predicateType"]?.string == predicate)
        #expect(statement["subject"]?.array?.first?["digest"]?["sha256"]?.string == version.digest.hex)
    }

    @Test func aSignatureOfAnotherManifestDoesNotCount() async throws {
        let registry = PromptRegistry(MemoryStore())
        let name = try Self.name
        let key = SigningKey.generateP256()
        try await registry.store(try PromptRegistryTests.prompt(1), name: name)
        try await registry.store(try PromptRegistryTests.prompt(2), name: name)
        try await registry.sign(.tag(.version(1)), of: name, key: key, tool: "t")
        // Someone re-hangs the good signature under version 2.
        let target = try #require(try await registry.backend.manifest(.tag(.version(2)), in: name))
        let first = try await registry.record(.tag(.version(1)), of: name).digest
        for referrer in try await registry.backend.referrers(of: first, artifactType: nil, in: name) {
            let stored = try #require(try await registry.backend.manifest(.digest(referrer.digest), in: name))
            var manifest = try Manifest.parse(stored.bytes)
            manifest.subject = Descriptor(
                mediaType: target.mediaType, digest: target.digest, size: target.bytes.count)
            _ = try await registry.backend.putManifest(
                manifest.serialized, mediaType: manifest.mediaType, as: .digest(.sha256(of: manifest.serialized)),
                tags: [], in: name)
        }
        let found = try await registry.validSignatures(.tag(.version(2)), of: name, keys: [key.verificationKey])
        // The files' statement names no manifest, and is not enough for a policy.
        #expect(found.allSatisfy { $0.predicateType == ModelSignature.predicateType })
        var policy = TrustPolicy()
        policy.rules = [.init(.all, keys: [key.verificationKey])]
        await #expect(throws: RegistryError.self) {
            try await policy.check(target, in: name, of: registry.backend, names: [name])
        }
    }

    @Test func provenanceSaysWhatItWasMadeFrom() async throws {
        let registry = PromptRegistry(MemoryStore())
        let name = try Self.name
        let key = SigningKey.generateP256()
        guard case .p256(let secret) = key else { return }
        let prompt = try PromptRegistryTests.prompt(1)
        try await registry.store(prompt, name: name)
        try await registry.sign(.tag(.latest), of: name, key: key, tool: "incipit-9.9")
        let digest = try await registry.record(.tag(.latest), of: name).digest
        var predicates: [String: Statement] = [:]
        for referrer in try await registry.backend.referrers(
            of: digest, artifactType: SigstoreBundle.mediaType, in: name)
        {
            let stored = try #require(try await registry.backend.manifest(.digest(referrer.digest), in: name))
            let layer = try #require(try Manifest.parse(stored.bytes).layers.first)
            let bundle = try SigstoreBundle(try await registry.backend.readBlob(layer.digest, in: name))
            let statement = try bundle.verified(by: secret.publicKey)
            predicates[statement.predicateType] = statement
            #expect(referrer.annotations?["dev.sigstore.bundle.predicateType"] == statement.predicateType)
        }
        #expect(predicates.count == 3)
        let provenance = try #require(predicates[PromptSignatures.provenancePredicate])
        #expect(provenance.subjects.map(\.digest) == [digest])
        let build = try #require(provenance.predicate["buildDefinition"])
        #expect(build["externalParameters"]?["seed"]?.integer == 1)
        let base = build["resolvedDependencies"]?.array?.first { $0["name"]?.string == "tiny" }
        #expect("sha256:" + (base?["digest"]?["sha256"]?.string ?? "") == prompt.base.fingerprint)
        let files = try #require(predicates[ModelSignature.predicateType])
        try ModelSignature.check(
            files, files: PromptSignatures.files(of: try await registry.load(.tag(.latest), of: name)))
    }

    @Test func policiesAreKeptAndADamagedOneTrustsNothing() throws {
        let path = NSTemporaryDirectory() + "trust-\(UUID().uuidString)"
        defer { unlink(path) }
        #expect(try TrustPolicy(path: path).rules.isEmpty)
        var policy = TrustPolicy()
        let keys = [SigningKey.generateP256().verificationKey, SigningKey.generateEd25519().verificationKey]
        policy.rules = [.init(try RepositoryGlob("team/*"), keys: keys)]
        try Data(policy.bytes).write(to: URL(fileURLWithPath: path))
        let read = try TrustPolicy(path: path)
        #expect(read.rules[0].keys.map(\.hint) == keys.map(\.hint))
        #expect(try read.covers(RepositoryName("team/a")))
        #expect(try !read.covers(RepositoryName("other/a")))
        for bad in ["", "{}", "{\"schemaVersion\":1,\"rules\":[{\"repositories\":\"**\",\"keys\":[]}]}"] {
            try Data(bad.utf8).write(to: URL(fileURLWithPath: path))
            #expect(throws: RegistryError.self) { try TrustPolicy(path: path) }
        }
    }
}

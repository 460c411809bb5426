import Foundation
import OCIArtifacts
import OCIClient
import OCIServer
import PromptRegistry
import SoftPrompts
import TestSupport
import Testing

/// Listing the prompts of a base in another registry, whatever that registry knows of referrers.
@Suite struct PromptListingTests {
    static func base(_ seed: UInt8) -> BaseFingerprint {
        func part(_ index: UInt8) -> String { Digest.sha256(of: [seed, index]).description }
        return BaseFingerprint(
            fingerprint: part(0), weights: part(1), embedding: part(2), tokenizer: part(3), architecture: part(4))
    }

    static func prompt(_ seed: UInt8, base: UInt8) throws -> SoftPrompt {
        let shape = ModelShape(layerCount: 1, hiddenSize: 8, headCount: 2, keyValueHeadCount: 1, headDimension: 4)
        let noise = RegistryStoreChecks.noise(2 * 8, seed: UInt64(seed))
        return try SoftPrompt(
            placement: .keysAndValues, virtualTokenCount: 2, values: noise.map { Float($0) / 255 - 0.5 }, shape: shape,
            base: Self.base(base), baseName: "tiny", method: "prefix-tuning", training: ["seed": .integer(Int64(seed))])
    }

    /// Two prompts for base 1 and one for base 2, in two repositories, with something in them that is no prompt.
    static func fill(_ remote: RemoteStore) async throws {
        let registry = PromptRegistry(remote)
        let gloss = try RepositoryName("demo/gloss")
        try await registry.store(prompt(1, base: 1), name: gloss, metrics: ["accuracy": "0.5"])
        try await registry.store(prompt(2, base: 2), name: gloss)
        try await registry.store(prompt(3, base: 1), name: RepositoryName("demo/kinds"), metrics: ["accuracy": "0.75"])
        let other = try await push("no prompt", to: remote, gloss)
        _ = try await put(other, to: remote, gloss, [Tag("thing")])
    }

    static func query(_ base: UInt8, _ name: String? = nil) throws -> PromptQuery {
        var query = PromptQuery()
        query.base = try Digest(Self.base(base).fingerprint)
        query.repository = try name.map { try RepositoryName($0) }
        return query
    }

    static func check(_ remote: RemoteStore) async throws {
        let registry = PromptRegistry(remote)
        for everyTag in [false, true] {
            let mine = try await registry.search(query(1), readingEveryTag: everyTag)
            #expect(mine.map(\.displayName) == ["demo/gloss:v1", "demo/kinds:v1"])
            #expect(mine.map(\.baseName) == ["tiny", "tiny"])
            #expect(mine[0].metrics == ["accuracy": "0.5"])
            #expect(Set(mine[1].tags.map(\.description)) == ["v1", "latest"])
            let one = try await registry.search(query(2, "demo/gloss"), readingEveryTag: everyTag)
            #expect(one.map(\.displayName) == ["demo/gloss:v2"])
            #expect(try await registry.search(query(9), readingEveryTag: everyTag).isEmpty)
        }
        var best = try query(1)
        best.metrics = [try #require(PromptQuery.MetricBound("accuracy>=0.6"))]
        #expect(try await registry.search(best).map(\.displayName) == ["demo/kinds:v1"])
        best.metrics = []
        (best.limit, best.offset) = (1, 1)
        #expect(try await registry.search(best).map(\.displayName) == ["demo/kinds:v1"])
        #expect(try await registry.search(PromptQuery()).count == 3)
        let missing = await #expect(throws: RegistryError.self) {
            try await registry.search(query(1, "demo/nothing"))
        }
        #expect(missing?.code == .nameUnknown)
    }

    @Test func byTheReferrersOfTheAnchor() async throws {
        try await withRegistry { remote in
            try await Self.fill(remote)
            try await Self.check(remote)
        }
    }

    @Test func byTheFallbackTagWhereARegistryHasNoReferrers() async throws {
        var options = OCIRoutes.Options()
        options.offersReferrers = false
        try await withRegistry(options: options) { remote in
            try await Self.fill(remote)
            let anchor = BaseAnchor(fingerprint: try Digest(Self.base(1).fingerprint))
            let tag = OCIArtifacts.Tag.referrersFallback(for: anchor.digest)
            let name = try RepositoryName("demo/kinds")
            #expect(try await remote.manifest(.tag(tag), in: name) != nil)
            try await Self.check(remote)
            // Another client's index: no annotations, a prompt that is gone, and an artifact that only claims to be one.
            let stored = try #require(try await remote.manifest(.tag(.version(1)), in: name))
            let liar = try await push("x", to: remote, name)
            let receipt = try await put(liar, to: remote, name)
            let entries = [
                (stored.digest, stored.bytes.count), (Digest.sha256(of: [7]), 7),
                (receipt.digest, liar.serialized.count),
            ].map { digest, size in
                var entry = Descriptor(mediaType: MediaType.imageManifest, digest: digest, size: size)
                entry.artifactType = MediaType.softPrompt
                return entry
            }
            let index = ImageIndex(manifests: entries).serialized
            _ = try await remote.putManifest(
                index, mediaType: MediaType.imageIndex, as: .tag(tag), tags: [], in: name)
            let found = try await PromptRegistry(remote).search(Self.query(1, "demo/kinds"))
            #expect(found.map(\.displayName) == ["demo/kinds:v1"])
            #expect(found.first?.metrics == ["accuracy": "0.75"])
            // A tool that keeps no index: only the tags know.
            try await remote.deleteManifest(.tag(tag), in: name)
            #expect(try await PromptRegistry(remote).search(Self.query(1, "demo/kinds")).isEmpty)
            let read = try await PromptRegistry(remote).search(Self.query(1, "demo/kinds"), readingEveryTag: true)
            #expect(read.map(\.displayName) == ["demo/kinds:v1"])
        }
    }

    @Test func aListOfSeveralPagesIsReadToItsEnd() async throws {
        try await withRegistry { remote in
            let registry = PromptRegistry(remote)
            let name = try RepositoryName("demo/many")
            // The client takes answers of 4 MiB at most; these descriptors have 5, so it must have read several pages.
            let filler = String(repeating: "x", count: 100_000)
            for seed in 0..<50 {
                try await registry.store(
                    Self.prompt(UInt8(seed), base: 1), name: name, annotations: ["org.example.filler": filler])
            }
            let found = try await registry.search(Self.query(1, "demo/many"))
            #expect(found.map(\.version) == (1...50).map { $0 })
        }
    }
}

import OCIArtifacts
import PromptRegistry
import Synchronization

/// What every ``RegistryStore`` promises, as checks that any test can run on any store:
///
///     @Test(arguments: RegistryStoreChecks.all) func keepsThePromises(check: RegistryStoreChecks.Check) async throws {
///         try await check.run(MemoryStore())
///     }
///
/// A check works in repositories below `checks/` and throws a ``Failure`` at the first broken promise. The store must be
/// empty there. For a store without some duty (a remote registry that has no referrers API), leave the check out by name.
public enum RegistryStoreChecks {
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    public struct Check: Sendable, CustomStringConvertible {
        public let name: String
        public let run: @Sendable (any RegistryStore) async throws -> Void
        public var description: String { name }
    }

    public static let all: [Check] = [
        Check(name: "blobs come back as they went in", run: blobsRoundTrip),
        Check(name: "ranges are cut out of the uncompressed bytes", run: ranges),
        Check(name: "an unknown blob is nil, and reading it throws", run: unknownBlobs),
        Check(name: "wrong digests and sizes leave nothing behind", run: lyingBlobs),
        Check(name: "a blob is mounted into another repository", run: mounting),
        Check(name: "manifests keep their bytes, under digest and tags", run: manifestsRoundTrip),
        Check(name: "a manifest needs its blobs", run: missingBlobs),
        Check(name: "hostile manifests are refused", run: hostileManifests),
        Check(name: "versions never change, other tags move", run: immutability),
        Check(name: "tags are paged in ASCII order", run: paging),
        Check(name: "referrers are found by subject and type", run: referrers),
        Check(name: "deleting by tag keeps the manifest, by digest its tags go", run: deleting),
        Check(name: "repositories appear with their first content", run: repositories),
    ]

    // MARK: - Tools

    static func expect(
        _ condition: Bool, _ message: @autoclosure () -> String, line: Int = #line
    ) throws {
        if !condition { throw Failure(description: "line \(line): \(message())") }
    }

    static func expectError(
        _ code: RegistryError.Code, line: Int = #line, _ body: () async throws -> Void
    ) async throws {
        do {
            try await body()
        } catch let error as RegistryError where error.code == code {
            return
        } catch {
            throw Failure(description: "line \(line): expected \(code), got \(error)")
        }
        throw Failure(description: "line \(line): expected \(code), but nothing was thrown")
    }

    static func name(_ text: String) throws -> RepositoryName { try RepositoryName("checks/" + text) }

    /// Deterministic noise.
    public static func noise(_ count: Int, seed: UInt64) -> [UInt8] {
        var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
        return (0..<count).map { _ in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return UInt8(truncatingIfNeeded: state >> 32)
        }
    }

    /// Pushes a small artifact and gives its manifest's bytes.
    @discardableResult
    public static func push(
        _ text: String, to store: any RegistryStore, _ repository: RepositoryName, tags: [Tag] = [],
        artifactType: String = "application/vnd.example.thing.v1", subject: Descriptor? = nil
    ) async throws -> [UInt8] {
        let layer = Array(text.utf8)
        try await store.writeBlob(layer, in: repository)
        try await store.writeBlob(Descriptor.emptyContent, in: repository)
        let manifest = Manifest(
            artifactType: artifactType, config: .empty,
            layers: [Descriptor(of: layer, mediaType: "text/plain")], subject: subject,
            annotations: ["note": text])
        let bytes = manifest.serialized
        _ = try await store.putManifest(
            bytes, mediaType: manifest.mediaType, as: .digest(.sha256(of: bytes)), tags: tags, in: repository)
        return bytes
    }

    // MARK: - Blobs

    @Sendable static func blobsRoundTrip(_ store: any RegistryStore) async throws {
        let repository = try name("blobs")
        // Around the chunk size, the inline limit, and nothing at all.
        let sizes = [0, 1, 63, 131_071, 131_072, 131_073, 1 << 20, (1 << 20) + 1, 3_000_000]
        for (index, size) in sizes.enumerated() {
            let bytes = noise(size, seed: UInt64(index + 1))
            for algorithm in Digest.Algorithm.allCases {
                let digest = Digest.of(bytes, algorithm: algorithm)
                let source = ChunkSource(bytes, chunkSize: 50_000)
                try await store.writeBlob(digest, size: size, in: repository) { source.next() }
                let info = try await store.blob(digest, in: repository)
                try expect(
                    info == BlobInfo(digest: digest, size: size), "blob of \(size) bytes: \(String(describing: info))")
                let back = try await store.readBlob(digest, in: repository)
                try expect(back == bytes, "blob of \(size) bytes came back different")
            }
        }
        let text = Array(String(repeating: "{\"key\": \"compressible\"}", count: 40_000).utf8)
        let digest = try await store.writeBlob(text, in: repository)
        try await store.writeBlob(text, in: repository)
        let back = try await store.readBlob(digest, in: repository)
        try expect(back == text, "compressible text came back different")
    }

    @Sendable static func ranges(_ store: any RegistryStore) async throws {
        let repository = try name("ranges")
        let bytes = Array(String(repeating: "0123456789", count: 30_000).utf8)
        let digest = try await store.writeBlob(bytes, in: repository)
        for range in [0..<1, 0..<bytes.count, 5..<17, 299_999..<300_000, 100..<250_000] {
            let collected = ByteCollector()
            try await store.readBlob(digest, in: repository, range: range) { collected.append($0) }
            try expect(collected.bytes == Array(bytes[range]), "range \(range) came back different")
        }
        try await expectError(.rangeInvalid) {
            try await store.readBlob(digest, in: repository, range: 10..<bytes.count + 1) { _ in }
        }
    }

    @Sendable static func unknownBlobs(_ store: any RegistryStore) async throws {
        let repository = try name("unknown")
        let other = try name("unknown-other")
        let digest = try await store.writeBlob(noise(100, seed: 4), in: other)
        let info = try await store.blob(digest, in: repository)
        try expect(info == nil, "a blob of another repository is visible")
        try await expectError(.blobUnknown) {
            try await store.readBlob(digest, in: repository, range: nil) { _ in }
        }
    }

    @Sendable static func lyingBlobs(_ store: any RegistryStore) async throws {
        let repository = try name("lies")
        let digest = Digest.sha256(of: noise(1000, seed: 5))
        for size in [1000, 300_000] {
            let source = ChunkSource(noise(size, seed: 6), chunkSize: 100)
            try await expectError(.digestInvalid) {
                try await store.writeBlob(digest, size: nil, in: repository) { source.next() }
            }
        }
        for announced in [999, 1001] {
            let source = ChunkSource(noise(1000, seed: 5), chunkSize: 100)
            try await expectError(.sizeInvalid) {
                try await store.writeBlob(digest, size: announced, in: repository) { source.next() }
            }
        }
        struct Broken: Error {}
        do {
            let calls = Mutex(0)
            try await store.writeBlob(digest, size: 1000, in: repository) {
                let call = calls.withLock { calls in
                    calls += 1
                    return calls
                }
                if call > 3 { throw Broken() }
                return [UInt8](repeating: 0, count: 100)
            }
            throw Failure(description: "a source that breaks must make writing fail")
        } catch is Broken {
        } catch let error as RegistryError {
            // A remote store may wrap it.
            _ = error
        }
        let info = try await store.blob(digest, in: repository)
        try expect(info == nil, "a refused blob is visible")
    }

    @Sendable static func mounting(_ store: any RegistryStore) async throws {
        let from = try name("mount-from")
        let to = try name("mount-to")
        let bytes = noise(500, seed: 7)
        let digest = try await store.writeBlob(bytes, in: from)
        let isMounted = try await store.mountBlob(digest, from: from, to: to)
        try expect(isMounted, "mounting an existing blob must work")
        let back = try await store.readBlob(digest, in: to)
        try expect(back == bytes, "a mounted blob came back different")
        let absent = Digest.sha256(of: noise(500, seed: 8))
        let isImaginary = try await store.mountBlob(absent, from: from, to: to)
        try expect(!isImaginary, "a blob that does not exist was mounted")
    }

    // MARK: - Manifests

    @Sendable static func manifestsRoundTrip(_ store: any RegistryStore) async throws {
        let repository = try name("manifests")
        try await store.writeBlob(Descriptor.emptyContent, in: repository)
        // White space and unknown fields must survive.
        let text = """
            { "schemaVersion" : 2, "mediaType": "\(MediaType.imageManifest)", "x-custom": [1.50, null],
              "artifactType": "application/vnd.example.thing.v1",
              "config": {"mediaType":"\(MediaType.emptyJSON)","digest":"\(Descriptor.empty.digest)","size":2},
              "layers": [] }
            """
        let bytes = Array(text.utf8)
        let digest = Digest.sha256(of: bytes)
        let receipt = try await store.putManifest(
            bytes, mediaType: MediaType.imageManifest, as: .tag(Tag("first")), tags: [Tag("second")], in: repository)
        try expect(receipt.digest == digest, "the receipt has digest \(receipt.digest)")
        for reference: ManifestReference in [.digest(digest), .tag(try Tag("first")), .tag(try Tag("second"))] {
            let stored = try await store.manifest(reference, in: repository)
            try expect(stored?.bytes == bytes, "the manifest under \(reference) has other bytes")
            try expect(stored?.digest == digest, "the manifest under \(reference) has another digest")
            try expect(stored?.mediaType == MediaType.imageManifest, "the media type changed")
        }
        let absent = try await store.manifest(.tag(Tag("third")), in: repository)
        try expect(absent == nil, "a tag that was never set means something")
        try await expectError(.digestInvalid) {
            _ = try await store.putManifest(
                bytes, mediaType: MediaType.imageManifest, as: .digest(.sha256(of: [1])), tags: [], in: repository)
        }
    }

    @Sendable static func missingBlobs(_ store: any RegistryStore) async throws {
        let repository = try name("missing-blobs")
        try await store.writeBlob(Descriptor.emptyContent, in: repository)
        let layer = noise(64, seed: 9)
        let manifest = Manifest(
            artifactType: "application/vnd.example.thing.v1", config: .empty,
            layers: [Descriptor(of: layer, mediaType: MediaType.octetStream)])
        let tag = try Tag("broken")
        try await expectError(.manifestBlobUnknown) {
            _ = try await store.putManifest(
                manifest.serialized, mediaType: manifest.mediaType, as: .tag(tag), tags: [], in: repository)
        }
        let stored = try await store.manifest(.tag(tag), in: repository)
        try expect(stored == nil, "a refused manifest is visible")
        try await store.writeBlob(layer, in: repository)
        _ = try await store.putManifest(
            manifest.serialized, mediaType: manifest.mediaType, as: .tag(tag), tags: [], in: repository)
        try await expectError(.denied) {
            try await store.deleteBlob(.sha256(of: layer), in: repository)
        }
    }

    @Sendable static func hostileManifests(_ store: any RegistryStore) async throws {
        let repository = try name("hostile")
        try await store.writeBlob(Descriptor.emptyContent, in: repository)
        let deep = String(repeating: "[", count: 100_000)
        let cases = ["", "{}", "[]", "{\"schemaVersion\":2,\"layers\":\(deep)", "{\"schemaVersion\":1}", "nonsense"]
        for text in cases {
            try await expectError(.manifestInvalid) {
                _ = try await store.putManifest(
                    Array(text.utf8), mediaType: MediaType.imageManifest, as: .tag(Tag("x")), tags: [], in: repository)
            }
        }
        var lying = Descriptor.empty
        lying.size = 3
        let manifest = Manifest(artifactType: "application/vnd.example.thing.v1", config: lying, layers: [])
        try await expectError(.sizeInvalid) {
            _ = try await store.putManifest(
                manifest.serialized, mediaType: manifest.mediaType, as: .tag(Tag("x")), tags: [], in: repository)
        }
    }

    @Sendable static func immutability(_ store: any RegistryStore) async throws {
        let repository = try name("versions")
        let latest = Tag.latest
        let first = try await push("one", to: store, repository, tags: [.version(1), latest])
        try await push("one", to: store, repository, tags: [.version(1)])
        try await expectError(.denied) {
            try await push("two", to: store, repository, tags: [latest, .version(1)])
        }
        let stillFirst = try await store.manifest(.tag(latest), in: repository)
        try expect(stillFirst?.bytes == first, "a refused push moved a tag")
        let second = try await push("two", to: store, repository, tags: [.version(2), latest])
        let moved = try await store.manifest(.tag(latest), in: repository)
        try expect(moved?.bytes == second, "latest did not move")
        let kept = try await store.manifest(.tag(.version(1)), in: repository)
        try expect(kept?.bytes == first, "v1 changed")
    }

    @Sendable static func paging(_ store: any RegistryStore) async throws {
        let repository = try name("paging")
        let names = ["a", "B", "b", "_z", "0", "v10", "v2", "A1", "a-b", "a.b"]
        try await push("x", to: store, repository, tags: names.map { try Tag($0) })
        let sorted = names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let everything = try await store.tags(in: repository, last: nil, limit: nil).map(\.description)
        try expect(everything == sorted, "all tags: \(everything)")
        var paged: [String] = []
        while true {
            let page = try await store.tags(in: repository, last: paged.last, limit: 3).map(\.description)
            try expect(page.count <= 3, "a page of \(page.count)")
            if page.isEmpty { break }
            paged += page
        }
        try expect(paged == sorted, "by pages: \(paged)")
        let none = try await store.tags(in: repository, last: nil, limit: 0)
        try expect(none.isEmpty, "a page of zero has \(none.count) tags")
        // `last` need not exist.
        let after = try await store.tags(in: repository, last: "a-a", limit: 2).map(\.description)
        try expect(after == ["a-b", "a.b"], "after a-a: \(after)")
        try await expectError(.nameUnknown) {
            _ = try await store.tags(in: name("never-seen"), last: nil, limit: nil)
        }
    }

    @Sendable static func referrers(_ store: any RegistryStore) async throws {
        let repository = try name("referrers")
        let anchor = BaseAnchor(fingerprint: .sha256(of: Array("a base".utf8)))
        let unknown = try await store.referrers(of: anchor.digest, artifactType: nil, in: name("never-seen-either"))
        try expect(unknown.isEmpty, "an unknown repository has referrers")
        // The subject may come later than what refers to it.
        let first = try await push("r1", to: store, repository, subject: anchor.descriptor)
        _ = try await store.putManifest(
            anchor.bytes, mediaType: MediaType.imageManifest, as: .tag(anchor.tag), tags: [], in: repository)
        let second = try await push(
            "r2", to: store, repository, artifactType: "application/vnd.example.other.v1", subject: anchor.descriptor)
        try await push("r3", to: store, repository)
        let all = try await store.referrers(of: anchor.digest, artifactType: nil, in: repository)
        try expect(
            Set(all.map(\.digest)) == [.sha256(of: first), .sha256(of: second)] && all.count == 2, "referrers: \(all)")
        let filtered = try await store.referrers(
            of: anchor.digest, artifactType: "application/vnd.example.other.v1", in: repository)
        try expect(filtered.map(\.digest) == [.sha256(of: second)], "filtered: \(filtered)")
        try expect(filtered.first?.annotations?["note"] == "r2", "a referrer lost its annotations")
        try expect(
            filtered.first?.size == second.count, "a referrer has size \(String(describing: filtered.first?.size))")
        try await store.deleteManifest(.digest(.sha256(of: first)), in: repository)
        let rest = try await store.referrers(of: anchor.digest, artifactType: nil, in: repository)
        try expect(rest.map(\.digest) == [.sha256(of: second)], "after a deletion: \(rest)")
    }

    @Sendable static func deleting(_ store: any RegistryStore) async throws {
        let repository = try name("deleting")
        let bytes = try await push("d", to: store, repository, tags: [Tag("one"), Tag("two"), Tag("three")])
        let digest = Digest.sha256(of: bytes)
        try await store.deleteManifest(.tag(Tag("one")), in: repository)
        let stored = try await store.manifest(.digest(digest), in: repository)
        try expect(stored != nil, "deleting a tag deleted the manifest")
        let left = try await store.tags(in: repository, last: nil, limit: nil).map(\.description)
        try expect(left == ["three", "two"], "tags left: \(left)")
        try await store.deleteManifest(.digest(digest), in: repository)
        let none = try await store.tags(in: repository, last: nil, limit: nil)
        try expect(none.isEmpty, "tags left: \(none)")
        for reference: ManifestReference in [.digest(digest), .tag(try Tag("two"))] {
            try await expectError(.manifestUnknown) { try await store.deleteManifest(reference, in: repository) }
        }
        let layer = Digest.sha256(of: Array("d".utf8))
        try await store.deleteBlob(layer, in: repository)
        let info = try await store.blob(layer, in: repository)
        try expect(info == nil, "a deleted blob is visible")
        try await expectError(.blobUnknown) { try await store.deleteBlob(layer, in: repository) }
    }

    @Sendable static func repositories(_ store: any RegistryStore) async throws {
        let repository = try name("listed")
        let before = try await store.repositoryExists(repository)
        try expect(!before, "a repository exists before its first content")
        try await push("x", to: store, repository)
        let after = try await store.repositoryExists(repository)
        try expect(after, "a repository with content does not exist")
        let list = try await store.repositories()
        try expect(list.contains(repository) && list == list.sorted(), "repositories: \(list)")
    }
}

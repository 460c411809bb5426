import Foundation
import OCIArtifacts
import OCIClient
import OCIServer
import PromptRegistry
import TestSupport
import Testing

@Suite struct RemoteStoreTests {
    private let name = try! RepositoryName("demo/gloss")

    @Test(arguments: RegistryStoreChecks.all) func aRemoteRegistryKeepsEveryPromiseOfAStore(
        check: RegistryStoreChecks.Check
    ) async throws {
        try await withRegistry { try await check.run($0) }
    }

    @Test func blobsMakeTheRoundTrip() async throws {
        try await withRegistry { remote in
            try await remote.ping()
            for size in [0, 1, 3_000_000] {
                let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 13 >> 2) }
                let digest = try await remote.writeBlob(bytes, in: name)
                #expect(try await remote.blob(digest, in: name) == BlobInfo(digest: digest, size: size))
                #expect(try await remote.readBlob(digest, in: name) == bytes)
                guard size > 1 else { continue }
                let part = ByteCollector()
                try await remote.readBlob(digest, in: name, range: 1000..<2_000_000) { part.append($0) }
                #expect(part.bytes == Array(bytes[1000..<2_000_000]))
                try await remote.deleteBlob(digest, in: name)
                #expect(try await remote.blob(digest, in: name) == nil)
            }
        }
    }

    @Test func largeBlobsGoInPieces() async throws {
        try await withServer({ onListening in
            try await RegistryServer.run(store: MemoryStore(), logger: quiet, onListening: onListening)
        }) { port in
            let remote = try remote(port) { $0.chunkSize = 100_000 }
            let bytes = (0..<350_001).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            for algorithm in Digest.Algorithm.allCases {
                let digest = Digest.of(bytes, algorithm: algorithm)
                let source = ChunkSource(bytes, chunkSize: 64_000)
                try await remote.writeBlob(digest, size: bytes.count, in: name) { source.next() }
                #expect(try await remote.readBlob(digest, in: name) == bytes)
            }
        }
    }

    @Test func wrongBytesAreNotPushed() async throws {
        try await withRegistry { remote in
            let digest = Digest.sha256(of: [1, 2, 3])
            for (bytes, size, code) in [
                ([1, 2], nil, RegistryError.Code.digestInvalid), ([1, 2, 3], 2, .sizeInvalid),
                ([1, 2], 3, .sizeInvalid),
            ] as [([UInt8], Int?, RegistryError.Code)] {
                let source = ChunkSource(bytes)
                let error = await #expect(throws: RegistryError.self) {
                    try await remote.writeBlob(digest, size: size, in: name) { source.next() }
                }
                #expect(error?.code == code)
            }
            let stored = try await remote.blob(digest, in: name)
            #expect(stored == nil)
        }
    }

    @Test func manifestsAndTagsMakeTheRoundTrip() async throws {
        try await withRegistry { remote in
            let first = try await push("one", to: remote, name)
            let second = try await push("two", to: remote, name)
            let one = try await put(first, to: remote, name, [.version(1), .latest])
            let two = try await put(second, to: remote, name, [.latest])
            let latest = try #require(try await remote.manifest(.tag(.latest), in: name))
            #expect(latest == StoredManifest(digest: two.digest, mediaType: second.mediaType, bytes: second.serialized))
            #expect(try await remote.manifest(.tag(.version(1)), in: name)?.digest == one.digest)
            #expect(try await remote.manifest(.tag(.version(2)), in: name) == nil)
            #expect(try await remote.tags(in: name, last: nil, limit: nil) == [.latest, .version(1)])
            #expect(try await remote.tags(in: name, last: nil, limit: 1) == [.latest])
            #expect(try await remote.tags(in: name, last: "latest", limit: nil) == [.version(1)])
            #expect(try await remote.repositories() == [name])
            #expect(try await remote.repositoryExists(name))
            #expect(try await !remote.repositoryExists(RepositoryName("none")))
            let moved = await #expect(throws: RegistryError.self) {
                _ = try await put(second, to: remote, name, [.version(1)])
            }
            #expect(moved?.code == .denied)
            let missing = await #expect(throws: RegistryError.self) {
                try await remote.tags(in: RepositoryName("none"), last: nil, limit: nil)
            }
            #expect(missing?.code == .nameUnknown)
            try await remote.deleteManifest(.tag(.latest), in: name)
            #expect(try await remote.manifest(.tag(.latest), in: name) == nil)
            let mounted = try RepositoryName("demo/other")
            #expect(try await remote.mountBlob(first.layers[0].digest, from: name, to: mounted))
            #expect(try await !remote.mountBlob(.sha256(of: [9, 9]), from: name, to: mounted))
        }
    }

    @Test(arguments: [true, false]) func referrersAreFoundWithAndWithoutTheAPI(hasAPI: Bool) async throws {
        var options = OCIRoutes.Options()
        options.offersReferrers = hasAPI
        let store = MemoryStore()
        try await withRegistry(store, options: options) { remote in
            let anchor = BaseAnchor(fingerprint: .sha256(of: [1]))
            #expect(try await remote.referrers(of: anchor.digest, artifactType: nil, in: name).isEmpty)
            let one = try await push(
                "one", to: remote, name, subject: anchor.descriptor, artifactType: "application/x.one")
            let two = try await push(
                "two", to: remote, name, subject: anchor.descriptor, artifactType: "application/x.two")
            let first = try await put(one, to: remote, name)
            let second = try await put(two, to: remote, name)
            #expect(first.subject == anchor.digest)
            // Pushing again adds nothing.
            _ = try await put(two, to: remote, name)
            let all = try await remote.referrers(of: anchor.digest, artifactType: nil, in: name)
            #expect(Set(all.map(\.digest)) == [first.digest, second.digest])
            #expect(all.count == 2)
            let filtered = try await remote.referrers(of: anchor.digest, artifactType: "application/x.one", in: name)
            #expect(filtered.map(\.digest) == [first.digest])
            let fallback = Tag.referrersFallback(for: anchor.digest)
            let index = try await store.manifest(.tag(fallback), in: name)
            #expect((index == nil) == hasAPI)
            try await remote.deleteManifest(.digest(first.digest), in: name)
            let rest = try await remote.referrers(of: anchor.digest, artifactType: nil, in: name)
            #expect(rest.map(\.digest) == [second.digest])
        }
    }

    @Test func writersToOneFallbackTagDoNotLoseEachOther() async throws {
        var options = OCIRoutes.Options()
        options.offersReferrers = false
        try await withRegistry(options: options) { remote in
            let anchor = BaseAnchor(fingerprint: .sha256(of: [1]))
            var manifests: [Manifest] = []
            for number in 0..<4 {
                manifests.append(try await push("\(number)", to: remote, name, subject: anchor.descriptor))
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for manifest in manifests { group.addTask { _ = try await put(manifest, to: remote, name) } }
                try await group.waitForAll()
            }
            let found = try await remote.referrers(of: anchor.digest, artifactType: nil, in: name)
            #expect(Set(found.map(\.digest)) == Set(manifests.map { Digest.sha256(of: $0.serialized) }))
        }
    }

    @Test func aClosedPortIsToldInOneSentence() async throws {
        // A port that was free a moment ago.
        let closed = Log<Int>()
        try await withRegistry { closed.add(Int($0.host.authority.split(separator: ":")[1]) ?? 1) }
        let remote = try remote(closed.all[0]) { $0.maximumAttempts = 2 }
        let error = await #expect(throws: RegistryError.self) { try await remote.ping() }
        #expect(error?.code == .transport)
        #expect(error?.message.contains(remote.host.authority) == true)
    }
}

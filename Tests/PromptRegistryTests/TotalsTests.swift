import Foundation
import GRDB
import OCIArtifacts
import Synchronization
import TestSupport
import Testing

@testable import PromptRegistry

/// The totals that `registry status` and `/metrics` show are what counting gives, whatever has happened.
@Suite struct TotalsTests {
    private static var name: RepositoryName { get throws { try RepositoryName("team/a") } }

    /// What counting the rows gives, without a look at the totals.
    private static func counted(_ store: EmbeddedStore) async throws -> StoreStatistics {
        try await store.catalogue.read { db in
            func one(_ sql: String) throws -> Int { try Int.fetchOne(db, sql: "SELECT " + sql) ?? -1 }
            var result = StoreStatistics()
            result.repositories = try one("count(*) FROM repositories")
            result.manifests = try one("count(*) FROM manifests")
            result.tags = try one("count(*) FROM tags")
            result.blobs = try one("count(*) FROM blobs")
            result.blobBytes = try one("coalesce(sum(size), 0) FROM blobs")
            result.storedBytes = try one("coalesce(sum(stored_size), 0) FROM blobs")
            result.openUploads = try one("count(*) FROM uploads")
            result.deletedManifests = try one("count(*) FROM trash")
            return result
        }
    }

    @Test func `the totals follow every kind of change`() async throws {
        let clock = TestClock()
        let folder = try TemporaryFolder()
        let store = try folder.open {
            $0.clock = { clock.now }
            $0.inlineLimit = 100
        }
        let name = try Self.name
        func check(_ what: String) async throws {
            #expect(try await store.statistics() == Self.counted(store), "\(what)")
        }
        #expect(try await store.statistics() == StoreStatistics())
        var digests: [Digest] = []
        for number in 1...6 {
            let text = String(repeating: "words and \(number) ", count: number * 40)
            digests.append(
                .sha256(
                    of: try await RegistryStoreChecks.push(
                        text, to: store, name, tags: [Tag("v\(number)"), Tag("latest")])))
            try await check("push \(number)")
        }
        // The same once more, and the same blob in another repository: nothing comes twice.
        let before = try await store.statistics()
        let again = String(repeating: "words and 3 ", count: 120)
        _ = try await RegistryStoreChecks.push(again, to: store, name, tags: [Tag("v3")])
        #expect(try await store.statistics() == before)
        _ = try await RegistryStoreChecks.push(again, to: store, RepositoryName("team/b"), tags: [Tag("x")])
        try await check("a second repository")
        // An upload begins, gets bytes, and is given up; another one expires.
        for isCancelled in [true, false] {
            let session = try await store.beginUpload(in: name, algorithm: nil)
            let parts = Mutex<[[UInt8]]>([[1, 2, 3]])
            _ = try await store.append(to: session.id, in: name, expectedOffset: nil) {
                parts.withLock { $0.popLast() }
            }
            #expect(try await store.statistics()?.openUploads == 1)
            if isCancelled { try await store.cancelUpload(session.id, in: name) }
            try await check("an upload")
        }
        // A change that fails takes its counts back.
        let missing = Manifest(
            artifactType: "application/x.test", config: .empty,
            layers: [Descriptor(mediaType: "a/b", digest: .sha256(of: [9]), size: 1)])
        await #expect(throws: RegistryError.self) {
            try await store.putManifest(
                missing.serialized, mediaType: missing.mediaType, as: .tag(Tag("y")), tags: [],
                in: RepositoryName("team/new"))
        }
        try await check("a refused manifest")
        try await store.deleteManifest(.digest(digests[0]), in: name, force: true)
        try await store.deleteManifest(.digest(digests[1]), in: name, force: true)
        #expect(try await store.statistics()?.deletedManifests == 2)
        try await check("deletion")
        try await store.undelete(digests[0], in: name)
        try await check("undeletion")
        clock.advance(hours: 24 * 9)
        let report = try await store.collectGarbage(leaseDuration: 0)
        #expect(!report.blobs.isEmpty && report.uploads == 1 && report.trash == 1)
        try await check("collection")
        #expect(try await store.verify(readData: true).isSound)
        // A backup and what is restored from it count as well.
        _ = try await store.backup(to: folder.path + "/backup")
        try await EmbeddedStore.restore(from: folder.path + "/backup", to: folder.path + "/restored")
        let restored = try EmbeddedStore(path: folder.path + "/restored")
        #expect(try await restored.statistics() == store.statistics())
        #expect(try await restored.verify(readData: true).isSound)
    }

    @Test(arguments: [
        "UPDATE totals SET manifests = manifests + 1", "UPDATE totals SET stored_bytes = 7", "DELETE FROM totals",
        "UPDATE totals SET tags = 'many'", "UPDATE totals SET blobs = 0.5",
    ])
    func `wrong totals are found and counted anew`(_ sql: String) async throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/registry/catalogue.sqlite"
        let store = try folder.open()
        _ = try await RegistryStoreChecks.push("one", to: store, Self.name, tags: [Tag("v1")])
        let right = try await store.statistics()
        try await DatabaseQueue(path: path).write { try $0.execute(sql: sql) }
        let report = try await store.verify(readData: false)
        #expect(!report.isSound && report.problems.allSatisfy(\.isMiscount))
        // Nothing is refused because of them.
        _ = try await RegistryStoreChecks.push("two", to: store, Self.name, tags: [Tag("v1-b")])
        try await store.deleteManifest(.tag(Tag("v1-b")), in: Self.name, force: true)
        let result = try await store.repair(try await store.verify(readData: false), from: MemoryStore())
        #expect(result.hasRecounted && result.lost.isEmpty)
        #expect(try await store.verify(readData: true).isSound)
        #expect(try await store.statistics()?.tags == right?.tags)
    }

    @Test func `unreadable totals are an error that says what to do`() async throws {
        let folder = try TemporaryFolder()
        let store = try folder.open()
        for sql in ["UPDATE totals SET tags = 'many'", "DELETE FROM totals"] {
            try await DatabaseQueue(path: folder.path + "/registry/catalogue.sqlite").write { try $0.execute(sql: sql) }
            await #expect {
                try await store.statistics()
            } throws: { ($0 as? RegistryError)?.code == .corrupt && "\($0)".contains("repair") }
        }
    }
}

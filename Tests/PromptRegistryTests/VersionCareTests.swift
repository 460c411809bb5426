import Foundation
import GRDB
import OCIArtifacts
import TestSupport
import Testing

@testable import PromptRegistry

/// Deleting with grace, protection, rollback, quotas, repair, backup.
@Suite struct VersionCareTests {
    private static var name: RepositoryName { get throws { try RepositoryName("team/a") } }

    private static func push(_ text: String, to store: EmbeddedStore, _ tags: String...) async throws -> Digest {
        .sha256(of: try await RegistryStoreChecks.push(text, to: store, name, tags: tags.map { try Tag($0) }))
    }

    private static func layer(of digest: Digest, in store: EmbeddedStore) async throws -> Descriptor {
        let stored = try #require(try await store.manifest(.digest(digest), in: name))
        return try #require(try Manifest.parse(stored.bytes).layers.first)
    }

    @Test func aDeletedManifestComesBackWithItsTagsAndBlobs() async throws {
        let clock = TestClock()
        let folder = try TemporaryFolder()
        let store = try folder.open { $0.clock = { clock.now } }
        let digest = try await Self.push("one", to: store, "v1", "staging")
        let layer = try await Self.layer(of: digest, in: store)
        let note = ChangeNote(who: "alice", why: "mistake")
        try await ChangeNote.$current.withValue(note) {
            try await store.deleteManifest(.digest(digest), in: Self.name, force: true)
        }
        #expect(try await store.manifest(.digest(digest), in: Self.name) == nil)
        let listed = try await store.deletedManifests()
        #expect(listed.map(\.digest) == [digest])
        #expect(listed[0].tags.map(\.description) == ["staging", "v1"])
        #expect(listed[0].who == "alice" && listed[0].why == "mistake")
        // Collections within the grace leave what it needs alone, whatever the leases say.
        clock.advance(hours: 6 * 24)
        #expect(try await store.collectGarbage(leaseDuration: 0).blobs.isEmpty)
        #expect(try await store.undelete(digest, in: Self.name).map(\.description) == ["staging", "v1"])
        #expect(try await store.readBlob(layer.digest, in: Self.name) == Array("one".utf8))
        #expect(try await store.verify(readData: true).isSound)
        #expect(try await store.deletedManifests().isEmpty)
        // After the grace it is gone for good.
        try await store.deleteManifest(.digest(digest), in: Self.name, force: true)
        clock.advance(hours: 7 * 24 + 1)
        let report = try await store.collectGarbage(leaseDuration: 0)
        #expect(report.trash == 1)
        #expect(report.blobs.contains(layer.digest))
        await #expect(throws: RegistryError.self) { try await store.undelete(digest, in: Self.name) }
    }

    @Test func aTagTakenMeanwhileStaysWhereItIs() async throws {
        let folder = try TemporaryFolder()
        defer { withExtendedLifetime(folder) {} }
        let store = try folder.open()
        let first = try await Self.push("one", to: store, "v1", "staging")
        try await store.deleteManifest(.digest(first), in: Self.name, force: true)
        let second = try await Self.push("two", to: store, "staging")
        #expect(try await store.undelete(first, in: Self.name).map(\.description) == ["v1"])
        #expect(try await store.manifest(.tag(Tag("staging")), in: Self.name)?.digest == second)
    }

    @Test func aBlobDeletedAfterItsManifestIsStillKeptForUndeletion() async throws {
        let folder = try TemporaryFolder()
        defer { withExtendedLifetime(folder) {} }
        let store = try folder.open()
        let digest = try await Self.push("one", to: store, "x")
        let layer = try await Self.layer(of: digest, in: store)
        try await store.deleteManifest(.digest(digest), in: Self.name)
        try await store.deleteBlob(layer.digest, in: Self.name)
        #expect(try await store.blob(layer.digest, in: Self.name) == nil)
        _ = try await store.collectGarbage(leaseDuration: 0)
        try await store.undelete(digest, in: Self.name)
        #expect(try await store.readBlob(layer.digest, in: Self.name) == Array("one".utf8))
    }

    @Test func protectedTagsMoveOnlyWithAuthority() async throws {
        let folder = try TemporaryFolder()
        defer { withExtendedLifetime(folder) {} }
        let store = try folder.open()
        let first = try await Self.push("one", to: store, "production")
        let item = ProtectedTag(try Tag("production"), in: try RepositoryGlob("team/*"))
        try await store.protect(item)
        #expect(try await store.protectedTags() == [item])
        let second = try await Self.push("two", to: store, "staging")
        func denied(_ body: () async throws -> Void) async {
            await #expect { try await body() } throws: { ($0 as? RegistryError)?.code == .denied }
        }
        await denied { try await store.setTag(Tag("production"), to: second, in: Self.name) }
        await denied { try await store.deleteManifest(.tag(Tag("production")), in: Self.name) }
        await denied { try await store.deleteManifest(.digest(first), in: Self.name) }
        await denied { try await store.rollback(Tag("v1"), in: Self.name) }
        #expect(try await store.manifest(.tag(Tag("production")), in: Self.name)?.digest == first)
        let note = ChangeNote(who: "gate", why: "passed", mayMoveProtectedTags: true)
        try await ChangeNote.$current.withValue(note) {
            try await store.setTag(Tag("production"), to: second, in: Self.name)
        }
        #expect(try await store.manifest(.tag(Tag("production")), in: Self.name)?.digest == second)
        // Elsewhere it is a tag like any other.
        _ = try await RegistryStoreChecks.push(
            "three", to: store, RepositoryName("other/b"), tags: [Tag("production")])
        #expect(try await store.unprotect(item))
        try await store.setTag(Tag("production"), to: first, in: Self.name)
    }

    @Test func rollbackGoesBackStepByStep() async throws {
        let folder = try TemporaryFolder()
        defer { withExtendedLifetime(folder) {} }
        let store = try folder.open()
        var digests: [Digest] = []
        for text in ["one", "two", "three"] { digests.append(try await Self.push(text, to: store, "production")) }
        let tag = try Tag("production")
        let first = try await store.rollback(tag, in: Self.name)
        #expect(first.from == digests[2] && first.to == digests[1])
        let second = try await store.rollback(tag, in: Self.name)
        #expect(second.from == digests[1] && second.to == digests[0])
        await #expect(throws: RegistryError.self) { try await store.rollback(tag, in: Self.name) }
        // Forward again, and back: to where it came from.
        try await store.setTag(tag, to: digests[2], in: Self.name)
        #expect(try await store.rollback(tag, in: Self.name).to == digests[0])
        let reasons = try await store.tagEvents(in: Self.name, tag: tag).map(\.why)
        #expect(reasons.filter { $0.hasPrefix("rollback from") }.count == 3)
    }

    @Test func quotasBoundWhatARepositoryHolds() async throws {
        let folder = try TemporaryFolder()
        defer { withExtendedLifetime(folder) {} }
        let store = try folder.open()
        try await store.setQuota(RepositoryGlob("team/*"), bytes: 1000)
        let bytes = RegistryStoreChecks.noise(600, seed: 1)
        let digest = try await store.writeBlob(bytes, in: Self.name)
        // What is there already costs nothing more.
        try await store.writeBlob(bytes, in: Self.name)
        func denied(_ body: () async throws -> Void) async {
            await #expect { try await body() } throws: { ($0 as? RegistryError)?.code == .denied }
        }
        await denied { try await store.writeBlob(RegistryStoreChecks.noise(600, seed: 2), in: Self.name) }
        let other = try RepositoryName("free/b")
        let large = try await store.writeBlob(RegistryStoreChecks.noise(900, seed: 3), in: other)
        await denied { _ = try await store.mountBlob(large, from: other, to: Self.name) }
        #expect(try await store.blob(digest, in: Self.name) != nil)
        try await store.setQuota(RepositoryGlob("team/*"), bytes: nil)
        try await store.writeBlob(RegistryStoreChecks.noise(600, seed: 2), in: Self.name)
    }

    /// Every stored byte matters: a bit flipped in any blob is found, and a copy elsewhere mends it.
    @Test func aFlippedBitInEachBlobIsFoundAndMended() async throws {
        let folder = try TemporaryFolder()
        func open() throws -> EmbeddedStore { try folder.open { $0.inlineLimit = 100 } }
        let store = try open()
        let memory = MemoryStore()
        for text in [
            String(repeating: "abc ", count: 500), "small", String((0..<3000).map { _ in "xyz!?".randomElement()! }),
        ] {
            _ = try await Self.push(text, to: store, "x")
            _ = try await RegistryStoreChecks.push(text, to: memory, Self.name)
        }
        let files = folder.files("blobs")
        #expect(!files.isEmpty)
        for path in files {
            let sound = try #require(FileManager.default.contents(atPath: path))
            for position in [0, sound.count / 2, sound.count - 1] {
                var damaged = sound
                damaged[position] ^= 0x10
                try damaged.write(to: URL(fileURLWithPath: path))
                let report = try await open().verify(readData: true)
                #expect(report.problems.count == 1, "\(path) at \(position)")
                let result = try await open().repair(report, from: memory)
                #expect(result.repaired.count == 1 && result.lost.isEmpty)
                #expect(try await open().verify(readData: true).isSound)
            }
            unlink(path)
            let report = try await open().verify(readData: false)
            #expect(report.problems.count == 1)
            #expect(try await open().repair(report, from: memory).repaired.count == 1)
        }
        // Inline bytes, and manifests.
        let path = folder.path + "/registry/catalogue.sqlite"
        for sql in [
            "UPDATE blobs SET inline = zeroblob(length(inline)) WHERE inline IS NOT NULL AND length(inline) > 2",
            "UPDATE manifests SET bytes = replace(CAST(bytes AS TEXT), 'schema', 'Schema')",
        ] {
            try await DatabaseQueue(path: path).write { try $0.execute(sql: sql) }
            let report = try await open().verify(readData: true)
            #expect(!report.isSound)
            let result = try await open().repair(report, from: memory)
            #expect(result.lost.isEmpty)
            #expect(try await open().verify(readData: true).isSound)
        }
    }

    @Test func whatNobodyHasIsNamedAsLost() async throws {
        let folder = try TemporaryFolder()
        let store = try folder.open { $0.inlineLimit = 0 }
        _ = try await Self.push("one", to: store, "v1")
        for path in folder.files("blobs") { unlink(path) }
        let report = try await store.verify(readData: false)
        let result = try await store.repair(report, from: MemoryStore())
        #expect(result.repaired.isEmpty)
        #expect(result.lost.contains { $0.affected == ["team/a:v1"] })
    }

    @Test func aBackupIsARegistryAndIsRestored() async throws {
        let folder = try TemporaryFolder()
        let store = try folder.open { $0.inlineLimit = 10 }
        let digest = try await Self.push(String(repeating: "x y z ", count: 100), to: store, "v1")
        let target = folder.path + "/backup"
        let first = try await store.backup(to: target)
        #expect(first.filesCopied >= 1)
        _ = try await Self.push("more of it, and longer than ten bytes", to: store, "v2")
        let second = try await store.backup(to: target)
        #expect(second.filesKept == first.filesCopied)
        #expect(second.filesCopied == 1)
        let restored = folder.path + "/restored"
        let before = try FileManager.default.subpathsOfDirectory(atPath: target).sorted()
        let catalogue = try Data(contentsOf: URL(fileURLWithPath: target + "/catalogue.sqlite"))
        try await EmbeddedStore.restore(from: target, to: restored)
        // Restoring only reads: a backup on a medium that cannot be written to serves as well.
        #expect(try FileManager.default.subpathsOfDirectory(atPath: target).sorted() == before)
        #expect(try Data(contentsOf: URL(fileURLWithPath: target + "/catalogue.sqlite")) == catalogue)
        let copy = try EmbeddedStore(path: target)
        #expect(try await copy.verify(readData: true).isSound)
        #expect(try await copy.manifest(.tag(Tag("v1")), in: Self.name)?.digest == digest)
        #expect(try await EmbeddedStore(path: restored).tags(in: Self.name, last: nil, limit: nil).count == 2)
        await #expect { try await EmbeddedStore.restore(from: target, to: restored) } throws: {
            ($0 as? RegistryError)?.code == .denied
        }
        for path in try FileManager.default.subpathsOfDirectory(atPath: target + "/blobs") {
            var isFolder: ObjCBool = false
            let whole = target + "/blobs/" + path
            if FileManager.default.fileExists(atPath: whole, isDirectory: &isFolder), !isFolder.boolValue {
                truncate(whole, 1)
            }
        }
        await #expect(throws: RegistryError.self) {
            try await EmbeddedStore.restore(from: target, to: folder.path + "/third")
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/third"))
    }

    @Test(arguments: ["1 catalogue", "2 versions and care", "3 search within a base"])
    func everyEarlierSchemaIsBroughtUpToDate(_ schema: String) async throws {
        let folder = try TemporaryFolder()
        try FileManager.default.createDirectory(
            atPath: folder.path + "/registry", withIntermediateDirectories: true)
        let path = folder.path + "/registry/catalogue.sqlite"
        // As that schema's program left it, with a prompt, a deleted version 7, and a tag.
        let content = Descriptor.emptyContent
        let base = Digest.sha256(of: [1])
        let anchor = BaseAnchor(fingerprint: base)
        let manifest = Manifest(
            artifactType: MediaType.softPrompt, config: .empty, layers: [.empty], subject: anchor.descriptor,
            annotations: ["dev.incipit.metric.accuracy": "0.75", "dev.incipit.task": "gloss"])
        let digest = Digest.sha256(of: manifest.serialized)
        do {
            let queue = try DatabaseQueue(path: path)
            try Schema.migrator.migrate(queue, upTo: schema)
            try await queue.write { db in
                try db.execute(sql: "INSERT INTO repositories (id, name, created) VALUES (1, 'team/a', 1)")
                try db.execute(
                    sql: "INSERT INTO blobs VALUES (?, 2, 0, 2, ?, 1, 1)",
                    arguments: [Descriptor.empty.digest.description, Data(content)])
                try db.execute(
                    sql: "INSERT INTO repo_blobs VALUES (1, ?)", arguments: [Descriptor.empty.digest.description])
                let annotations = JSONNode.object(manifest.annotations.mapValues { .string($0) }).canonical
                try db.execute(
                    sql: "INSERT INTO manifests VALUES (1, 1, ?, ?, ?, ?, ?, ?, 1)",
                    arguments: [
                        digest.description, manifest.mediaType, MediaType.softPrompt, anchor.digest.description,
                        String(decoding: annotations, as: UTF8.self), Data(manifest.serialized),
                    ])
                try db.execute(
                    sql: "INSERT INTO refs VALUES (1, ?, 1)", arguments: [Descriptor.empty.digest.description])
                try db.execute(sql: "INSERT INTO tags VALUES (1, 'v2', ?, 1)", arguments: [digest.description])
                for tag in ["v2", "v7", "latest"] {
                    try db.execute(
                        sql:
                            "INSERT INTO tag_events (repository, tag, to_digest, who, why, at) VALUES ('team/a', ?, ?, '', '', 1)",
                        arguments: [tag, digest.description])
                }
                guard schema != "1 catalogue" else { return }
                for (key, value, number) in [
                    ("dev.incipit.metric.accuracy", "0.75", 0.75), ("dev.incipit.task", "gloss", nil),
                ] as [(String, String, Double?)] {
                    try db.execute(
                        sql: "INSERT INTO labels (key, value, number, manifest) VALUES (?, ?, ?, 1)",
                        arguments: [key, value, number])
                }
                try db.execute(sql: "INSERT INTO versions VALUES ('team/a', 7)")
                guard schema != "2 versions and care" else { return }
                try db.execute(sql: "UPDATE labels SET base = ?", arguments: [anchor.digest.searchKey])
            }
            try queue.close()
        }
        let store = try folder.open()
        #expect(try await store.verify(readData: true).isSound)
        var query = PromptQuery()
        query.metrics = [.init(name: "accuracy", isAtLeast: true, value: 0.7)]
        query.task = "gloss"
        #expect(try await store.search(query).map(\.digest) == [digest])
        // By the base as well, with a label and with a metric, which have an index each; and of no other base.
        for (wanted, isFound) in [(base, true), (Digest.sha256(of: [2]), false)] {
            query.base = wanted
            query.task = "gloss"
            #expect(try await store.search(query).isEmpty != isFound)
            query.task = nil
            #expect(try await store.search(query).isEmpty != isFound)
        }
        var totals = StoreStatistics()
        (totals.repositories, totals.manifests, totals.tags, totals.blobs) = (1, 1, 1, 1)
        (totals.blobBytes, totals.storedBytes) = (2, 2)
        #expect(try await store.statistics() == totals)
        // A new catalogue has exactly the same tables.
        func tables(_ path: String) async throws -> [String] {
            try await DatabaseQueue(path: path).read { db in
                try String.fetchAll(
                    db, sql: "SELECT name || coalesce(sql, '') FROM sqlite_master ORDER BY name")
            }
        }
        _ = try EmbeddedStore(path: folder.path + "/new")
        #expect(try await tables(path) == tables(folder.path + "/new/catalogue.sqlite"))
        let next = Manifest(artifactType: "application/x.test", config: .empty, layers: [.empty])
        let receipt = try await store.putNextVersion(
            next.serialized, mediaType: next.mediaType, tags: [], in: Self.name)
        #expect(receipt.number == 8)
    }
}

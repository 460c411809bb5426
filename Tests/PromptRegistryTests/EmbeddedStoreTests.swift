import Foundation
import GRDB
import OCIArtifacts
import TestSupport
import Testing

@testable import PromptRegistry

@Suite struct EmbeddedStoreTests {
    let repository: RepositoryName
    let folder: TemporaryFolder

    init() throws {
        repository = try RepositoryName("demo/thing")
        folder = try TemporaryFolder()
    }

    func expect(_ code: RegistryError.Code, _ body: () async throws -> Void) async {
        do {
            try await body()
            Issue.record("expected \(code)")
        } catch {
            #expect((error as? RegistryError)?.code == code, "\(error)")
        }
    }

    @Test func contentSurvivesReopening() async throws {
        let bytes = RegistryStoreChecks.noise(700_000, seed: 1)
        var manifest: [UInt8] = []
        do {
            let store = try folder.open()
            try await store.writeBlob(bytes, in: repository)
            manifest = try await RegistryStoreChecks.push("x", to: store, repository, tags: [.version(1)])
        }
        let store = try folder.open()
        let back = try await store.readBlob(.sha256(of: bytes), in: repository)
        #expect(back == bytes)
        let stored = try await store.manifest(.tag(.version(1)), in: repository)
        #expect(stored?.bytes == manifest)
        #expect(folder.files("blobs").count == 1)
    }

    @Test func commitsAreSynchronous() async throws {
        let store = try folder.open()
        let level = try await store.catalogue.write { db in try Int.fetchOne(db, sql: "PRAGMA synchronous") }
        #expect(level == 2)
    }

    @Test func manyHandlesWriteAtOnce() async throws {
        let shared = RegistryStoreChecks.noise(300_000, seed: 2)
        let folder = folder
        let repository = repository
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    let store = try folder.open()
                    for round in 0..<6 {
                        try await store.writeBlob(shared, in: repository)
                        let text = "worker \(worker) round \(round)"
                        let layer = Array(text.utf8)
                        try await store.writeBlob(layer, in: repository)
                        try await store.writeBlob(Descriptor.emptyContent, in: repository)
                        let manifest = Manifest(
                            artifactType: "a/b", config: .empty,
                            layers: [
                                Descriptor(of: layer, mediaType: "a/c"), Descriptor(of: shared, mediaType: "a/d"),
                            ])
                        _ = try await store.putNextVersion(
                            manifest.serialized, mediaType: manifest.mediaType, tags: [], in: repository)
                    }
                }
            }
            group.addTask {
                let store = try folder.open { $0.leaseDuration = 600 }
                for _ in 0..<5 { _ = try await store.collectGarbage() }
            }
            try await group.waitForAll()
        }
        let store = try folder.open()
        let versions = try await store.tags(in: repository, last: nil, limit: nil).compactMap(\.versionNumber).sorted()
        #expect(versions == Array(1...24))
        let report = try await store.verify(readData: true)
        #expect(report.isSound, "\(report.problems)")
    }

    @Test func theSameManifestKeepsItsVersion() async throws {
        let store = try folder.open()
        let first = try await RegistryStoreChecks.push("one", to: store, repository)
        let second = try await RegistryStoreChecks.push("two", to: store, repository)
        let a = try await store.putNextVersion(first, mediaType: "", tags: [], in: repository)
        let b = try await store.putNextVersion(second, mediaType: "", tags: [], in: repository)
        let again = try await store.putNextVersion(first, mediaType: "", tags: [], in: repository)
        #expect(a.number == 1 && b.number == 2 && again.number == 1)
        #expect(a.isNew && b.isNew && !again.isNew)
        let latest = try await store.manifest(.tag(.latest), in: repository)
        #expect(latest?.bytes == second)
    }

    @Test func deletedVersionsStayRetired() async throws {
        let store = try folder.open()
        let first = try await RegistryStoreChecks.push("one", to: store, repository, tags: [.version(1)])
        await expect(.denied) { try await store.deleteManifest(.tag(.version(1)), in: repository) }
        await expect(.denied) { try await store.deleteManifest(.digest(.sha256(of: first)), in: repository) }
        try await store.deleteManifest(.digest(.sha256(of: first)), in: repository, force: true)
        await expect(.denied) { try await RegistryStoreChecks.push("two", to: store, repository, tags: [.version(1)]) }
        let second = try await RegistryStoreChecks.push("two", to: store, repository)
        let receipt = try await store.putNextVersion(second, mediaType: "", tags: [], in: repository)
        #expect(receipt.number == 2)
    }

    @Test func theJournalRemembersWhoAndWhy() async throws {
        let store = try folder.open()
        let first = try await RegistryStoreChecks.push("one", to: store, repository, tags: [.latest])
        let second = try await RegistryStoreChecks.push("two", to: store, repository)
        try await ChangeNote.$current.withValue(ChangeNote(who: "alice", why: "better")) {
            try await store.setTag(.latest, to: .sha256(of: second), in: repository)
        }
        let events = try await store.tagEvents(in: repository, tag: .latest)
        #expect(events.map(\.who) == ["alice", "tester"])
        #expect(events.first?.from == .sha256(of: first) && events.first?.to == .sha256(of: second))
        #expect(events.first?.why == "better")
        await #expect(throws: (any Error).self) {
            try await store.catalogue.write { db in try db.execute(sql: "DELETE FROM tag_events") }
        }
    }

    // MARK: - Crashes and damage

    @Test func leftoversOfCrashesAreSwept() async throws {
        let clock = TestClock()
        let store = try folder.open { $0.clock = { clock.now } }
        try await RegistryStoreChecks.push("kept", to: store, repository)
        // A crash before the rename, one between rename and commit, and an upload without a row.
        let orphan = Digest.sha256(of: Array("orphan".utf8))
        let place = "\(folder.path)/registry/blobs/sha256/\(orphan.hex.prefix(2))"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        try Data("orphan".utf8).write(to: URL(fileURLWithPath: "\(place)/\(orphan.hex)"))
        try Data([1]).write(to: URL(fileURLWithPath: "\(folder.path)/registry/tmp/half"))
        try Data([1]).write(to: URL(fileURLWithPath: "\(folder.path)/registry/uploads/lost"))
        let invisible = try await store.blob(orphan, in: repository)
        #expect(invisible == nil)
        var report = try await store.collectGarbage()
        #expect(report.strayFiles == 0, "young files may still be in use")
        clock.advance(hours: 25)
        report = try await store.collectGarbage()
        #expect(report.strayFiles == 2)
        #expect(folder.files("blobs").isEmpty && folder.files("tmp").isEmpty)
        _ = try folder.open { $0.clock = { clock.now } }
        #expect(folder.files("uploads").isEmpty)
    }

    @Test(arguments: [50_000, 700_000])
    func aFlippedBitIsFoundOnReading(size: Int) async throws {
        let store = try folder.open { $0.inlineLimit = 1000 }
        let bytes =
            size == 50_000
            ? CodecTests.safetensors("F32", rows: 20, columns: 600) : RegistryStoreChecks.noise(size, seed: 4)
        let digest = try await store.writeBlob(bytes, in: repository)
        let path = try #require(folder.files("blobs").first)
        var stored = try Data(contentsOf: URL(fileURLWithPath: path))
        stored[stored.count / 2] ^= 4
        try stored.write(to: URL(fileURLWithPath: path))
        do {
            _ = try await store.readBlob(digest, in: repository)
            Issue.record("damage went unnoticed")
        } catch let error as RegistryError {
            #expect(error.code == .corrupt && error.digest == digest)
            #expect(error.description.contains(digest.description))
        }
        let report = try await store.verify(readData: true)
        #expect(report.problems.map(\.digest) == [digest])
        // Pushing it again heals it.
        try await store.writeBlob(bytes, in: repository)
        let back = try await store.readBlob(digest, in: repository)
        #expect(back == bytes)
    }

    @Test func missingAndShortFilesAreReported() async throws {
        let store = try folder.open { $0.inlineLimit = 10 }
        let manifest = try await RegistryStoreChecks.push(
            "long enough to be a file", to: store, repository, tags: [.version(1)])
        let path = try #require(folder.files("blobs").first)
        try Data([1]).write(to: URL(fileURLWithPath: path))
        var report = try await store.verify(readData: false)
        #expect(report.problems.count == 1 && report.problems.first?.affected == ["demo/thing:v1"])
        try FileManager.default.removeItem(atPath: path)
        report = try await store.verify(readData: false)
        #expect(report.problems.count == 1)
        try await store.catalogue.write { db in
            try db.execute(sql: "UPDATE manifests SET bytes = ?", arguments: [Data(manifest.reversed())])
        }
        await expect(.corrupt) { _ = try await store.manifest(.tag(.version(1)), in: repository) }
    }

    @Test func aNewerRegistryIsRefused() async throws {
        do {
            let store = try folder.open()
            try await store.catalogue.write { db in
                try db.execute(sql: "INSERT INTO grdb_migrations (identifier) VALUES ('999 the future')")
            }
        }
        #expect { try folder.open() } throws: { "\($0)".contains("newer") }
    }

    // MARK: - Garbage

    @Test func garbageGoesOnlyAfterItsLease() async throws {
        let clock = TestClock()
        let store = try folder.open { $0.clock = { clock.now } }
        let bytes = RegistryStoreChecks.noise(200_000, seed: 5)
        let digest = try await store.writeBlob(bytes, in: repository)
        let manifest = try await RegistryStoreChecks.push("kept", to: store, repository, tags: [.latest])
        clock.advance(hours: 20)
        // A HEAD renews the lease of what it reports.
        _ = try await store.blob(digest, in: repository)
        clock.advance(hours: 20)
        var report = try await store.collectGarbage()
        #expect(report.blobs.isEmpty)
        clock.advance(hours: 5)
        report = try await store.collectGarbage()
        #expect(report.blobs == [digest] && report.bytesFreed == 200_000)
        #expect(folder.files("blobs").isEmpty)
        let gone = try await store.blob(digest, in: repository)
        #expect(gone == nil)
        let kept = try await store.readBlob(.sha256(of: Array("kept".utf8)), in: repository)
        #expect(kept == Array("kept".utf8))
        try await store.deleteManifest(.digest(.sha256(of: manifest)), in: repository)
        report = try await store.collectGarbage(leaseDuration: 0, trashLifetime: 0)
        #expect(report.blobs.count == 2)
    }

    // MARK: - Uploads

    @Test func uploadsGoOnAfterARestart() async throws {
        let bytes = RegistryStoreChecks.noise(400_000, seed: 6)
        let digest = Digest.of(bytes, algorithm: .sha512)
        let first = try folder.open()
        let session = try await first.beginUpload(in: repository, algorithm: nil)
        let head = ChunkSource(Array(bytes[..<150_000]))
        let after = try await first.append(to: session.id, in: repository, expectedOffset: 0) { head.next() }
        #expect(after.offset == 150_000)
        // Bytes beyond the durable offset, as a crash in the middle of a chunk leaves them.
        let path = try #require(folder.files("uploads").first)
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data([1, 2, 3]))
        try handle.close()

        let second = try folder.open()
        let found = try await second.upload(session.id, in: repository)
        #expect(found?.offset == 150_000)
        await expect(.rangeInvalid) {
            _ = try await second.append(to: session.id, in: repository, expectedOffset: 7) { nil }
        }
        let tail = ChunkSource(Array(bytes[150_000...]), chunkSize: 99_999)
        _ = try await second.append(to: session.id, in: repository, expectedOffset: 150_000) { tail.next() }
        try await second.finishUpload(session.id, in: repository, digest: digest)
        let back = try await first.readBlob(digest, in: repository)
        #expect(back == bytes)
        #expect(folder.files("uploads").isEmpty && folder.files("tmp").isEmpty)
        await expect(.blobUploadUnknown) {
            try await second.finishUpload(session.id, in: repository, digest: digest)
        }
    }

    @Test func aBrokenStreamKeepsWhatCame() async throws {
        struct Broken: Error {}
        let store = try folder.open()
        let session = try await store.beginUpload(in: repository, algorithm: .sha256)
        let source = ChunkSource(RegistryStoreChecks.noise(1000, seed: 7), chunkSize: 400)
        await #expect(throws: Broken.self) {
            _ = try await store.append(to: session.id, in: repository, expectedOffset: nil) {
                guard let chunk = source.next(), chunk.count == 400 else { throw Broken() }
                return chunk
            }
        }
        let found = try await store.upload(session.id, in: repository)
        #expect(found?.offset == 800)
        let rest = ChunkSource(Array(RegistryStoreChecks.noise(1000, seed: 7)[800...]))
        _ = try await store.append(to: session.id, in: repository, expectedOffset: 800) { rest.next() }
        try await store.finishUpload(
            session.id, in: repository, digest: .sha256(of: RegistryStoreChecks.noise(1000, seed: 7)))
    }

    @Test(arguments: [true, false])
    func wrongDigestsEndAnUpload(isEmbedded: Bool) async throws {
        let store: any UploadStore = isEmbedded ? try folder.open() : MemoryStore()
        let session = try await store.beginUpload(in: repository, algorithm: nil)
        let source = ChunkSource([1, 2, 3])
        _ = try await store.append(to: session.id, in: repository, expectedOffset: 0) { source.next() }
        let wrong = Digest.sha256(of: [9])
        await expect(.digestInvalid) { try await store.finishUpload(session.id, in: repository, digest: wrong) }
        let blob = try await store.blob(wrong, in: repository)
        #expect(blob == nil)
        let gone = try await store.upload(session.id, in: repository)
        #expect(gone == nil)
        #expect(folder.files("uploads").isEmpty)
    }

    @Test func uploadsExpireAndCancel() async throws {
        let clock = TestClock()
        let store = try folder.open { $0.clock = { clock.now } }
        let cancelled = try await store.beginUpload(in: repository, algorithm: nil)
        try await store.cancelUpload(cancelled.id, in: repository)
        await expect(.blobUploadUnknown) { try await store.cancelUpload(cancelled.id, in: repository) }
        let session = try await store.beginUpload(in: repository, algorithm: nil)
        let other = try await store.upload(session.id, in: RepositoryName("demo/other"))
        #expect(other == nil)
        clock.advance(hours: 25)
        let expired = try await store.upload(session.id, in: repository)
        #expect(expired == nil)
        let report = try await store.collectGarbage()
        #expect(report.uploads == 1)
        #expect(folder.files("uploads").isEmpty)
    }

    @Test func embeddedDataBecomesABlob() async throws {
        let store = try folder.open()
        var config = Descriptor.empty
        config.data = Data(Descriptor.emptyContent)
        let manifest = Manifest(artifactType: "a/b", config: config, layers: [])
        _ = try await store.putManifest(
            manifest.serialized, mediaType: manifest.mediaType, as: .tag(.latest), tags: [], in: repository)
        let blob = try await store.readBlob(Descriptor.empty.digest, in: repository)
        #expect(blob == Descriptor.emptyContent)
    }

    @Test func fallbackTagsPushedByOthersAreListed() async throws {
        let store = try folder.open()
        let subject = Digest.sha256(of: Array("subject".utf8))
        let bytes = try await RegistryStoreChecks.push("r", to: store, repository)
        let entry = Descriptor(mediaType: MediaType.imageManifest, digest: .sha256(of: bytes), size: bytes.count)
        let absent = Descriptor(mediaType: MediaType.imageManifest, digest: subject, size: 1)
        let index = ImageIndex(manifests: [entry, absent])
        _ = try await store.putManifest(
            index.serialized, mediaType: MediaType.imageIndex, as: .tag(.referrersFallback(for: subject)), tags: [],
            in: repository)
        let found = try await store.referrers(of: subject, artifactType: nil, in: repository)
        #expect(found == [entry])
    }
}

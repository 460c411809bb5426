import Foundation
import OCIArtifacts
import Synchronization
import TestSupport
import Testing

@testable import PromptRegistry

/// Sweeps and collections of another process whose clock is far ahead leave alone what somebody is working on.
@Suite struct SweepTests {
    private let repository: RepositoryName
    private let folder: TemporaryFolder

    init() throws {
        repository = try RepositoryName("demo/thing")
        folder = try TemporaryFolder()
    }

    /// Opens the registry a hundred days ahead, which sweeps it, and collects everything whose time is over.
    private func collectInTheFuture() async throws -> GarbageReport {
        let later = Date(timeIntervalSinceNow: 100 * 24 * 3600)
        let store = try folder.open { $0.clock = { later } }
        return try await store.collectGarbage(leaseDuration: 0, trashLifetime: 0)
    }

    /// Hands out the pieces, and runs `between` before the last one.
    private func source(
        _ pieces: [[UInt8]], between: @escaping @Sendable () async throws -> Void
    ) -> @Sendable () async throws -> [UInt8]? {
        let rest = Mutex(pieces)
        return {
            if rest.withLock({ $0.count }) == 1 { try await between() }
            return rest.withLock { $0.isEmpty ? nil : $0.removeFirst() }
        }
    }

    @Test(arguments: [1, 1 << 20])
    func `a blob on its way in survives a sweep by a clock that is ahead`(_ repetition: Int) async throws {
        let store = try folder.open { $0.inlineLimit = 10 }
        // Noise stays as it is, in the file it came into; what repeats goes into a second, smaller one.
        let noise = RegistryStoreChecks.noise((3 << 20) / repetition, seed: 7)
        let bytes = Array(repeatElement(noise, count: repetition).joined().prefix(3 << 20))
        let pieces = [Array(bytes[..<(2 << 20)]), Array(bytes[(2 << 20)...])]
        let report = Mutex<GarbageReport?>(nil)
        let digest = Digest.sha256(of: bytes)
        try await store.writeBlob(
            digest, size: nil, in: repository,
            from: source(pieces) {
                let found = try await collectInTheFuture()
                report.withLock { $0 = found }
            })
        #expect(report.withLock { $0 }?.strayFiles == 0)
        #expect(try await store.readBlob(digest, in: repository) == bytes)
        #expect(folder.files("tmp").isEmpty)
    }

    @Test func `a temporary file is kept until its blob is in place, and swept when nobody holds it`() async throws {
        let store = try folder.open { $0.inlineLimit = 10 }
        let bytes = RegistryStoreChecks.noise(3 << 20, seed: 8)
        for isInPieces in [true, false] {
            let prepared: PreparedBlob
            if isInPieces {
                let intake = BlobIntake(files: store.files, algorithm: .sha256)
                try intake.append(bytes)
                prepared = try intake.prepare(inlineLimit: 10)
            } else {
                prepared = try PreparedBlob(bytes, inlineLimit: 10, files: store.files)
            }
            #expect(try await collectInTheFuture().strayFiles == 0)
            #expect(folder.files("tmp").count == 1)
            try await store.publish(prepared, as: .sha256(of: bytes), to: repository)
            #expect(try await store.readBlob(.sha256(of: bytes), in: repository) == bytes)
        }
        // As a crash leaves it: there, and held by nobody.
        _ = try PreparedBlob(RegistryStoreChecks.noise(1 << 20, seed: 9), inlineLimit: 10, files: store.files).file
        #expect(folder.files("tmp").count == 1)
        #expect(try await store.collectGarbage().strayFiles == 0, "too young")
        _ = try await collectInTheFuture()
        #expect(folder.files("tmp").isEmpty)
    }

    @Test func `an upload that is being written to does not expire`() async throws {
        let store = try folder.open()
        let bytes = RegistryStoreChecks.noise(400_000, seed: 10)
        let session = try await store.beginUpload(in: repository, algorithm: nil)
        _ = try await store.append(
            to: session.id, in: repository, expectedOffset: 0,
            from: source([Array(bytes[..<200_000]), Array(bytes[200_000...])]) {
                let report = try await collectInTheFuture()
                #expect(report.uploads == 0)
            })
        #expect(try await store.upload(session.id, in: repository)?.offset == 400_000)
        try await store.finishUpload(session.id, in: repository, digest: .sha256(of: bytes))
        #expect(try await store.readBlob(.sha256(of: bytes), in: repository) == bytes)
        // One that nobody works on does.
        let other = try await store.beginUpload(in: repository, algorithm: nil)
        _ = try await store.append(to: other.id, in: repository, expectedOffset: 0, from: source([[1]]) {})
        _ = try await collectInTheFuture()
        #expect(try await store.upload(other.id, in: repository) == nil)
        #expect(folder.files("uploads").isEmpty)
    }

    @Test func `an upload that got a byte since it was found too old stays`() async throws {
        let store = try folder.open()
        let session = try await store.beginUpload(in: repository, algorithm: nil)
        _ = try await store.append(to: session.id, in: repository, expectedOffset: 0, from: source([[1]]) {})
        #expect(try !store.expireUpload(session.id, before: store.now - 1000))
        #expect(try await store.upload(session.id, in: repository)?.offset == 1)
        #expect(try store.expireUpload(session.id, before: store.now + 1000))
        #expect(try await store.upload(session.id, in: repository) == nil)
        #expect(try !store.expireUpload(session.id, before: store.now + 1000))
    }
}

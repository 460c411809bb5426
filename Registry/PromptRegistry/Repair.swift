import Foundation
import GRDB
import OCIArtifacts

/// What a repair did.
public struct RepairReport: Hashable, Sendable {
    /// Fetched anew, and sound again.
    public var repaired: [Digest] = []
    /// Whether the catalogue's totals were wrong and have been counted anew.
    public var hasRecounted = false
    /// What the source could not give, with the names that do not work because of it.
    public var lost: [VerificationReport.Problem] = []

    public init() {}
}

extension EmbeddedStore {
    /// Fetches what is damaged or missing from another store that has it: a remote registry, a layout, a backup; and counts
    /// the catalogue's totals anew where they are wrong.
    ///
    /// - Parameters:
    ///   - report: what ``verify(readData:sample:)`` found.
    ///   - nameThere: what a repository of ours is called in the source; the same by default.
    public func repair(
        _ report: VerificationReport, from source: any RegistryStore,
        nameThere: @Sendable (RepositoryName) -> RepositoryName = { $0 }
    ) async throws -> RepairReport {
        var result = RepairReport()
        var seen: Set<Digest> = []
        for problem in report.problems where !problem.isMiscount {
            guard let digest = problem.digest else {
                result.lost.append(problem)
                continue
            }
            guard seen.insert(digest).inserted else { continue }
            let isManifest = try await repairManifest(digest, from: source, nameThere)
            let isBlob = try await repairBlob(digest, from: source, nameThere)
            if isManifest || isBlob { result.repaired.append(digest) } else { result.lost.append(problem) }
        }
        // Last, since what was fetched may have changed them.
        if report.problems.contains(where: \.isMiscount) {
            try await catalogue.write { db in try Totals.recount(db) }
            result.hasRecounted = true
        }
        return result
    }

    private func repairBlob(
        _ digest: Digest, from source: any RegistryStore, _ nameThere: (RepositoryName) -> RepositoryName
    ) async throws -> Bool {
        let holders = try await catalogue.read { db in
            try String.fetchAll(
                db,
                sql: """
                    SELECT name FROM repo_blobs JOIN repositories ON repositories.id = repo_blobs.repository
                    WHERE digest = ?1
                    UNION SELECT name FROM refs JOIN manifests ON manifests.id = refs.manifest
                        JOIN repositories ON repositories.id = manifests.repository WHERE refs.digest = ?1
                    """, arguments: [digest.description]
            ).map { try RepositoryName($0) }
        }
        for name in holders {
            guard let bytes = try? await source.readBlob(digest, in: nameThere(name), limit: 1 << 30),
                Digest.of(bytes, algorithm: digest.algorithm) == digest
            else { continue }
            recentBlobs.remove(digest)
            // The row may describe a form that is damaged; what is written now describes itself.
            let prepared = try await offload { [self] in
                try PreparedBlob(bytes, inlineLimit: options.inlineLimit, files: files)
            }
            defer { prepared.discard() }
            let now = now
            try await catalogue.writeAlone { [self] db in
                if let file = prepared.file { try files.publish(file, as: digest) }
                try db.putBlob(digest, prepared, now: now)
                for name in holders { try db.link(digest, to: db.ensureRepository(name, now: now)) }
            }
            // What lies in the catalogue now needs no file, least of all a damaged one.
            if prepared.inline != nil { StorageFiles.remove(files.path(of: digest)) }
            return true
        }
        return false
    }

    private func repairManifest(
        _ digest: Digest, from source: any RegistryStore, _ nameThere: (RepositoryName) -> RepositoryName
    ) async throws -> Bool {
        let names = try await catalogue.read { db in
            try String.fetchAll(
                db,
                sql: """
                    SELECT name FROM manifests JOIN repositories ON repositories.id = manifests.repository
                    WHERE digest = ?
                    """, arguments: [digest.description]
            ).map { try RepositoryName($0) }
        }
        for name in names {
            guard let stored = try? await source.manifest(.digest(digest), in: nameThere(name)),
                Digest.of(stored.bytes, algorithm: digest.algorithm) == digest
            else { continue }
            try await catalogue.write { db in
                try db.execute(
                    sql: "UPDATE manifests SET bytes = ?, media_type = ? WHERE digest = ?",
                    arguments: [Data(stored.bytes), stored.mediaType, digest.description])
            }
            return true
        }
        return false
    }
}

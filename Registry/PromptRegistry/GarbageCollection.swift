import Foundation
import GRDB
import OCIArtifacts

/// What a garbage collection removed.
public struct GarbageReport: Hashable, Sendable {
    /// Blobs that nothing referred to.
    public var blobs: [Digest] = []
    /// Their bytes on disk.
    public var bytesFreed = 0
    /// Links of repositories to blobs that none of their manifests need.
    public var links = 0
    /// Files without a row: what crashes left behind.
    public var strayFiles = 0
    /// Deleted manifests whose grace is over.
    public var trash = 0
    /// Uploads that expired.
    public var uploads = 0

    public init() {}
}

extension EmbeddedStore {
    /// Removes what nothing refers to, while others go on reading and writing.
    ///
    /// A blob goes when no manifest needs it and its lease is over. Both are checked inside the very transaction that
    /// deletes its row, so a push that re-uses the blob either comes first and keeps it, or finds it gone and uploads it
    /// again; it never gets a broken manifest. Files are unlinked after that commit, each one inside a transaction that
    /// has looked again: writers move files into place inside theirs.
    ///
    /// - Parameters:
    ///   - leaseDuration: seconds that unreferenced blobs are kept after their last use; nil: the store's.
    ///   - trashLifetime: seconds that deleted manifests are kept; nil: the store's.
    public func collectGarbage(
        leaseDuration: TimeInterval? = nil, trashLifetime: TimeInterval? = nil
    ) async throws -> GarbageReport {
        let lease = leaseDuration ?? options.leaseDuration
        let cutoff = now - Int64(lease * 1000)
        let guardian = try OutputFile(path: files.collectionLock, isNew: false)
        try await offload { try guardian.waitForLock() }
        defer { guardian.unlock() }
        let emptied = try await emptyTrash(olderThan: trashLifetime ?? options.trashLifetime)
        var report = try await deleteRows(leasedBefore: cutoff)
        report.trash = emptied
        for digest in report.blobs {
            recentBlobs.remove(digest)
            _ = try await unlinkIfUnknown(digest, at: files.path(of: digest))
        }
        report.strayFiles = try await removeStrayFiles()
        report.uploads = try await removeExpiredUploads()
        return report
    }

    private func deleteRows(leasedBefore cutoff: Int64) async throws -> GarbageReport {
        try await catalogue.write { db in
            var report = GarbageReport()
            try db.execute(
                sql: """
                    DELETE FROM repo_blobs
                    WHERE NOT EXISTS (
                        SELECT 1 FROM refs JOIN manifests ON manifests.id = refs.manifest
                        WHERE refs.digest = repo_blobs.digest AND manifests.repository = repo_blobs.repository)
                    AND NOT EXISTS (SELECT 1 FROM trash_refs WHERE trash_refs.digest = repo_blobs.digest)
                    AND (SELECT last_leased FROM blobs WHERE blobs.digest = repo_blobs.digest) <= ?
                    """, arguments: [cutoff])
            report.links = db.changesCount
            let doomed = try Row.fetchAll(
                db,
                sql: """
                    SELECT digest, stored_size FROM blobs WHERE last_leased <= ?
                    AND NOT EXISTS (SELECT 1 FROM repo_blobs WHERE repo_blobs.digest = blobs.digest)
                    AND NOT EXISTS (SELECT 1 FROM refs WHERE refs.digest = blobs.digest)
                    AND NOT EXISTS (SELECT 1 FROM trash_refs WHERE trash_refs.digest = blobs.digest)
                    ORDER BY digest
                    """, arguments: [cutoff])
            for row in doomed {
                let text: String = row["digest"]
                try db.execute(sql: "DELETE FROM blobs WHERE digest = ?", arguments: [text])
                report.blobs.append(try Digest(text))
                report.bytesFreed += row["stored_size"]
            }
            return report
        }
    }

    /// Unlinks a blob's file unless a row (again) says that it is needed.
    private func unlinkIfUnknown(_ digest: Digest, at path: String) async throws -> Bool {
        try await catalogue.writeAlone { db in
            let isNeeded = try Bool.fetchOne(
                db, sql: "SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = ? AND inline IS NULL)",
                arguments: [digest.description])
            guard isNeeded != true else { return false }
            StorageFiles.remove(path)
            return true
        }
    }

    private func removeStrayFiles() async throws -> Int {
        let strayBefore = options.clock().addingTimeInterval(-options.strayLifetime)
        let known = try await catalogue.read { db in
            try Set(String.fetchAll(db, sql: "SELECT digest FROM blobs WHERE inline IS NULL"))
        }
        let files = files
        let suspects = try await offload { () -> [(digest: Digest?, path: String)] in
            var suspects: [(digest: Digest?, path: String)] = []
            for (digest, path, modified) in Self.blobFiles(files) where modified < strayBefore {
                if let digest, known.contains(digest.description) { continue }
                suspects.append((digest, path))
            }
            return suspects
        }
        var count = 0
        for suspect in suspects {
            if let digest = suspect.digest {
                if try await unlinkIfUnknown(digest, at: suspect.path) { count += 1 }
            } else {
                StorageFiles.remove(suspect.path)
                count += 1
            }
        }
        return count + files.sweepTemporaries(before: strayBefore)
    }

    private func removeExpiredUploads() async throws -> Int {
        let oldest = now - Int64(options.uploadLifetime * 1000)
        let expired = try await catalogue.read { db in
            try String.fetchAll(db, sql: "SELECT id FROM uploads WHERE updated < ?", arguments: [oldest])
        }
        var count = 0
        for id in expired where try await offload({ [self] in try expireUpload(id, before: oldest) }) { count += 1 }
        return count + pendingUploads.removeExpired(begunBefore: oldest)
    }

    /// All files below `blobs`; the digest is nil for a name that is none.
    static func blobFiles(_ files: StorageFiles) -> [(digest: Digest?, path: String, modified: Date)] {
        var result: [(digest: Digest?, path: String, modified: Date)] = []
        for algorithm in Digest.Algorithm.allCases {
            let folder = "\(files.blobs)/\(algorithm.rawValue)"
            for prefix in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
                for file in StorageFiles.files(in: "\(folder)/\(prefix)") {
                    let digest = try? Digest("\(algorithm.rawValue):\(file.name)")
                    result.append((digest, "\(folder)/\(prefix)/\(file.name)", file.modified))
                }
            }
        }
        return result
    }
}

import Foundation
import GRDB
import OCIArtifacts

/// A deleted manifest that can still be had back.
public struct DeletedManifest: Hashable, Sendable {
    public let repository: RepositoryName
    public let digest: Digest
    /// The tags it had.
    public let tags: [Tag]
    public let who: String
    public let why: String
    public let at: Date
    /// When garbage collection will remove it for good.
    public let keptUntil: Date
}

// Deleting with a grace: to clients a deleted manifest is gone at once, but its bytes, its tags and the blobs it needs
// are kept for a while.
extension EmbeddedStore {
    /// What can be had back, newest first.
    public func deletedManifests(in repository: RepositoryName? = nil) async throws -> [DeletedManifest] {
        let lifetime = options.trashLifetime
        return try await catalogue.read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT repository, digest, tags, who, why, at FROM trash
                    WHERE ? IS NULL OR repository = ? ORDER BY id DESC
                    """, arguments: [repository?.description, repository?.description]
            ).map { row in
                let at: Int64 = row["at"]
                let date = Date(timeIntervalSince1970: Double(at) / 1000)
                return DeletedManifest(
                    repository: try RepositoryName(row["repository"]), digest: try Digest(row["digest"]),
                    tags: try Self.tags(row["tags"]), who: row["who"], why: row["why"], at: date,
                    keptUntil: date.addingTimeInterval(lifetime))
            }
        }
    }

    /// Brings a deleted manifest back, with those of its tags that nothing else has taken since.
    ///
    /// - Returns: the tags that are on it again.
    /// - Throws: `.manifestUnknown` when it is not in the trash (any more); `.manifestBlobUnknown` when one of its blobs
    ///   was deleted on its own and collected.
    @discardableResult
    public func undelete(_ digest: Digest, in repository: RepositoryName) async throws -> [Tag] {
        let now = now
        let found = try await catalogue.read { db in
            try Row.fetchOne(
                db, sql: "SELECT * FROM trash WHERE repository = ? AND digest = ? ORDER BY id DESC LIMIT 1",
                arguments: [repository.description, digest.description]
            ).map { row -> (StoredManifest, [Tag]) in
                let bytes: Data = row["bytes"]
                return (
                    StoredManifest(digest: digest, mediaType: row["media_type"], bytes: Array(bytes)),
                    try Self.tags(row["tags"])
                )
            }
        }
        guard let (stored, tags) = found else {
            throw RegistryError(
                .manifestUnknown, "\(repository)@\(digest) is not among what can be restored", repository: repository,
                digest: digest)
        }
        let admission = try ManifestAdmission(
            stored.bytes, mediaType: stored.mediaType, as: .digest(digest), tags: [], in: repository)
        let put = try prepare(admission, in: repository)
        return try await catalogue.write { db in
            let id = try db.ensureRepository(repository, now: now)
            for blob in admission.manifest.blobs {
                let isThere = try Bool.fetchOne(
                    db, sql: "SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = ?)",
                    arguments: [blob.digest.description])
                if isThere == true { try db.link(blob.digest, to: id) }
            }
            var free: [Tag] = []
            for tag in tags {
                let taken = try String.fetchOne(
                    db, sql: "SELECT digest FROM tags WHERE repository = ? AND name = ?",
                    arguments: [id, tag.description])
                if taken == nil { free.append(tag) }
            }
            try put.run(db, tags: free)
            try db.execute(
                sql: "DELETE FROM trash WHERE repository = ? AND digest = ?",
                arguments: [repository.description, digest.description])
            return free
        }
    }

    /// Removes what has been in the trash for longer than its grace; the number of manifests.
    func emptyTrash(olderThan lifetime: TimeInterval) async throws -> Int {
        let oldest = now - Int64(lifetime * 1000)
        return try await catalogue.write { db in
            try db.execute(sql: "DELETE FROM trash WHERE at <= ?", arguments: [oldest])
            return db.changesCount
        }
    }

    private static func tags(_ text: String) throws -> [Tag] {
        try (JSONNode.parse(Array(text.utf8)).array ?? []).compactMap { try $0.string.map { try Tag($0) } }
    }
}

extension Database {
    /// Copies a manifest that is about to be deleted into the trash.
    func putInTrash(
        _ digest: Digest, tags: [Tag], of repository: RepositoryName, _ id: Int64, note: ChangeNote, now: Int64
    ) throws {
        guard
            let row = try Row.fetchOne(
                self, sql: "SELECT id, media_type, bytes FROM manifests WHERE repository = ? AND digest = ?",
                arguments: [id, digest.description])
        else { return }
        let names = JSONNode.array(tags.map { .string($0.description) }).canonical
        try execute(
            sql: """
                INSERT INTO trash (repository, digest, media_type, bytes, tags, who, why, at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                repository.description, digest.description, row["media_type"] as String, row["bytes"] as Data,
                String(decoding: names, as: UTF8.self), note.who, note.why, now,
            ])
        try execute(
            sql: "INSERT INTO trash_refs (trash, digest) SELECT ?, digest FROM refs WHERE manifest = ?",
            arguments: [lastInsertedRowID, row["id"] as Int64])
    }
}

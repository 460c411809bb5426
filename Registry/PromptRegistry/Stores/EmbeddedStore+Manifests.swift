import Foundation
import GRDB
import OCIArtifacts

extension EmbeddedStore {
    public func manifest(
        _ reference: ManifestReference, in repository: RepositoryName
    ) async throws -> StoredManifest? {
        let stored = try await catalogue.read { db -> StoredManifest? in
            guard let id = try db.repositoryID(repository) else { return nil }
            return try db.manifestRow(reference, in: id)
        }
        guard let stored else { return nil }
        guard Digest.of(stored.bytes, algorithm: stored.digest.algorithm) == stored.digest else {
            throw RegistryError(
                .corrupt, "stored manifest \(stored.digest) of \(repository) no longer has its digest",
                repository: repository, digest: stored.digest, path: files.catalogue)
        }
        return stored
    }

    // MARK: - Storing

    public func putManifest(
        _ bytes: [UInt8], mediaType: String, as reference: ManifestReference, tags: [Tag],
        in repository: RepositoryName
    ) async throws -> ManifestReceipt {
        let admission = try ManifestAdmission(bytes, mediaType: mediaType, as: reference, tags: tags, in: repository)
        let put = try prepare(admission, in: repository)
        try await catalogue.write { db in try put.run(db, tags: admission.tags) }
        return ManifestReceipt(digest: admission.stored.digest, subject: admission.manifest.subject?.digest)
    }

    public func putNextVersion(
        _ bytes: [UInt8], mediaType: String, tags: [Tag], in repository: RepositoryName
    ) async throws -> VersionReceipt {
        let digest = Digest.sha256(of: bytes)
        let admission = try ManifestAdmission(
            bytes, mediaType: mediaType, as: .digest(digest), tags: tags, in: repository)
        let put = try prepare(admission, in: repository)
        return try await catalogue.write { db in
            let existing = try Tag.versions(
                String.fetchAll(
                    db,
                    sql: """
                        SELECT tags.name FROM tags JOIN repositories ON repositories.id = tags.repository
                        WHERE repositories.name = ? AND tags.digest = ?
                        """, arguments: [repository.description, digest.description])
            ).min()
            let highest = try Int.fetchOne(
                db, sql: "SELECT highest FROM versions WHERE repository = ?", arguments: [repository.description])
            let number = existing ?? (highest ?? 0) + 1
            var tags = admission.tags + [.version(number)]
            // A protected `latest` stays where its guardian put it.
            let movesLatest = try put.note.mayMoveProtectedTags || !db.isProtected(.latest, in: repository)
            if existing == nil, movesLatest { tags.append(.latest) }
            try put.run(db, tags: tags)
            return VersionReceipt(digest: digest, number: number, isNew: existing == nil)
        }
    }

    func prepare(_ admission: ManifestAdmission, in repository: RepositoryName) throws -> ManifestPut {
        ManifestPut(
            admission: admission, repository: repository,
            embedded: try admission.embedded.map { entry in
                (entry.digest, try PreparedBlob(entry.bytes, inlineLimit: .max, files: files))
            }, note: note, now: now, reusesDeletedVersions: options.allowsVersionDeletion)
    }

    /// Points a tag at a manifest that is already there; the journal gets a line.
    ///
    /// - Throws: `.manifestUnknown`; `.denied` for a version tag that means something else.
    public func setTag(_ tag: Tag, to digest: Digest, in repository: RepositoryName) async throws {
        guard let stored = try await manifest(.digest(digest), in: repository) else {
            throw RegistryError.unknownManifest(.digest(digest), in: repository)
        }
        _ = try await putManifest(
            stored.bytes, mediaType: stored.mediaType, as: .digest(digest), tags: [tag], in: repository)
    }

    // MARK: - Deleting

    public func deleteManifest(_ reference: ManifestReference, in repository: RepositoryName) async throws {
        try await deleteManifest(reference, in: repository, force: options.allowsVersionDeletion)
    }

    /// Deletes a tag, or a manifest with all its tags; with `force` also versions, whose numbers stay retired. A deleted
    /// manifest can be had back until its grace is over: ``undelete(_:in:)``.
    public func deleteManifest(
        _ reference: ManifestReference, in repository: RepositoryName, force: Bool
    ) async throws {
        let now = now
        let note = note
        let keepsTrash = options.trashLifetime > 0
        try await catalogue.write { db in
            guard let id = try db.repositoryID(repository) else {
                throw RegistryError.unknownManifest(reference, in: repository)
            }
            let column = if case .tag = reference { "name" } else { "digest" }
            let doomed = try Row.fetchAll(
                db, sql: "SELECT name, digest FROM tags WHERE repository = ? AND \(column) = ? ORDER BY name",
                arguments: [id, reference.description])
            if case .tag = reference, doomed.isEmpty {
                throw RegistryError.unknownManifest(reference, in: repository)
            }
            let tags = try doomed.map { try Tag($0["name"]) }
            if !force, let refusal = ManifestAdmission.versionGuard(tags, in: repository) { throw refusal }
            for row in doomed {
                try db.checkProtection(try Tag(row["name"]), in: repository, note)
                try db.journal(row["name"], in: repository, from: row["digest"], to: nil, note: note, now: now)
            }
            if case .digest(let digest) = reference, keepsTrash {
                try db.putInTrash(digest, tags: tags, of: repository, id, note: note, now: now)
            }
            try db.execute(
                sql: "DELETE FROM tags WHERE repository = ? AND \(column) = ?",
                arguments: [id, reference.description])
            if case .digest(let digest) = reference {
                try db.execute(
                    sql: "DELETE FROM manifests WHERE repository = ? AND digest = ?",
                    arguments: [id, digest.description])
                guard db.changesCount > 0 else { throw RegistryError.unknownManifest(reference, in: repository) }
            }
        }
    }

    // MARK: - Listing

    public func tags(in repository: RepositoryName, last: String?, limit: Int?) async throws -> [Tag] {
        try await catalogue.read { db in
            guard let id = try db.repositoryID(repository) else { throw RegistryError.unknownRepository(repository) }
            // Tags are ASCII and SQLite compares bytes: this is the spec's order.
            return try String.fetchAll(
                db, sql: "SELECT name FROM tags WHERE repository = ? AND name > ? ORDER BY name LIMIT ?",
                arguments: [id, last ?? "", limit.map { max(0, $0) } ?? -1]
            ).map { try Tag($0) }
        }
    }

    public func allTags(in repository: RepositoryName) async throws -> [Tag: Digest] {
        try await catalogue.read { db in
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT tags.name, tags.digest FROM tags JOIN repositories ON repositories.id = tags.repository
                    WHERE repositories.name = ?
                    """, arguments: [repository.description])
            var result: [Tag: Digest] = [:]
            for row in rows { result[try Tag(row[0])] = try Digest(row[1]) }
            return result
        }
    }

    public func referrers(
        of digest: Digest, artifactType: String?, in repository: RepositoryName
    ) async throws -> [Descriptor] {
        try await catalogue.read { db in
            guard let id = try db.repositoryID(repository) else { return [] }
            var sql = """
                SELECT digest, media_type, artifact_type, annotations, length(bytes) AS size FROM manifests
                WHERE repository = ? AND subject = ?
                """
            var arguments: StatementArguments = [id, digest.description]
            if let artifactType {
                sql += " AND artifact_type = ?"
                arguments += [artifactType]
            }
            let known = try Row.fetchAll(db, sql: sql + " ORDER BY id", arguments: arguments).map { row in
                let annotations = try JSONNode.parse(Array((row["annotations"] as String).utf8)).object ?? [:]
                return Descriptor(
                    mediaType: row["media_type"], digest: try Digest(row["digest"]), size: row["size"],
                    artifactType: row["artifact_type"],
                    annotations: annotations.isEmpty ? nil : annotations.compactMapValues(\.string))
            }
            let fallback = try db.manifestRow(.tag(.referrersFallback(for: digest)), in: id)
            return try ManifestAdmission.mergeFallback(fallback, into: known, artifactType: artifactType) { other in
                try db.manifestRow(.digest(other), in: id) != nil
            }
        }
    }

    /// The journal of a repository's tags, newest first; of one tag when given.
    public func tagEvents(in repository: RepositoryName, tag: Tag? = nil, limit: Int = 1000) async throws -> [TagEvent]
    {
        try await catalogue.read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT * FROM tag_events WHERE repository = ? AND (? IS NULL OR tag = ?) ORDER BY id DESC LIMIT ?
                    """,
                arguments: [repository.description, tag?.description, tag?.description, limit]
            ).map { row in
                let from: String? = row["from_digest"]
                let to: String? = row["to_digest"]
                let at: Int64 = row["at"]
                return TagEvent(
                    repository: repository, tag: try Tag(row["tag"]), from: try from.map { try Digest($0) },
                    to: try to.map { try Digest($0) }, who: row["who"], why: row["why"],
                    at: Date(timeIntervalSince1970: Double(at) / 1000))
            }
        }
    }
}

/// One manifest on its way into the catalogue: everything that must happen in a single transaction.
struct ManifestPut: Sendable {
    let admission: ManifestAdmission
    let repository: RepositoryName
    let embedded: [(digest: Digest, blob: PreparedBlob)]
    let note: ChangeNote
    let now: Int64
    let reusesDeletedVersions: Bool

    func run(_ db: Database, tags: [Tag]) throws {
        let stored = admission.stored
        let id = try db.ensureRepository(repository, now: now)
        for needed in admission.requiredBlobs {
            try admission.check(needed, storedSize: try db.blobSize(needed.digest, in: id), in: repository)
        }
        for entry in embedded {
            if try db.blobSize(entry.digest, in: id) == nil { try db.checkQuota(entry.blob.size, in: repository, id) }
            try db.putBlob(entry.digest, entry.blob, now: now)
            try db.link(entry.digest, to: id)
        }
        try db.execute(
            sql: """
                INSERT INTO manifests
                    (repository, digest, media_type, artifact_type, subject, annotations, bytes, created)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (repository, digest) DO UPDATE SET media_type = excluded.media_type
                """,
            arguments: [
                id, stored.digest.description, stored.mediaType, admission.manifest.effectiveArtifactType,
                admission.manifest.subject?.digest.description, annotationsText, Data(stored.bytes), now,
            ])
        let row = try Int64.fetchOne(
            db, sql: "SELECT id FROM manifests WHERE repository = ? AND digest = ?",
            arguments: [id, stored.digest.description])
        let required = Set(admission.manifest.requiredBlobs.map(\.digest))
        if let row, admission.manifest.effectiveArtifactType == MediaType.softPrompt {
            try db.putLabels(
                admission.manifest.annotations, subject: admission.manifest.subject?.digest, of: row)
        }
        for blob in admission.manifest.blobs {
            try db.execute(
                sql: "INSERT OR IGNORE INTO refs (manifest, digest, required) VALUES (?, ?, ?)",
                arguments: [row, blob.digest.description, required.contains(blob.digest)])
        }
        for tag in tags { try set(tag, in: id, db) }
    }

    private var annotationsText: String {
        let node = JSONNode.object(admission.manifest.annotations.mapValues { .string($0) })
        return String(decoding: node.canonical, as: UTF8.self)
    }

    private func set(_ tag: Tag, in id: Int64, _ db: Database) throws {
        let digest = admission.stored.digest
        let previous = try String.fetchOne(
            db, sql: "SELECT digest FROM tags WHERE repository = ? AND name = ?", arguments: [id, tag.description])
        var meant = previous
        if meant == nil, tag.versionNumber != nil, !reusesDeletedVersions {
            meant = try String.fetchOne(
                db,
                sql: """
                    SELECT to_digest FROM tag_events WHERE repository = ? AND tag = ? AND to_digest IS NOT NULL
                    ORDER BY id DESC LIMIT 1
                    """, arguments: [repository.description, tag.description])
        }
        try ManifestAdmission.checkVersion(
            tag, was: try meant.map { try Digest($0) }, becomes: digest, in: repository)
        guard previous != digest.description else { return }
        try db.checkProtection(tag, in: repository, note)
        try db.execute(
            sql: """
                INSERT INTO tags (repository, name, digest, updated) VALUES (?, ?, ?, ?)
                ON CONFLICT (repository, name) DO UPDATE SET digest = excluded.digest, updated = excluded.updated
                """, arguments: [id, tag.description, digest.description, now])
        try db.journal(
            tag.description, in: repository, from: previous, to: digest.description, note: note, now: now)
    }
}

extension Tag {
    fileprivate static func versions(_ names: [String]) -> [Int] {
        names.compactMap { (try? Tag($0))?.versionNumber }
    }
}

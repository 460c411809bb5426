import Foundation
import GRDB
import OCIArtifacts

/// The SQLite side of an embedded registry: opening it so that several processes may use it at once, and the row
/// operations that more than one part needs.
struct Catalogue: Sendable {
    let pool: any DatabaseWriter
    private let path: String
    private let queue: CommitQueue

    /// Opens, creates or migrates the catalogue. Only one process at a time does this (`.lock`).
    ///
    /// - Parameter readers: reads that may run at once; with 1 a single connection does all, and opening and closing write
    ///   nothing.
    init(files: StorageFiles, readers: Int) throws {
        path = files.catalogue
        try files.createFolders()
        let lock = try OutputFile(path: files.lock, isNew: false)
        try lock.waitForLock()
        var configuration = Configuration()
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(30)
        configuration.label = "incipit.registry"
        do {
            if readers > 1 {
                configuration.maximumReaderCount = readers
                pool = try DatabasePool(path: path, configuration: configuration)
            } else {
                // A pool commits a change of its own when it opens, and a checkpoint follows when it closes: four waits
                // for the disk, where a command that only reads needs none.
                pool = try DatabaseQueue(path: path, configuration: configuration)
            }
            try pool.writeWithoutTransaction { db in
                if readers <= 1 { _ = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL") }
                // The pool's WAL set-up chose NORMAL, under which a power cut may take back the last commits.
                try db.execute(sql: "PRAGMA synchronous = FULL")
            }
            let migrator = Schema.migrator
            if try pool.read(migrator.hasBeenSuperseded) {
                throw RegistryError(
                    .storage, "the registry was written by a newer Incipit; update this one to use it",
                    path: files.catalogue)
            }
            try migrator.migrate(pool)
            queue = CommitQueue(pool, path: path)
        } catch let error as DatabaseError {
            throw RegistryError.database(error, files.catalogue)
        }
    }

    func read<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        do { return try await pool.read(body) } catch let error as DatabaseError {
            throw RegistryError.database(error, path)
        }
    }

    /// Writes, durably when this returns; writes that come together share a commit (see ``CommitQueue``). `BEGIN
    /// IMMEDIATE`: of all processes, one writes at a time.
    func write<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        do {
            return try await queue.write(body)
        } catch let error as DatabaseError {
            throw RegistryError.database(error, path)
        }
    }

    /// A transaction of its own, for changes to files that rely on what is committed already.
    func writeAlone<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        do {
            return try await pool.write(body)
        } catch let error as DatabaseError {
            throw RegistryError.database(error, path)
        }
    }
}

extension RegistryError {
    static func database(_ error: DatabaseError, _ path: String) -> RegistryError {
        switch error.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            RegistryError(.corrupt, "the registry's catalogue is damaged", path: path, cause: error)
        case .SQLITE_FULL:
            RegistryError(.storage, "the disk is full; nothing was stored", path: path, cause: error)
        case .SQLITE_BUSY:
            RegistryError(
                .storage, "the registry is busy: another process has been writing for over 30 seconds", path: path,
                cause: error)
        default: RegistryError(.storage, "the registry's catalogue failed", path: path, cause: error)
        }
    }
}

// MARK: - Rows

extension Digest {
    /// The first 63 bits: what indexes hold in place of the text. Equal digests have equal keys; whoever searches by the
    /// key compares the digest as well.
    var searchKey: Int64 { Self.searchKey(description) }

    static func searchKey(_ text: String) -> Int64 {
        let hex = text.drop { $0 != ":" }.dropFirst().prefix(16)
        return Int64(truncatingIfNeeded: (UInt64(hex, radix: 16) ?? 0) >> 1)
    }
}

extension Database {
    func repositoryID(_ name: RepositoryName) throws -> Int64? {
        try Int64.fetchOne(
            cachedStatement(sql: "SELECT id FROM repositories WHERE name = ?"), arguments: [name.description])
    }

    func ensureRepository(_ name: RepositoryName, now: Int64) throws -> Int64 {
        if let id = try repositoryID(name) { return id }
        try execute(
            sql: "INSERT INTO repositories (name, created) VALUES (?, ?)", arguments: [name.description, now])
        return lastInsertedRowID
    }

    /// The size of a blob that the repository may serve.
    func blobSize(_ digest: Digest, in repository: Int64) throws -> Int? {
        try Int.fetchOne(
            cachedStatement(
                sql: """
                    SELECT size FROM blobs JOIN repo_blobs USING (digest) WHERE digest = ? AND repository = ?
                    """), arguments: [digest.description, repository])
    }

    /// The task, labels and metrics among a prompt's annotations, for searching.
    ///
    /// - Parameter subject: the base's anchor, which the manifest refers to.
    func putLabels(_ annotations: [String: String], subject: Digest?, of manifest: Int64) throws {
        for label in Self.labels(in: annotations) {
            try execute(
                sql: "INSERT OR IGNORE INTO labels (key, value, number, manifest, base) VALUES (?, ?, ?, ?, ?)",
                arguments: [label.key, label.value, label.number, manifest, subject?.searchKey])
        }
    }

    /// What of a prompt's annotations can be searched for, metrics with their numbers.
    static func labels(in annotations: [String: String]) -> [(key: String, value: String, number: Double?)] {
        annotations.compactMap { key, value in
            let isMetric = key.hasPrefix(AnnotationKey.metricPrefix)
            guard isMetric || key == AnnotationKey.task || key.hasPrefix(AnnotationKey.labelPrefix) else { return nil }
            return (key, value, isMetric ? Double(value).flatMap { $0.isFinite ? $0 : nil } : nil)
        }
    }

    func link(_ digest: Digest, to repository: Int64) throws {
        try execute(
            sql: "INSERT OR IGNORE INTO repo_blobs (repository, digest) VALUES (?, ?)",
            arguments: [repository, digest.description])
    }

    /// Records a blob whose bytes are in place; replaces an older stored form.
    func putBlob(_ digest: Digest, _ blob: PreparedBlob, now: Int64) throws {
        try execute(
            sql: """
                INSERT INTO blobs (digest, size, codec, stored_size, inline, created, last_leased)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (digest) DO UPDATE SET size = excluded.size, codec = excluded.codec,
                    stored_size = excluded.stored_size, inline = excluded.inline, last_leased = excluded.last_leased
                """,
            arguments: [
                digest.description, blob.size, blob.codec.id, blob.storedSize, blob.inline.map { Data($0) }, now, now,
            ])
    }

    func manifestRow(_ reference: ManifestReference, in repository: Int64) throws -> StoredManifest? {
        let sql =
            switch reference {
            case .digest:
                "SELECT digest, media_type, bytes FROM manifests WHERE repository = ? AND digest = ?"
            case .tag:
                """
                SELECT digest, media_type, bytes FROM tags JOIN manifests USING (repository, digest)
                WHERE repository = ? AND name = ?
                """
            }
        guard
            let row = try Row.fetchOne(
                cachedStatement(sql: sql), arguments: [repository, reference.description])
        else { return nil }
        let bytes: Data = row["bytes"]
        return StoredManifest(digest: try Digest(row["digest"]), mediaType: row["media_type"], bytes: Array(bytes))
    }

    func journal(
        _ tag: String, in repository: RepositoryName, from: String?, to: String?, note: ChangeNote, now: Int64
    ) throws {
        try execute(
            sql: """
                INSERT INTO tag_events (repository, tag, from_digest, to_digest, who, why, at)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """, arguments: [repository.description, tag, from, to, note.who, note.why, now])
        // A number is never used twice, also when its version has been deleted.
        if let number = (try? Tag(tag))?.versionNumber {
            try execute(
                sql: """
                    INSERT INTO versions (repository, highest) VALUES (?, ?)
                    ON CONFLICT (repository) DO UPDATE SET highest = max(highest, excluded.highest)
                    """, arguments: [repository.description, number])
        }
    }
}

import Foundation
import GRDB
import OCIArtifacts

extension EmbeddedStore {
    public func blob(_ digest: Digest, in repository: RepositoryName) async throws -> BlobInfo? {
        let now = now
        let found = try await catalogue.read { db -> (size: Int, leased: Int64)? in
            try Row.fetchOne(
                db.cachedStatement(
                    sql: """
                        SELECT size, last_leased FROM blobs WHERE digest = ?1 AND EXISTS (
                            SELECT 1 FROM repositories JOIN repo_blobs ON repository = repositories.id
                            WHERE name = ?2 AND digest = ?1)
                        """), arguments: [digest.description, repository.description]
            ).map { ($0["size"], $0["last_leased"]) }
        }
        guard let found else { return nil }
        // Renewing costs a commit; a lease that has used less than an eighth of its time is as good as new.
        if Double(now - found.leased) > options.leaseDuration * 1000 / 8 {
            let isStillThere = try await catalogue.write { db in
                try db.execute(
                    sql: "UPDATE blobs SET last_leased = ? WHERE digest = ?", arguments: [now, digest.description])
                return db.changesCount > 0
            }
            guard isStillThere else { return nil }
        }
        return BlobInfo(digest: digest, size: found.size)
    }

    // MARK: - Reading

    /// A blob's catalogue row.
    struct BlobRow: Sendable {
        let size: Int
        let codec: Int
        let storedSize: Int
        let inline: [UInt8]?

        init(_ row: Row) {
            size = row["size"]
            codec = row["codec"]
            storedSize = row["stored_size"]
            let data: Data? = row["inline"]
            inline = data.map { Array($0) }
        }
    }

    public func readBlob(
        _ digest: Digest, in repository: RepositoryName, range: Range<Int>?,
        _ consume: @Sendable ([UInt8]) async throws -> Void
    ) async throws {
        var failure: RegistryError?
        // A second look at the catalogue: the file may have been replaced or deleted between row and open.
        for _ in 0..<2 {
            let recent = recentBlobs.bytes(of: digest)
            let columns = recent == nil ? "*" : "size, codec, stored_size, NULL AS inline"
            let row = try await catalogue.read { db -> BlobRow? in
                try Row.fetchOne(
                    db.cachedStatement(
                        sql: """
                            SELECT \(columns) FROM blobs WHERE digest = ?1 AND EXISTS (
                                SELECT 1 FROM repositories JOIN repo_blobs ON repository = repositories.id
                                WHERE name = ?2 AND digest = ?1)
                            """), arguments: [digest.description, repository.description]
                ).map { BlobRow($0) }
            }
            guard let row else { throw RegistryError.unknownBlob(digest, in: repository) }
            if let recent, recent.count == row.size {
                let part = try ManifestAdmission.clamp(range, size: row.size, digest)
                let chunks = ChunkSource(part.count == recent.count ? recent : Array(recent[part]))
                while let chunk = chunks.next() { try await consume(chunk) }
                return
            }
            let part = try ManifestAdmission.clamp(range, size: row.size, digest)
            do {
                if row.inline == nil, row.codec == Codec.raw.id, row.size > Codec.largestInput {
                    try await stream(digest, row, part, consume)
                } else {
                    // Small ones cost less than a hop to another thread.
                    let bytes =
                        row.inline != nil
                        ? try content(of: digest, row) : try await offload { [self] in try content(of: digest, row) }
                    recentBlobs.insert(bytes, as: digest)
                    let chunks = ChunkSource(part.count == bytes.count ? bytes : Array(bytes[part]))
                    while let chunk = chunks.next() { try await consume(chunk) }
                }
                return
            } catch let error as StaleRow {
                failure = error.error
            }
        }
        throw failure ?? RegistryError.unknownBlob(digest, in: repository)
    }

    /// Nothing was handed out yet, so a fresh row may be tried.
    struct StaleRow: Error { let error: RegistryError }

    /// A whole blob, verified.
    func content(of digest: Digest, _ row: BlobRow) throws -> [UInt8] {
        let path = row.inline == nil ? files.path(of: digest) : nil
        func damaged(_ how: String) -> StaleRow {
            StaleRow(error: RegistryError.damaged(digest, how, path: path ?? files.catalogue))
        }
        guard let codec = Codec.named(id: row.codec) else {
            throw damaged("was stored with codec \(row.codec), which this version lacks")
        }
        guard row.size <= Codec.largestInput || row.codec == Codec.raw.id else {
            throw damaged("has an impossible size")
        }
        let stored: [UInt8]
        if let inline = row.inline {
            stored = inline
        } else {
            guard let input = try InputFile(path: files.path(of: digest)) else { throw damaged("is missing its file") }
            guard input.size == row.storedSize else {
                throw damaged("has a file of \(input.size) bytes instead of \(row.storedSize)")
            }
            stored = try input.read(row.storedSize, at: 0)
        }
        guard let bytes = codec.decode(stored, row.size) else { throw damaged("does not decode as \(codec.name)") }
        let found = Digest.of(bytes, algorithm: digest.algorithm)
        guard found == digest else { throw damaged("now has the digest \(found)") }
        return bytes
    }

    /// A large raw file in chunks, verified when it is read whole.
    private func stream(
        _ digest: Digest, _ row: BlobRow, _ part: Range<Int>, _ consume: @Sendable ([UInt8]) async throws -> Void
    ) async throws {
        let path = files.path(of: digest)
        guard let input = try InputFile(path: path) else {
            throw StaleRow(error: RegistryError.damaged(digest, "is missing its file", path: path))
        }
        guard input.size == row.storedSize else {
            throw StaleRow(
                error: RegistryError.damaged(
                    digest, "has a file of \(input.size) bytes instead of \(row.storedSize)", path: path))
        }
        try await readVerified(
            digest, part, of: row.size, path: path, mismatch: "now has the digest",
            read: { try input.read($0, at: $1) }, consume)
    }

    // MARK: - Writing

    public func writeBlob(
        _ digest: Digest, size: Int?, in repository: RepositoryName,
        from source: @Sendable () async throws -> [UInt8]?
    ) async throws {
        let intake = BlobIntake(files: files, algorithm: digest.algorithm)
        defer { intake.discard() }
        while let chunk = try await source() {
            if let size, intake.count + chunk.count > size {
                throw RegistryError.sizeMismatch(
                    expected: size, found: intake.count + chunk.count, digest, in: repository)
            }
            try intake.append(chunk)
        }
        if let size, intake.count != size {
            throw RegistryError.sizeMismatch(expected: size, found: intake.count, digest, in: repository)
        }
        let found = intake.digest
        guard found == digest else {
            throw RegistryError.digestMismatch(expected: digest, found: found, size: intake.count, in: repository)
        }
        let inlineLimit = options.inlineLimit
        let prepared = try await offload { try intake.prepare(inlineLimit: inlineLimit) }
        defer { prepared.discard() }
        try await publish(prepared, as: digest, to: repository)
    }

    /// Makes a prepared blob visible: its file moves into place inside the transaction that commits its row, so that
    /// no garbage collection (which unlinks inside one too) can come between.
    func publish(
        _ prepared: PreparedBlob, as digest: Digest, to repository: RepositoryName, finishing upload: String? = nil
    ) async throws {
        let now = now
        try await catalogue.write { [self] db in
            let id = try db.ensureRepository(repository, now: now)
            if try db.blobSize(digest, in: id) == nil { try db.checkQuota(prepared.size, in: repository, id) }
            if try isKept(prepared, digest, db) {
                try db.execute(
                    sql: "UPDATE blobs SET last_leased = ? WHERE digest = ?", arguments: [now, digest.description])
            } else {
                if let file = prepared.file { try files.publish(file, as: digest) }
                try db.putBlob(digest, prepared, now: now)
            }
            try db.link(digest, to: id)
            if let upload { try db.execute(sql: "DELETE FROM uploads WHERE id = ?", arguments: [upload]) }
        }
    }

    /// Whether the form in which the blob is already stored must stay. An equal one is replaced by the fresh copy, which
    /// heals damage; but moving a file of another form into place and then crashing before the commit would leave the
    /// old row describing the new file, so a sound file of another form is kept.
    private func isKept(_ prepared: PreparedBlob, _ digest: Digest, _ db: Database) throws -> Bool {
        guard prepared.file != nil,
            let row = try Row.fetchOne(
                db, sql: "SELECT * FROM blobs WHERE digest = ? AND inline IS NULL", arguments: [digest.description])
        else { return false }
        let stored = BlobRow(row)
        if stored.codec == prepared.codec.id, stored.storedSize == prepared.storedSize { return false }
        if stored.size > Codec.largestInput {
            return try InputFile(path: files.path(of: digest))?.size == stored.storedSize
        }
        return (try? content(of: digest, stored)) != nil
    }

    public func mountBlob(
        _ digest: Digest, from source: RepositoryName?, to repository: RepositoryName
    ) async throws -> Bool {
        let now = now
        return try await catalogue.write { db in
            let isThere: Bool
            if let source {
                guard let id = try db.repositoryID(source) else { return false }
                isThere = try db.blobSize(digest, in: id) != nil
            } else {
                isThere =
                    try Bool.fetchOne(
                        db, sql: "SELECT EXISTS (SELECT 1 FROM repo_blobs WHERE digest = ?)",
                        arguments: [digest.description]) ?? false
            }
            guard isThere else { return false }
            let id = try db.ensureRepository(repository, now: now)
            if try db.blobSize(digest, in: id) == nil {
                let size = try Int.fetchOne(
                    db, sql: "SELECT size FROM blobs WHERE digest = ?", arguments: [digest.description])
                try db.checkQuota(size ?? 0, in: repository, id)
            }
            try db.link(digest, to: id)
            try db.execute(
                sql: "UPDATE blobs SET last_leased = ? WHERE digest = ?", arguments: [now, digest.description])
            return true
        }
    }

    public func deleteBlob(_ digest: Digest, in repository: RepositoryName) async throws {
        try await catalogue.write { db in
            guard let id = try db.repositoryID(repository), try db.blobSize(digest, in: id) != nil else {
                throw RegistryError.unknownBlob(digest, in: repository)
            }
            let isNeeded = try Bool.fetchOne(
                db,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM refs JOIN manifests ON manifests.id = refs.manifest
                        WHERE refs.digest = ? AND manifests.repository = ?)
                    """, arguments: [digest.description, id])
            guard isNeeded != true else { throw RegistryError.blobInUse(digest, in: repository) }
            // The row and bytes stay for other repositories, or until garbage collection finds them unlinked.
            try db.execute(
                sql: "DELETE FROM repo_blobs WHERE repository = ? AND digest = ?",
                arguments: [id, digest.description])
        }
    }
}

extension RegistryError {
    static func damaged(_ digest: Digest, _ how: String, path: String) -> RegistryError {
        RegistryError(
            .corrupt, "stored blob \(digest) \(how); push it again from a good copy to repair it", digest: digest,
            path: path)
    }
}

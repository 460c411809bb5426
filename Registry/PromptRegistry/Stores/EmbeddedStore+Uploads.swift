import Foundation
import GRDB
import OCIArtifacts

/// Uploads that survive a restart: a row with the durable offset, and a file with at least that many bytes. A crash in
/// the middle of a chunk leaves the file longer than the offset; the surplus is cut off by the next append.
extension EmbeddedStore {
    public func beginUpload(
        in repository: RepositoryName, algorithm: Digest.Algorithm?
    ) async throws -> UploadSession {
        let id = UUID().uuidString.lowercased()
        pendingUploads.add(id, .init(repository: repository, algorithm: algorithm, begun: now))
        return UploadSession(id: id, repository: repository, offset: 0)
    }

    public func upload(_ id: String, in repository: RepositoryName) async throws -> UploadSession? {
        let oldest = oldestUpload
        if pendingUploads.find(id, in: repository, begunAfter: oldest) != nil {
            return UploadSession(id: id, repository: repository, offset: 0)
        }
        let offset = try await catalogue.read { db in
            try Int.fetchOne(
                db, sql: "SELECT offset FROM uploads WHERE id = ? AND repository = ? AND updated >= ?",
                arguments: [id, repository.description, oldest])
        }
        return offset.map { UploadSession(id: id, repository: repository, offset: $0) }
    }

    public func append(
        to id: String, in repository: RepositoryName, expectedOffset: Int?,
        from source: @Sendable () async throws -> [UInt8]?
    ) async throws -> UploadSession {
        try await materialize(id, in: repository)
        let (file, offset) = try await openUpload(id, in: repository)
        defer { file.unlock() }
        if let expectedOffset, expectedOffset != offset {
            throw RegistryError.wrongOffset(expectedOffset, actual: offset, in: repository)
        }
        try file.truncate(to: offset)
        var hasher = uploadHashers.withLock { $0.removeValue(forKey: id) }
        if hasher?.byteCount != offset { hasher = nil }
        var reached = offset
        var failure: (any Error)?
        do {
            while let chunk = try await source() {
                try file.write(chunk)
                hasher?.update(chunk)
                reached += chunk.count
            }
        } catch {
            failure = error
        }
        // Also after an error of the source: the client asks for the offset and goes on from there.
        if reached != offset { try await offload { try file.synchronize() } }
        let now = now
        let end = reached
        try await catalogue.write { db in
            try db.execute(
                sql: "UPDATE uploads SET offset = ?, updated = ? WHERE id = ?", arguments: [end, now, id])
            guard db.changesCount > 0 else { throw RegistryError.unknownUpload(id, in: repository) }
        }
        if let hasher, hasher.byteCount == reached { uploadHashers.withLock { $0[id] = hasher } }
        if let failure { throw failure }
        return UploadSession(id: id, repository: repository, offset: reached)
    }

    /// Makes an upload that lived in memory a row and a file, before its first bytes are taken in.
    private func materialize(_ id: String, in repository: RepositoryName) async throws {
        let entry: PendingUploads.Entry
        switch pendingUploads.claim(id, in: repository, begunAfter: oldestUpload) {
        case .unknown: return
        case .busy: throw RegistryError.uploadBusy(id, in: repository)
        case .entry(let found): entry = found
        }
        do {
            _ = try OutputFile(path: files.upload(id), isNew: true)
            let now = now
            try await catalogue.write { db in
                try db.execute(
                    sql: "INSERT INTO uploads (id, repository, algorithm, offset, updated) VALUES (?, ?, ?, 0, ?)",
                    arguments: [id, repository.description, entry.algorithm?.rawValue, now])
            }
        } catch {
            StorageFiles.remove(files.upload(id))
            pendingUploads.release(id)
            throw error
        }
        uploadHashers.withLock { $0[id] = DigestHasher(algorithm: entry.algorithm ?? .sha256) }
        pendingUploads.remove(id)
    }

    /// Uploads last touched before this are over.
    private var oldestUpload: Int64 { now - Int64(options.uploadLifetime * 1000) }

    public func finishUpload(
        _ id: String, in repository: RepositoryName, digest: Digest, expectedOffset: Int?,
        from source: @Sendable () async throws -> [UInt8]?
    ) async throws {
        switch pendingUploads.claim(id, in: repository, begunAfter: oldestUpload) {
        case .busy: throw RegistryError.uploadBusy(id, in: repository)
        case .unknown:
            _ = try await append(to: id, in: repository, expectedOffset: expectedOffset, from: source)
            try await finishUpload(id, in: repository, digest: digest)
        case .entry:
            // The whole blob in one request: the way of a single push, without an upload's row and file.
            do {
                if let expectedOffset, expectedOffset != 0 {
                    throw RegistryError.wrongOffset(expectedOffset, actual: 0, in: repository)
                }
                try await writeBlob(digest, size: nil, in: repository, from: source)
                pendingUploads.remove(id)
            } catch let error as RegistryError where error.code == .digestInvalid {
                pendingUploads.remove(id)
                throw error
            } catch {
                pendingUploads.release(id)
                throw error
            }
        }
    }

    public func finishUpload(_ id: String, in repository: RepositoryName, digest: Digest) async throws {
        try await materialize(id, in: repository)
        let (file, offset) = try await openUpload(id, in: repository)
        defer { file.unlock() }
        try file.truncate(to: offset)
        let cached = uploadHashers.withLock { $0.removeValue(forKey: id) }
        let path = file.path
        let found = try await offload { () -> Digest in
            if let cached, cached.byteCount == offset {
                let found = cached.finalize()
                if found.algorithm == digest.algorithm { return found }
            }
            return try Self.hashFile(path, algorithm: digest.algorithm)
        }
        guard found == digest else {
            try await forgetUpload(id)
            throw RegistryError.digestMismatch(expected: digest, found: found, size: offset, in: repository)
        }
        let inlineLimit = options.inlineLimit
        let files = files
        let prepared = try await offload {
            try file.synchronize()
            return try PreparedBlob(file: path, size: offset, inlineLimit: inlineLimit, files: files)
        }
        // On failure the upload itself stays, so that finishing can be tried again.
        defer { if prepared.file != path { prepared.discard() } }
        try await publish(prepared, as: digest, to: repository, finishing: id)
        StorageFiles.remove(path)
    }

    public func cancelUpload(_ id: String, in repository: RepositoryName) async throws {
        guard try await upload(id, in: repository) != nil else {
            throw RegistryError.unknownUpload(id, in: repository)
        }
        if pendingUploads.remove(id) { return }
        try await forgetUpload(id)
    }

    /// Uploads that have begun and not ended, with the time of their last byte; oldest first.
    public func openUploads() async throws -> [(session: UploadSession, updated: Date)] {
        try await catalogue.read { db in
            try Row.fetchAll(db, sql: "SELECT * FROM uploads ORDER BY updated, id").map { row in
                let updated: Int64 = row["updated"]
                return (
                    UploadSession(
                        id: row["id"], repository: try RepositoryName(row["repository"]), offset: row["offset"]),
                    Date(timeIntervalSince1970: Double(updated) / 1000)
                )
            }
        }
    }

    // MARK: - Helpers

    /// The upload's file, locked, and its durable offset as it is under the lock.
    private func openUpload(_ id: String, in repository: RepositoryName) async throws -> (OutputFile, Int) {
        guard try await upload(id, in: repository) != nil else {
            throw RegistryError.unknownUpload(id, in: repository)
        }
        let file = try OutputFile(path: files.upload(id), isNew: false)
        guard file.lock() else { throw RegistryError.uploadBusy(id, in: repository) }
        guard let session = try await upload(id, in: repository) else {
            StorageFiles.remove(file.path)
            throw RegistryError.unknownUpload(id, in: repository)
        }
        guard try file.size() >= session.offset else {
            try await forgetUpload(id)
            throw RegistryError.unknownUpload(id, in: repository)
        }
        return (file, session.offset)
    }

    func forgetUpload(_ id: String) async throws {
        try await catalogue.write { db in
            try db.execute(sql: "DELETE FROM uploads WHERE id = ?", arguments: [id])
        }
        uploadHashers.withLock { $0[id] = nil }
        StorageFiles.remove(files.upload(id))
    }

    /// Ends an upload that has got no byte since `oldest` (milliseconds since 1970), unless somebody is working on it at
    /// this moment or has been since it was found; whether it is gone.
    func expireUpload(_ id: String, before oldest: Int64) throws -> Bool {
        let path = files.upload(id)
        func deleteRow() throws -> Bool {
            do {
                return try catalogue.pool.write { db in
                    try db.execute(sql: "DELETE FROM uploads WHERE id = ? AND updated < ?", arguments: [id, oldest])
                    return db.changesCount > 0
                }
            } catch let error as DatabaseError { throw RegistryError.database(error, files.catalogue) }
        }
        // Without a file there is nobody at work on it.
        let isGone =
            access(path, F_OK) == 0 ? try StorageFiles.removeIfUnlocked(path, if: deleteRow) : try deleteRow()
        if isGone { uploadHashers.withLock { $0[id] = nil } }
        return isGone
    }

    private static func hashFile(_ path: String, algorithm: Digest.Algorithm) throws -> Digest {
        guard let input = try InputFile(path: path) else {
            throw RegistryError(.storage, "an upload's file vanished while it was in use", path: path)
        }
        var hasher = DigestHasher(algorithm: algorithm)
        while true {
            let chunk = try input.read(1 << 20, at: hasher.byteCount)
            if chunk.isEmpty { return hasher.finalize() }
            hasher.update(chunk)
        }
    }
}

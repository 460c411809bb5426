import Foundation
import GRDB
import OCIArtifacts
import Synchronization

/// The registry that lives in a folder: a SQLite catalogue and content-addressed files beside it.
///
/// Several processes, and several instances in one, may use the same folder at once. Power cuts and kill -9 leave the
/// state before or after an operation, never between: bytes are on disk before the row that names them is committed.
/// The layout is drawn at ``StorageFiles``, the tables at ``Schema``.
public final class EmbeddedStore: UploadStore, VersionStore {
    public struct Options: Sendable {
        /// Stored forms up to this many bytes lie in the catalogue: 128 KiB.
        public var inlineLimit = 128 << 10
        /// How long an unreferenced blob is kept after it was last written, or reported as present: 24 hours.
        public var leaseDuration: TimeInterval = 24 * 3600
        /// How long an upload waits for its next byte: 24 hours.
        public var uploadLifetime: TimeInterval = 24 * 3600
        /// How old a stray temporary file must be to be swept: 24 hours.
        public var strayLifetime: TimeInterval = 24 * 3600
        /// How long a deleted manifest can be had back: 7 days. 0: not at all.
        public var trashLifetime: TimeInterval = 7 * 24 * 3600
        /// Whether tags `v<N>` may be deleted (and then given away again) through the plain protocol.
        public var allowsVersionDeletion = false
        /// Reads of the catalogue that run at once. With 1, for a process that does one thing at a time, the store opens
        /// and closes faster: one connection does all.
        public var readers = 4
        /// Who the journal of tags names when no ``ChangeNote`` is in force.
        public var user = NSUserName()
        /// The time of day; tests turn it.
        public var clock: @Sendable () -> Date = { Date() }

        public init() {}
    }

    public let options: Options
    let files: StorageFiles
    let catalogue: Catalogue
    /// Hashes of uploads in progress, so that finishing one need not read it again. Only a cache: after a restart the
    /// file is hashed anew.
    let uploadHashers = Mutex<[String: DigestHasher]>([:])
    /// Uploads that have begun and have no byte yet: see ``PendingUploads``.
    let pendingUploads = PendingUploads()
    /// Small blobs that were read lately, verified.
    let recentBlobs = RecentBlobs(capacity: 8 << 20)

    /// Opens the registry in a folder, creating it when missing, and sweeps what crashes left behind.
    ///
    /// - Parameter path: the folder, by convention `registry` inside the user's data folder.
    /// - Throws: ``RegistryError`` `.storage` or `.corrupt`, naming the path.
    public init(path: String, options: Options = Options()) throws {
        self.options = options
        files = StorageFiles(root: path)
        catalogue = try Catalogue(files: files, readers: options.readers)
        try sweepAtOpen()
    }

    /// The folder.
    public var path: String { files.root }

    /// Milliseconds since 1970.
    var now: Int64 { Int64((options.clock().timeIntervalSince1970 * 1000).rounded()) }

    var note: ChangeNote { ChangeNote.current ?? ChangeNote(who: options.user, why: "") }

    public func repositories() async throws -> [RepositoryName] {
        try await catalogue.read { db in
            try String.fetchAll(db, sql: "SELECT name FROM repositories ORDER BY name").map { try RepositoryName($0) }
        }
    }

    public func repositoryExists(_ repository: RepositoryName) async throws -> Bool {
        try await catalogue.read { db in try db.repositoryID(repository) != nil }
    }

    public func repositories(holding digest: Digest) async throws -> [RepositoryName] {
        try await catalogue.read { db in
            try String.fetchAll(
                db,
                sql: """
                    SELECT name FROM repo_blobs JOIN repositories ON repositories.id = repo_blobs.repository
                    WHERE digest = ? ORDER BY name
                    """, arguments: [digest.description]
            ).map { try RepositoryName($0) }
        }
    }

    public func checkReadiness() async throws { _ = try await repositoryExists(try RepositoryName("readiness")) }

    public func statistics() async throws -> StoreStatistics? {
        let path = files.catalogue
        return try await catalogue.read { db in try Totals.read(db, path: path) }
    }

    /// Removes temporary files and uploads that nobody has touched for long.
    private func sweepAtOpen() throws {
        let strayBefore = options.clock().addingTimeInterval(-options.strayLifetime)
        _ = files.sweepTemporaries(before: strayBefore)
        let uploadsBefore = now - Int64(options.uploadLifetime * 1000)
        do {
            let expired = try catalogue.pool.read { db in
                try String.fetchAll(db, sql: "SELECT id FROM uploads WHERE updated < ?", arguments: [uploadsBefore])
            }
            for id in expired { _ = try expireUpload(id, before: uploadsBefore) }
            for file in StorageFiles.files(in: files.uploads) where file.modified < strayBefore {
                _ = try StorageFiles.removeIfUnlocked(files.upload(file.name)) {
                    try catalogue.pool.read { db in
                        try String.fetchOne(
                            db, sql: "SELECT id FROM uploads WHERE id = ?", arguments: [file.name]) == nil
                    }
                }
            }
        } catch let error as DatabaseError {
            throw RegistryError.database(error, files.catalogue)
        }
    }
}

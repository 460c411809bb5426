import Foundation
import GRDB
import OCIArtifacts

/// What a backup holds.
public struct BackupReport: Hashable, Sendable {
    /// Files copied now, and those that an earlier backup into the same folder had copied.
    public var filesCopied = 0
    public var filesKept = 0
    public var bytesCopied = 0

    public init() {}
}

extension EmbeddedStore {
    /// Copies the registry into a folder while it is in use: first a snapshot of the catalogue, then every file that the
    /// snapshot names. Files never change, so that a second backup into the same folder copies new ones only, and garbage
    /// collection, which alone deletes files, waits meanwhile.
    ///
    /// The folder is a registry itself. The catalogue in it is replaced last: a backup that breaks off leaves the one
    /// before it whole.
    public func backup(to folder: String) async throws -> BackupReport {
        let target = StorageFiles(root: folder)
        try target.createFolders()
        let guardian = try OutputFile(path: files.collectionLock, isNew: false)
        try await offload { try guardian.waitForLock(shared: true) }
        defer { guardian.unlock() }
        let snapshot = target.newTemporaryPath()
        defer { StorageFiles.remove(snapshot) }
        let pool = catalogue.pool
        try await offload { try Self.copyCatalogue(pool, to: snapshot, folder: folder) }
        let rows = try await offload { () -> [(Digest, Int)] in
            let queue = try DatabaseQueue(path: snapshot)
            defer { try? queue.close() }
            return try Self.storedFiles(queue)
        }
        var report = BackupReport()
        for (digest, size) in rows {
            if try InputFile(path: target.path(of: digest))?.size == size {
                report.filesKept += 1
                continue
            }
            let source = files
            try await offload { try target.copy(digest, from: source) }
            report.filesCopied += 1
            report.bytesCopied += size
        }
        try await offload {
            for suffix in ["-wal", "-shm"] { StorageFiles.remove(target.catalogue + suffix) }
            guard rename(snapshot, target.catalogue) == 0 else {
                throw RegistryError.system("cannot move into place", target.catalogue)
            }
            try StorageFiles.synchronizeFolder(folder)
        }
        return report
    }

    /// Makes a registry at `path` from a backup, verifying every byte of it. The backup is only read: one of an earlier
    /// schema is brought up to date in its copy.
    ///
    /// - Throws: `.denied` when there is a registry already; `.corrupt` when the backup is damaged: nothing is left then.
    public static func restore(from backup: String, to path: String) async throws {
        guard access(StorageFiles(root: path).catalogue, F_OK) != 0 else {
            throw RegistryError(
                .denied, "there is a registry already; move it away before restoring a backup", path: path)
        }
        guard access(StorageFiles(root: backup).catalogue, F_OK) == 0 else {
            throw RegistryError(.nameUnknown, "there is no backup of a registry", path: backup)
        }
        let incoming = path + ".restoring-" + UUID().uuidString.lowercased()
        do {
            try await rebuild(StorageFiles(root: backup), in: StorageFiles(root: incoming))
            // An empty folder may stand there; anything else makes the move fail.
            rmdir(path)
            try FileManager.default.moveItem(atPath: incoming, toPath: path)
        } catch {
            try? FileManager.default.removeItem(atPath: incoming)
            throw error
        }
    }

    /// A backup's copy, brought up to date and verified.
    private static func rebuild(_ backup: StorageFiles, in incoming: StorageFiles) async throws {
        try incoming.createFolders()
        try await offload {
            var configuration = Configuration()
            configuration.readonly = true
            do {
                let queue = try DatabaseQueue(path: backup.catalogue, configuration: configuration)
                defer { try? queue.close() }
                try copyCatalogue(queue, to: incoming.catalogue, folder: backup.root)
            } catch let error as DatabaseError { throw RegistryError.database(error, backup.root) }
            try StorageFiles.synchronizeFolder(incoming.root)
        }
        let store = try EmbeddedStore(path: incoming.root)
        let pool = store.catalogue.pool
        for (digest, _) in try await offload({ try storedFiles(pool) }) {
            try await offload {
                // What is missing is among the problems that the verification finds.
                guard access(backup.path(of: digest), F_OK) == 0 else { return }
                try incoming.copy(digest, from: backup)
            }
        }
        if let problem = try await store.verify(readData: true).problems.first {
            throw RegistryError(.corrupt, "the backup is damaged: \(problem)", path: backup.root)
        }
    }

    /// A catalogue as it is now, whole and on disk, in a file that was not there.
    private static func copyCatalogue(_ database: any DatabaseWriter, to path: String, folder: String) throws {
        do {
            try database.writeWithoutTransaction { db in try db.execute(sql: "VACUUM INTO ?", arguments: [path]) }
        } catch let error as DatabaseError { throw RegistryError.database(error, folder) }
        try OutputFile(path: path, isNew: false).synchronize()
    }

    /// The blobs that have files of their own, with the files' sizes.
    private static func storedFiles(_ database: any DatabaseReader) throws -> [(Digest, Int)] {
        try database.read { db in
            try Row.fetchAll(db, sql: "SELECT digest, stored_size FROM blobs WHERE inline IS NULL").map {
                (try Digest($0["digest"]), $0["stored_size"])
            }
        }
    }
}

extension StorageFiles {
    /// Copies a blob's file from another registry's folder: whole and on disk, or not at all.
    fileprivate func copy(_ digest: Digest, from source: StorageFiles) throws {
        guard let input = try InputFile(path: source.path(of: digest)) else {
            throw RegistryError.damaged(digest, "is missing its file", path: source.path(of: digest))
        }
        let output = try newTemporaryFile()
        do {
            var position = 0
            while position < input.size {
                let chunk = try input.read(1 << 20, at: position)
                if chunk.isEmpty { break }
                try output.write(chunk)
                position += chunk.count
            }
            try output.synchronize()
            try publish(output.path, as: digest)
        } catch {
            StorageFiles.remove(output.path)
            throw error
        }
    }
}

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
        try await offload {
            do {
                try pool.writeWithoutTransaction { db in try db.execute(sql: "VACUUM INTO ?", arguments: [snapshot]) }
            } catch let error as DatabaseError { throw RegistryError.database(error, folder) }
        }
        let rows = try await offload { () -> [(Digest, Int)] in
            let queue = try DatabaseQueue(path: snapshot)
            defer { try? queue.close() }
            return try queue.read { db in
                try Row.fetchAll(db, sql: "SELECT digest, stored_size FROM blobs WHERE inline IS NULL").map {
                    (try Digest($0["digest"]), $0["stored_size"])
                }
            }
        }
        var report = BackupReport()
        for (digest, size) in rows {
            let existing = try InputFile(path: target.path(of: digest))
            if existing?.size == size {
                report.filesKept += 1
                continue
            }
            let source = files.path(of: digest)
            try await offload {
                guard let input = try InputFile(path: source) else {
                    throw RegistryError.damaged(digest, "is missing its file", path: source)
                }
                let output = try target.newTemporaryFile()
                do {
                    var position = 0
                    while position < input.size {
                        let chunk = try input.read(1 << 20, at: position)
                        if chunk.isEmpty { break }
                        try output.write(chunk)
                        position += chunk.count
                    }
                    try output.synchronize()
                    try target.publish(output.path, as: digest)
                } catch {
                    StorageFiles.remove(output.path)
                    throw error
                }
            }
            report.filesCopied += 1
            report.bytesCopied += size
        }
        try await offload {
            let file = try OutputFile(path: snapshot, isNew: false)
            try file.synchronize()
            for suffix in ["-wal", "-shm"] { StorageFiles.remove(target.catalogue + suffix) }
            guard rename(snapshot, target.catalogue) == 0 else {
                throw RegistryError.system("cannot move into place", target.catalogue)
            }
            try StorageFiles.synchronizeFolder(folder)
        }
        return report
    }

    /// Makes a registry at `path` from a backup, verifying every byte of it.
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
        let report = try await EmbeddedStore(path: backup).verify(readData: true)
        if let problem = report.problems.first {
            throw RegistryError(.corrupt, "the backup is damaged: \(problem)", path: backup)
        }
        let incoming = path + ".restoring-" + UUID().uuidString.lowercased()
        do {
            _ = try await EmbeddedStore(path: backup).backup(to: incoming)
            // An empty folder may stand there; anything else makes the move fail.
            rmdir(path)
            try FileManager.default.moveItem(atPath: incoming, toPath: path)
        } catch {
            try? FileManager.default.removeItem(atPath: incoming)
            throw error
        }
    }
}

import Foundation
import OCIArtifacts

/// A file being written: descriptor, position, and the system's errors in our words.
///
/// Used by one task at a time; `@unchecked Sendable` only lets that task hop threads.
final class OutputFile: @unchecked Sendable {
    let path: String
    private let descriptor: Int32

    /// Opens for writing. `isNew`: create, and fail when it exists; otherwise create when missing.
    init(path: String, isNew: Bool) throws {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (isNew ? O_EXCL : 0), 0o600)
        guard descriptor >= 0 else { throw RegistryError.system("cannot create the file", path) }
    }

    deinit { close(descriptor) }

    /// Takes the file's lock without waiting; false when someone else (also another process) has it. The lock ends with
    /// this object or its process.
    func lock() -> Bool { flock(descriptor, LOCK_EX | LOCK_NB) == 0 }

    /// Gives the lock back now. Needed where the next request may come before this object is gone: a closure that ran
    /// elsewhere can outlive the answer by a moment.
    func unlock() { flock(descriptor, LOCK_UN) }

    /// Waits for the file's lock.
    func waitForLock(shared: Bool = false) throws {
        while flock(descriptor, shared ? LOCK_SH : LOCK_EX) != 0 {
            guard errno == EINTR else { throw RegistryError.system("cannot lock", path) }
        }
    }

    func size() throws -> Int {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw RegistryError.system("cannot read the size", path) }
        return Int(info.st_size)
    }

    /// Cuts the file to `size` bytes and goes on writing there.
    func truncate(to size: Int) throws {
        guard ftruncate(descriptor, off_t(size)) == 0, lseek(descriptor, off_t(size), SEEK_SET) >= 0 else {
            throw RegistryError.system("cannot cut the file", path)
        }
    }

    func write(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let count = Foundation.write(descriptor, buffer.baseAddress! + done, buffer.count - done)
                if count < 0 {
                    if errno == EINTR { continue }
                    throw RegistryError.system("cannot write", path)
                }
                done += count
            }
        }
    }

    func synchronize() throws {
        guard fsync(descriptor) == 0 else { throw RegistryError.system("cannot write to disk", path) }
    }
}

/// A file being read in pieces.
final class InputFile: @unchecked Sendable {
    let path: String
    private let descriptor: Int32
    let size: Int

    /// nil when there is no such file. Without `followsLinks`, a symbolic link is an error.
    init?(path: String, followsLinks: Bool = true) throws {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC | (followsLinks ? 0 : O_NOFOLLOW))
        if descriptor < 0 {
            if errno == ENOENT { return nil }
            throw RegistryError.system("cannot open", path)
        }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else {
            close(descriptor)
            throw RegistryError.system("cannot read the size", path)
        }
        size = Int(info.st_size)
    }

    deinit { close(descriptor) }

    /// `count` bytes at `offset`, fewer only at the end of the file.
    func read(_ count: Int, at offset: Int) throws -> [UInt8] {
        var failure: RegistryError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = 0
            while filled < count {
                let got = pread(
                    descriptor, UnsafeMutableRawPointer(buffer.baseAddress! + filled), count - filled,
                    off_t(offset + filled))
                if got < 0 {
                    if errno == EINTR { continue }
                    failure = RegistryError.system("cannot read", path)
                    return
                }
                if got == 0 { return }
                filled += got
            }
        }
        if let failure { throw failure }
        return bytes
    }
}

/// The folders of an embedded registry.
///
///     catalogue.sqlite        what exists: written last
///     blobs/sha256/ab/<hex>   immutable content
///     tmp/<uuid>              content on its way in
///     uploads/<uuid>          uploads that clients may continue
struct StorageFiles: Sendable {
    let root: String

    var catalogue: String { root + "/catalogue.sqlite" }
    var lock: String { root + "/.lock" }
    /// Held by garbage collection alone, or by backups together.
    var collectionLock: String { root + "/.gc-lock" }
    var temporary: String { root + "/tmp" }
    var uploads: String { root + "/uploads" }
    var blobs: String { root + "/blobs" }

    func path(of digest: Digest) -> String {
        "\(blobs)/\(digest.algorithm.rawValue)/\(digest.hex.prefix(2))/\(digest.hex)"
    }

    func newTemporaryPath() -> String { "\(temporary)/\(UUID().uuidString.lowercased())" }

    func upload(_ id: String) -> String { "\(uploads)/\(id)" }

    func createFolders() throws {
        for folder in [root, temporary, uploads, blobs] { try Self.createFolder(folder) }
    }

    static func createFolder(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw RegistryError(.storage, "cannot create the folder", path: path, cause: error)
        }
    }

    /// Moves a complete, synchronized temporary file to where `digest` lives and makes the move durable.
    func publish(_ temporaryPath: String, as digest: Digest) throws {
        let target = path(of: digest)
        let folder = (target as NSString).deletingLastPathComponent
        if access(folder, F_OK) != 0 {
            try Self.createFolder(folder)
            try Self.synchronizeFolder((folder as NSString).deletingLastPathComponent)
            try Self.synchronizeFolder(blobs)
        }
        guard rename(temporaryPath, target) == 0 else { throw RegistryError.system("cannot move into place", target) }
        try Self.synchronizeFolder(folder)
    }

    static func synchronizeFolder(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw RegistryError.system("cannot open the folder", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw RegistryError.system("cannot write the folder to disk", path) }
    }

    /// Names, sizes and modification times of the plain files in a folder.
    static func files(in folder: String) -> [(name: String, size: Int, modified: Date)] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.compactMap { name in
            var info = stat()
            guard lstat("\(folder)/\(name)", &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return nil }
            return (name, Int(info.st_size), Date(timeIntervalSince1970: Double(info.st_mtim.tv_sec)))
        }
    }

    static func remove(_ path: String) { unlink(path) }
}

/// Runs blocking work (files, compression) away from the cooperative pool.
func offload<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global(qos: .userInitiated).async { continuation.resume(with: Result(catching: body)) }
    }
}

extension RegistryError {
    /// `errno` in a sentence.
    static func system(_ what: String, _ path: String) -> RegistryError {
        RegistryError(.storage, "\(what): \(String(cString: strerror(errno)))", path: path)
    }
}

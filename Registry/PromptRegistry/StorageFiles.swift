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

    /// Whether the file still has a name.
    var isLinked: Bool {
        var info = stat()
        return fstat(descriptor, &info) == 0 && info.st_nlink > 0
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

    /// A new file in `tmp`, locked: as long as the answer lives, no sweep takes the file away, whatever the clock says.
    func newTemporaryFile() throws -> OutputFile {
        while true {
            let file = try OutputFile(path: newTemporaryPath(), isNew: true)
            // A sweep may have come between its making and its locking.
            if file.lock(), file.isLinked { return file }
            Self.remove(file.path)
        }
    }

    /// Removes files of `tmp` last written before a time that nobody has in hand; their number.
    func sweepTemporaries(before: Date) -> Int {
        Self.files(in: temporary).reduce(0) { count, file in
            guard file.modified < before, Self.removeIfUnlocked("\(temporary)/\(file.name)", if: { true }) else {
                return count
            }
            return count + 1
        }
    }

    /// Removes a file under its lock, unless somebody else holds that, or `condition`, asked under the lock, says no.
    static func removeIfUnlocked(_ path: String, if condition: () throws -> Bool) rethrows -> Bool {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0, try condition() else { return false }
        return unlink(path) == 0
    }

    func upload(_ id: String) -> String { "\(uploads)/\(id)" }

    func createFolders() throws {
        for folder in [root, temporary, uploads, blobs] { try Self.createFolder(folder) }
    }

    static func createFolder(_ path: String) throws {
        if mkdir(path, 0o700) == 0 { return }
        let parent = (path as NSString).deletingLastPathComponent
        if errno == ENOENT, !parent.isEmpty, parent != path {
            try createFolder(parent)
            if mkdir(path, 0o700) == 0 { return }
        }
        let code = errno
        var info = stat()
        if code == EEXIST, stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR { return }
        errno = code == EEXIST ? ENOTDIR : code
        throw RegistryError.system("cannot create the folder", path)
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

import Foundation

/// Several files that take their places together: the parts of a model, an index and its shards.
///
/// Each is written to a temporary file beside its destination and flushed. Only when all are complete does
/// ``commit()`` move them into place, in the *reverse* order of writing: what points at the others is written first and
/// appears last, so that a crash in between never shows a whole that is not. When anything throws before that, nothing
/// of the group remains.
///
///     var group = try AtomicFileGroup(existing: .refuse, paths: [index, shard])
///     try group.write(to: index) { try $0.write(json) }
///     try group.write(to: shard) { try $0.write(data) }
///     try group.commit()
public struct AtomicFileGroup: ~Copyable {
    private struct Pending {
        var temporary: String
        var path: String
    }

    private let existing: AtomicFile.Existing
    private var pending: [Pending] = []

    /// - Parameters:
    ///   - existing: what happens to files that are there.
    ///   - paths: checked at once when existing files are to be refused, so that no work is done in vain.
    public init(existing: AtomicFile.Existing = .replace, paths: [String] = []) throws(ByteIOError) {
        self.existing = existing
        guard existing == .refuse else { return }
        for path in paths {
            var status = stat()
            if lstat(path, &status) == 0 { throw Self.exists(path) }
        }
    }

    deinit { for file in pending { unlink(file.temporary) } }

    /// Writes one file of the group; it is not visible under its name yet.
    ///
    /// Parameters and errors are those of ``AtomicFile/write(to:permissions:existing:expectedSize:_:)``.
    public mutating func write(
        to path: String, permissions: UInt32? = nil, expectedSize: Int? = nil,
        _ body: (inout AtomicFile.Writer) throws -> Void
    ) throws {
        let temporary =
            AtomicFile.folder(of: path) + "/" + AtomicFile.temporaryPrefix + String(getpid()) + "-"
            + String(UInt64.random(in: .min ... .max), radix: 36)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw ByteIOError.failed("write the file", path: path, number: errno) }
        var isOpen = true
        do {
            if let permissions, fchmod(descriptor, mode_t(permissions)) != 0 {
                throw ByteIOError.failed("set the permissions", path: path, number: errno)
            }
            if let expectedSize { try Self.reserve(expectedSize, descriptor, path: path) }
            var writer = AtomicFile.Writer(descriptor: descriptor, path: path)
            try body(&writer)
            try writer.flush()
            // What was set aside beyond the end is given back.
            if expectedSize != nil, ftruncate(descriptor, off_t(writer.position)) != 0 {
                throw ByteIOError.failed("set the file's size", path: path, number: errno)
            }
            guard fsync(descriptor) == 0 else {
                throw ByteIOError.failed("flush the file to disk", path: path, number: errno)
            }
            isOpen = false
            guard close(descriptor) == 0 else {
                throw ByteIOError.failed("close the file", path: path, number: errno)
            }
        } catch {
            if isOpen { close(descriptor) }
            unlink(temporary)
            throw error
        }
        pending.append(Pending(temporary: temporary, path: path))
    }

    /// Moves all files into place and flushes their folders.
    /// - Throws: ``ByteIOError``. Where existing files are refused, nothing of the group remains then.
    public mutating func commit() throws(ByteIOError) {
        var placed: [String] = []
        var folders: [String] = []
        while let file = pending.last {
            do throws(ByteIOError) {
                try place(file)
            } catch {
                if existing == .refuse { for path in placed { unlink(path) } }
                throw error
            }
            pending.removeLast()
            placed.append(file.path)
            let folder = AtomicFile.folder(of: file.path)
            if !folders.contains(folder) { folders.append(folder) }
        }
        for folder in folders { try AtomicFile.flushFolder(folder) }
    }

    private func place(_ file: Pending) throws(ByteIOError) {
        if existing == .refuse {
            // link(2) fails when the name is taken, rename(2) would not.
            if link(file.temporary, file.path) == 0 {
                unlink(file.temporary)
                return
            }
            if errno == EEXIST { throw Self.exists(file.path) }
            // Some file systems have no hard links: look, then rename.
            var status = stat()
            if lstat(file.path, &status) == 0 { throw Self.exists(file.path) }
        }
        guard rename(file.temporary, file.path) == 0 else {
            throw .failed("put the new file in place", path: file.path, number: errno)
        }
    }

    /// Sets disk space aside; where the file system cannot, writing finds out.
    private static func reserve(_ size: Int, _ descriptor: Int32, path: String) throws(ByteIOError) {
        guard size > 0 else { return }
        if let allocate = LinuxCalls.allocate, allocate(descriptor, LinuxCalls.keepSize, 0, Int64(size)) != 0,
            [ENOSPC, EDQUOT, EFBIG].contains(errno)
        {
            throw .failed("set aside \(size) bytes for the file", path: path, number: errno)
        }
    }

    private static func exists(_ path: String) -> ByteIOError {
        ByteIOError(
            .alreadyExists, "the file exists and is not overwritten; choose another name or remove it first",
            path: path)
    }
}

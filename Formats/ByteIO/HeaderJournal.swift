import Foundation

/// Overwriting a few bytes of a file so that a crash at any moment leaves the old bytes or the new ones.
///
/// The old bytes are written to `<file>.incipit-journal` and flushed; then the file is changed and flushed; then the
/// journal is removed. Whoever finds a journal puts the old bytes back before doing anything else.
///
///     0    "INCIPIT JOURNAL\n"
///     16   device u64, inode u64    of the file that was changed
///     32   size of the file         u64
///     40   offset of the bytes      u64
///     48   count of the bytes       u64
///     56   checksum of the bytes    u64, FNV-1a
///     64   the old bytes
///
/// A journal whose checksum or count does not fit was not complete, so the file was not changed yet: it is removed.
public enum HeaderJournal {
    private static let magic = Array("INCIPIT JOURNAL\n".utf8)
    private static let headerSize = 64

    /// Where the journal of a file lies.
    public static func path(for path: String) -> String { resolved(path) + ".incipit-journal" }

    /// Overwrites bytes of a mapped file. The mapping shows the new bytes afterwards, as far as they are not copied.
    /// - Throws: ``ByteIOError``; code `changed` when the file is no longer what was mapped. The file is as it was then.
    public static func apply(_ bytes: some Collection<UInt8>, at offset: Int, to file: MappedFile) throws {
        precondition(offset >= 0 && bytes.count <= file.count - offset)
        guard let identity = file.identity else { preconditionFailure("bytes in memory cannot be overwritten") }
        guard !bytes.isEmpty else { return }
        let target = resolved(file.path)
        let descriptor = open(target, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw ByteIOError.failed("change the file", path: file.path, number: errno) }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw ByteIOError.failed("lock the file, which another program is changing", path: file.path, number: errno)
        }
        guard try FileIdentity(path: target) == identity else {
            throw ByteIOError(
                .changed, "another program changed the file in the meantime; nothing was written", path: file.path)
        }
        let journal = path(for: file.path)
        let old = Array(file.unsafeBytes[offset..<offset + bytes.count])
        try AtomicFile.write(record(old, offset: offset, identity: identity), to: journal)
        do {
            try overwrite(descriptor, Array(bytes), at: offset, path: file.path)
        } catch {
            // The old bytes go back at once; should that fail too, the journal stays for the next who comes.
            try? overwrite(descriptor, old, at: offset, path: file.path)
            throw error
        }
        unlink(journal)
        try AtomicFile.flushFolder(AtomicFile.folder(of: journal))
    }

    /// Undoes a change that was interrupted.
    /// - Returns: whether there was one.
    /// - Throws: ``ByteIOError`` when a journal is there but cannot be applied.
    @discardableResult
    public static func recover(path: String) throws -> Bool {
        let journal = self.path(for: path)
        var status = stat()
        guard lstat(journal, &status) == 0 else { return false }
        let record = try MappedFile(path: journal)
        guard let found = parse(record) else {
            unlink(journal)
            return false
        }
        let identity = try FileIdentity(path: path)
        guard found.device == identity.device, found.inode == identity.inode, found.size == UInt64(identity.size),
            found.bytes.count <= identity.size, found.offset <= identity.size - found.bytes.count
        else {
            throw ByteIOError(
                .changed,
                "this records an interrupted change of another file than the one now beside it; "
                    + "remove it if that file is as it should be", path: journal)
        }
        let descriptor = open(resolved(path), O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw ByteIOError.failed("change the file", path: path, number: errno) }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw ByteIOError.failed("lock the file, which another program is changing", path: path, number: errno)
        }
        try overwrite(descriptor, found.bytes, at: found.offset, path: path)
        unlink(journal)
        try AtomicFile.flushFolder(AtomicFile.folder(of: journal))
        return true
    }

    // MARK: - Helpers

    static func record(_ bytes: [UInt8], offset: Int, identity: FileIdentity) -> [UInt8] {
        var writer = ByteWriter(capacity: headerSize + bytes.count)
        writer.write(bytes: magic)
        writer.write(identity.device)
        writer.write(identity.inode)
        writer.write(UInt64(identity.size))
        writer.write(UInt64(offset))
        writer.write(UInt64(bytes.count))
        writer.write(checksum(bytes))
        writer.write(bytes: bytes)
        return writer.bytes
    }

    private static func parse(
        _ file: MappedFile
    ) -> (device: UInt64, inode: UInt64, size: UInt64, offset: Int, bytes: [UInt8])? {
        let content = file.copyBytes()
        guard content.count >= headerSize, content.starts(with: magic) else { return nil }
        let words = content.withUnsafeBytes { buffer in
            stride(from: 16, to: headerSize, by: 8).map {
                UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: $0, as: UInt64.self))
            }
        }
        let bytes = Array(content[headerSize...])
        guard let offset = Int(exactly: words[3]), words[4] == UInt64(bytes.count), words[5] == checksum(bytes) else {
            return nil
        }
        return (words[0], words[1], words[2], offset, bytes)
    }

    private static func checksum(_ bytes: [UInt8]) -> UInt64 {
        bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    private static func overwrite(_ descriptor: Int32, _ bytes: [UInt8], at offset: Int, path: String)
        throws(ByteIOError)
    {
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress, $0.count, off_t(offset + done))
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw .failed("change the file", path: path, number: errno)
            }
            done += count
        }
        guard fsync(descriptor) == 0 else { throw .failed("flush the file to disk", path: path, number: errno) }
    }

    /// The file a symbolic link leads to.
    static func resolved(_ path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        defer { free(real) }
        return String(cString: real)
    }
}

/// Replacing a file by a new version of itself.
public enum RewrittenFile {
    /// Calls `body` with the path to write to (that of the file itself, where `file` was opened through a symbolic
    /// link) and the mode bits to give it. Refuses when the file is no longer what was mapped.
    public static func write(
        over file: MappedFile, _ body: (_ path: String, _ permissions: UInt32) throws -> Void
    ) throws {
        let target = HeaderJournal.resolved(file.path)
        var status = stat()
        guard stat(target, &status) == 0 else {
            throw ByteIOError.failed("examine the file", path: file.path, number: errno)
        }
        guard file.identity == nil || FileIdentity(status) == file.identity else {
            throw ByteIOError(
                .changed, "another program changed the file in the meantime; nothing was written", path: file.path)
        }
        try body(target, UInt32(status.st_mode) & 0o7777)
    }
}

import Foundation

/// What tells one state of a file from another without reading it.
public struct FileIdentity: Hashable, Sendable {
    public let device: UInt64
    public let inode: UInt64
    public let size: Int
    /// Nanoseconds since 1970, as the file system records them.
    public let modificationTime: Int64

    init(_ status: stat) {
        device = UInt64(truncatingIfNeeded: status.st_dev)
        inode = UInt64(truncatingIfNeeded: status.st_ino)
        size = Int(status.st_size)
        modificationTime = Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
    }

    /// The state of the file at `path` now.
    /// - Throws: ``ByteIOError`` when it cannot be examined.
    public init(path: String) throws(ByteIOError) {
        var status = stat()
        guard stat(path, &status) == 0 else { throw .failed("examine the file", path: path, number: errno) }
        self.init(status)
    }
}

/// A whole file mapped into memory, read-only.
///
/// Opening costs no reading; pages come in when they are touched. The size is taken once at opening; a file that
/// another process shortens while it is mapped faults on access, which is why everything of ours writes by
/// ``AtomicFile``. A file of 0 bytes is fine. The mapping lives as long as the object.
public final class MappedFile: Sendable {
    /// The path as it was given, or the name given to bytes in memory.
    public let path: String
    /// Size in bytes.
    public let count: Int
    /// Nil for bytes in memory.
    public let identity: FileIdentity?

    // Sound: the memory is never written after `init` and is released only by `deinit`.
    private nonisolated(unsafe) let base: UnsafeMutableRawPointer?
    private let isMapped: Bool

    /// Maps the file at `path`.
    /// - Throws: ``ByteIOError`` when it is missing, not readable or not a regular file.
    public init(path: String) throws(ByteIOError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .failed("open the file", path: path, number: errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .failed("examine the file", path: path, number: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw ByteIOError(.notRegularFile, "this is not a regular file", path: path)
        }
        let size = Int(status.st_size)
        var address: UnsafeMutableRawPointer?
        if size > 0 {
            address = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0)
            guard address != MAP_FAILED else { throw .failed("map the file", path: path, number: errno) }
        }
        self.path = path
        self.count = size
        self.base = address
        self.isMapped = true
        self.identity = FileIdentity(status)
    }

    /// Wraps a copy of `bytes`, so that whatever reads files also reads memory.
    /// - Parameter name: stands for the path in error messages.
    public init(bytes: some Collection<UInt8>, name: String) {
        path = name
        count = bytes.count
        identity = nil
        isMapped = false
        if count > 0 {
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
            memory.copyBytes(from: bytes)
            base = memory.baseAddress
        } else {
            base = nil
        }
    }

    deinit {
        guard let base else { return }
        if isMapped { munmap(base, count) } else { base.deallocate() }
    }

    /// Lends the bytes for the time of the call.
    public func withBytes<R, E>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
        try body(unsafeBytes.bytes)
    }

    /// The bytes. Valid only while the object lives: keep a reference beside it.
    public var unsafeBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// A copy of all bytes; safe to use after the object is gone.
    public func copyBytes() -> [UInt8] { withExtendedLifetime(self) { Array(unsafeBytes) } }

    /// As ``release(_:)``, for a part of ``unsafeBytes``; nothing happens for other memory.
    public func release(_ bytes: UnsafeRawBufferPointer) {
        guard let base, let start = bytes.baseAddress else { return }
        let first = Int(bitPattern: start) - Int(bitPattern: base)
        if first >= 0, bytes.count <= count - first { release(first..<first + bytes.count) }
    }

    /// Tells the system that a range will not be read again soon: its pages leave this process's memory, and are there
    /// again, from the file, when they are read. Only whole pages within the range; no effect on bytes in memory.
    public func release(_ range: Range<Int>) {
        guard isMapped, let base, !range.isEmpty else { return }
        let page = Int(getpagesize())
        let start = (max(0, range.lowerBound) + page - 1) / page * page
        let end = range.upperBound >= count ? count : range.upperBound / page * page
        if end > start { madvise(base + start, end - start, MADV_DONTNEED) }
    }

    /// Asks the system to read a range ahead of use; has no other effect.
    public func willNeed(_ range: Range<Int>) {
        guard isMapped, let base, !range.isEmpty else { return }
        let page = 4096
        let start = max(0, range.lowerBound) / page * page
        let end = min(range.upperBound, count)
        if end > start { madvise(base + start, end - start, MADV_WILLNEED) }
    }
}

import Foundation

extension AtomicFile.Writer {
    /// Appends a range of a mapped file.
    ///
    /// Long ranges are copied by the system without passing through this program's memory, where the file systems can
    /// (and share their blocks, where they can even that). The mapping is not touched then, so a file that another
    /// program shortens gives an error instead of a fault.
    /// - Throws: ``ByteIOError``; code `changed` when the file is no longer what was mapped.
    public mutating func copy(_ range: Range<Int>, of file: MappedFile) throws(ByteIOError) {
        precondition(range.lowerBound >= 0 && range.upperBound <= file.count)
        guard descriptor >= 0, let identity = file.identity, range.count >= 1 << 16 else {
            return try write(UnsafeRawBufferPointer(rebasing: file.unsafeBytes[range]))
        }
        let source = open(file.path, O_RDONLY | O_CLOEXEC)
        guard source >= 0 else { return try write(UnsafeRawBufferPointer(rebasing: file.unsafeBytes[range])) }
        defer { close(source) }
        var status = stat()
        guard fstat(source, &status) == 0 else {
            throw .failed("examine the file", path: file.path, number: errno)
        }
        let now = FileIdentity(status)
        guard now.device == identity.device, now.inode == identity.inode else {
            // Another file has taken the name; the mapping still shows the one that was opened.
            return try write(UnsafeRawBufferPointer(rebasing: file.unsafeBytes[range]))
        }
        guard now == identity else { throw Self.changed(file.path) }
        try flush()
        try copy(range, from: source, named: file.path)
    }

    private mutating func copy(
        _ range: Range<Int>, from source: Int32, named name: String
    ) throws(ByteIOError) {
        var next = range.lowerBound
        while let copy = LinuxCalls.copyFileRange, next < range.upperBound {
            try askWhetherToContinue(at: position)
            var offset = Int64(next)
            let count = copy(source, &offset, descriptor, nil, min(range.upperBound - next, Self.pieceSize), 0)
            if count < 0 {
                if errno == EINTR { continue }
                // Another file system, an old kernel, an unusual file: copy by hand.
                if [EXDEV, EINVAL, ENOSYS, EOPNOTSUPP, EIO, EBADF].contains(errno) { break }
                throw .failed("write the file", path: path, number: errno)
            }
            if count == 0 { break }
            next += count
            position += count
        }
        var buffer = [UInt8](repeating: 0, count: min(range.upperBound - next, 1 << 20))
        while next < range.upperBound {
            let wanted = min(buffer.count, range.upperBound - next)
            let count = buffer.withUnsafeMutableBytes { pread(source, $0.baseAddress, wanted, off_t(next)) }
            if count < 0 {
                if errno == EINTR { continue }
                throw .failed("read the file", path: name, number: errno)
            }
            guard count > 0 else { throw Self.changed(name) }
            try write(buffer[..<count])
            next += count
        }
        try flush()
    }

    private static func changed(_ path: String) -> ByteIOError {
        ByteIOError(
            .changed, "another program changed the file while it was read; try again when that is done", path: path)
    }
}

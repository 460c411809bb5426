import Foundation

/// Writing files so that a reader, or a crash, sees either the old content or the whole new one.
///
/// The bytes go to a temporary file in the same folder, are flushed to disk, and take the final name by `rename`; then
/// the folder is flushed. When anything throws, the temporary file is removed and the destination is untouched. A
/// killed process leaves at most a file whose name starts with ``temporaryPrefix``.
///
///     try AtomicFile.write(to: "model.gguf") { file in
///         try file.write(header)
///     }
public enum AtomicFile {
    /// How names of temporary files start, for whoever sweeps a folder after a crash.
    public static let temporaryPrefix = ".incipit-tmp-"

    /// What to do when the destination exists already.
    public enum Existing: Sendable {
        /// Readers see the old content until the new one is complete.
        case replace
        /// Throw ``ByteIOError/Code/alreadyExists``: before the work, and again, without a gap, at its end.
        case refuse
    }

    /// Writes the file at `path`.
    /// - Parameters:
    ///   - permissions: mode bits of the new file; nil means 0666 less the umask.
    ///   - existing: whether a file that is there is replaced or protected.
    ///   - expectedSize: bytes to set aside on the disk beforehand, so that a full disk is found before the work.
    ///   - body: writes the content.
    /// - Throws: what `body` throws, or ``ByteIOError`` when the system refuses (disk full, folder not writable).
    public static func write(
        to path: String, permissions: UInt32? = nil, existing: Existing = .replace, expectedSize: Int? = nil,
        _ body: (inout Writer) throws -> Void
    ) throws {
        var group = try AtomicFileGroup(existing: existing, paths: [path])
        try group.write(to: path, permissions: permissions, expectedSize: expectedSize, body)
        try group.commit()
    }

    /// Writes `bytes` as the whole content of the file at `path`.
    public static func write(_ bytes: some Collection<UInt8>, to path: String, permissions: UInt32? = nil) throws {
        try write(to: path, permissions: permissions) { file in try file.write(bytes) }
    }

    /// Flushes a folder's entries to disk, so that a rename survives a power cut.
    public static func flushFolder(_ folder: String) throws(ByteIOError) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .failed("open the folder", path: folder, number: errno) }
        defer { close(descriptor) }
        // Some file systems cannot flush a folder and say EINVAL; the rename itself was still atomic.
        if fsync(descriptor) != 0, errno != EINVAL {
            throw .failed("flush the folder to disk", path: folder, number: errno)
        }
    }

    /// The folder a path lies in: everything before the last slash, or ".".
    public static func folder(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.utf8.startIndex ? "/" : String(path[..<slash])
    }
}

extension AtomicFile {
    /// A buffered, write-only file (or memory) that counts what went into it.
    public struct Writer: ~Copyable {
        let descriptor: Int32
        let path: String
        private var buffer: [UInt8] = []
        private static var bufferSize: Int { 1 << 18 }
        /// Bytes between two questions whether to continue.
        static var pieceSize: Int { 1 << 25 }

        /// Bytes written so far, including those still in the buffer.
        public internal(set) var position = 0

        /// Asked now and then during long writing, with ``position``; when it says no, writing throws
        /// ``ByteIOError/Code/cancelled``. Shows progress and takes Ctrl-C.
        public var shouldContinue: ((_ position: Int) -> Bool)?

        init(descriptor: Int32, path: String) {
            self.descriptor = descriptor
            self.path = path
            buffer.reserveCapacity(Self.bufferSize)
        }

        private init() {
            descriptor = -1
            path = "memory"
        }

        /// Runs `body` on a writer that collects into memory, and gives what it wrote.
        public static func collecting(_ body: (inout Writer) throws -> Void) rethrows -> [UInt8] {
            var writer = Writer()
            try body(&writer)
            return writer.buffer
        }

        /// Appends raw bytes.
        public mutating func write(_ bytes: UnsafeRawBufferPointer) throws(ByteIOError) {
            position += bytes.count
            if descriptor < 0 || buffer.count + bytes.count <= Self.bufferSize {
                buffer.append(contentsOf: bytes)
                return
            }
            try flush()
            if bytes.count >= Self.bufferSize {
                try writeOut(bytes)
            } else {
                buffer.append(contentsOf: bytes)
            }
        }

        /// Appends a collection of bytes.
        public mutating func write(_ bytes: some Collection<UInt8>) throws(ByteIOError) {
            var failure: ByteIOError?
            let done: Void? = bytes.withContiguousStorageIfAvailable { storage in
                do { try write(UnsafeRawBufferPointer(storage)) } catch let error as ByteIOError {
                    failure = error
                } catch {
                }
            }
            if let failure { throw failure }
            if done == nil { try write(Array(bytes)) }
        }

        /// Appends zeros until ``position`` is a multiple of `alignment`.
        public mutating func pad(to alignment: Int) throws(ByteIOError) {
            precondition(alignment > 0)
            var rest = (alignment - position % alignment) % alignment
            while rest > 0 {
                let piece = min(rest, 65536)
                try write([UInt8](repeating: 0, count: piece))
                rest -= piece
            }
        }

        mutating func flush() throws(ByteIOError) {
            guard descriptor >= 0, !buffer.isEmpty else { return }
            let full = buffer
            buffer.removeAll(keepingCapacity: true)
            var failure: ByteIOError?
            full.withUnsafeBytes { bytes in
                do { try writeOut(bytes) } catch let error as ByteIOError { failure = error } catch {}
            }
            if let failure { throw failure }
        }

        func askWhetherToContinue(at position: Int) throws(ByteIOError) {
            if let shouldContinue, !shouldContinue(position) {
                throw ByteIOError(.cancelled, "writing was stopped; nothing is left behind", path: path)
            }
        }

        private func writeOut(_ bytes: UnsafeRawBufferPointer) throws(ByteIOError) {
            var rest = bytes[...]
            while !rest.isEmpty {
                try askWhetherToContinue(at: position - rest.count)
                let chunk = UnsafeRawBufferPointer(rebasing: rest)
                let written = Foundation.write(descriptor, chunk.baseAddress, min(chunk.count, Self.pieceSize))
                if written < 0 {
                    if errno == EINTR { continue }
                    throw .failed("write the file", path: path, number: errno)
                }
                rest = rest.dropFirst(written)
            }
        }
    }
}

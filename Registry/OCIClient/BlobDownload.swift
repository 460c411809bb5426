import Foundation
import OCIArtifacts
import PromptRegistry

// Downloads to files, which survive interruptions.
extension RemoteStore {
    /// Fetches a blob into a file, going on where an earlier attempt stopped.
    ///
    /// The bytes gather in `<partialDirectory>/<algorithm>-<hex>`. Only a file of the right size and digest is moved to
    /// `path`; a wrong one is deleted and fetched once more from its beginning. A file that is already at `path` and
    /// right is kept.
    ///
    /// - Parameters:
    ///   - size: bytes, as the descriptor says.
    ///   - partialDirectory: on the same file system as `path`; made when missing.
    ///   - progress: called with the number of bytes that are there.
    /// - Throws: `.corrupt` naming both digests; `.blobUnknown`; `.transport`; `.storage` for the file system.
    public func downloadBlob(
        _ digest: Digest, size: Int, in repository: RepositoryName, to path: String, partialDirectory: String,
        progress: @escaping @Sendable (Int) -> Void = { _ in }
    ) async throws {
        if try PartialFile.digest(of: path, algorithm: digest.algorithm, size: size) == digest { return }
        do {
            try FileManager.default.createDirectory(atPath: partialDirectory, withIntermediateDirectories: true)
        } catch {
            throw RegistryError(.storage, "cannot make the folder for downloads", path: partialDirectory, cause: error)
        }
        let partial = partialDirectory + "/\(digest.algorithm.rawValue)-\(digest.hex)"
        var found: Digest?
        for _ in 0..<2 {
            let file = try PartialFile(path: partial, algorithm: digest.algorithm, limit: size)
            if await file.count < size {
                let start = await file.count
                progress(start)
                try await readBlob(digest, in: repository, range: start..<size) { chunk in
                    progress(try await file.append(chunk))
                }
            }
            let result = try await file.close()
            if result == digest {
                guard rename(partial, path) == 0 else {
                    throw RegistryError(
                        .storage, "cannot move the downloaded blob into place: \(String(cString: strerror(errno)))",
                        path: path)
                }
                PartialFile.syncDirectory(of: path)
                return
            }
            found = result
            unlink(partial)
        }
        throw RegistryError(
            .corrupt,
            "\(host) has other bytes for blob \(digest): twice they had the digest \(found?.description ?? "?"); "
                + "ask its operator to verify it",
            repository: repository, digest: digest)
    }
}

/// A growing file and the hash of what is in it.
private actor PartialFile {
    private let path: String
    private let descriptor: Int32
    private var hasher: DigestHasher
    private let limit: Int

    var count: Int { hasher.byteCount }

    /// Opens the file and hashes what an earlier attempt left. More than `limit` bytes are of no use: it starts anew.
    init(path: String, algorithm: Digest.Algorithm, limit: Int) throws {
        self.path = path
        self.limit = limit
        let opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard opened >= 0 else { throw Self.failure("open", path) }
        var hash = DigestHasher(algorithm: algorithm)
        do {
            try Self.hash(opened, path, into: &hash)
            if hash.byteCount > limit {
                guard ftruncate(opened, 0) == 0, lseek(opened, 0, Int32(SEEK_SET)) == 0 else {
                    throw Self.failure("truncate", path)
                }
                hash = DigestHasher(algorithm: algorithm)
            }
        } catch {
            Foundation.close(opened)
            throw error
        }
        descriptor = opened
        hasher = hash
    }

    deinit { Foundation.close(descriptor) }

    /// Appends and answers the new size.
    func append(_ chunk: [UInt8]) throws -> Int {
        guard chunk.count <= limit - count else {
            throw RegistryError(.corrupt, "more than the \(limit) bytes announced arrived", path: path)
        }
        try chunk.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let written = write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if written < 0 {
                    if errno == EINTR { continue }
                    throw Self.failure("write", path)
                }
                rest = rest.dropFirst(written)
            }
        }
        hasher.update(chunk)
        return count
    }

    /// Makes the bytes durable and answers their digest.
    func close() throws -> Digest {
        guard fsync(descriptor) == 0 else { throw Self.failure("sync", path) }
        return hasher.finalize()
    }

    /// The digest of a file of exactly `size` bytes; nil for others, and for what is no file.
    static func digest(of path: String, algorithm: Digest.Algorithm, size: Int) throws -> Digest? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { Foundation.close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, Int(status.st_size) == size else { return nil }
        var hasher = DigestHasher(algorithm: algorithm)
        try hash(descriptor, path, into: &hasher)
        return hasher.finalize()
    }

    static func syncDirectory(of path: String) {
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { String(path[...$0]) } ?? "."
        let descriptor = open(directory, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        Foundation.close(descriptor)
    }

    private static func hash(_ descriptor: Int32, _ path: String, into hasher: inout DigestHasher) throws {
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw failure("read", path)
            }
            if count == 0 { return }
            buffer.withUnsafeBytes { hasher.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
    }

    private static func failure(_ action: String, _ path: String) -> RegistryError {
        RegistryError(
            .storage, "cannot \(action) the partial download: \(String(cString: strerror(errno)))", path: path)
    }
}

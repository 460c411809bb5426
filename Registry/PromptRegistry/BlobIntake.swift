import Foundation
import OCIArtifacts

/// Takes in a blob of unknown length: hashes while the bytes come, keeps a small one in memory, lets a larger one run
/// into a temporary file. Used by one task at a time.
final class BlobIntake: @unchecked Sendable {
    private let files: StorageFiles
    private let memoryLimit: Int
    private var hasher: DigestHasher
    private var head: [UInt8] = []
    private var file: OutputFile?

    init(files: StorageFiles, algorithm: Digest.Algorithm, memoryLimit: Int = 1 << 20) {
        self.files = files
        self.memoryLimit = memoryLimit
        hasher = DigestHasher(algorithm: algorithm)
    }

    /// Removes what was not taken over.
    deinit { discard() }

    var count: Int { hasher.byteCount }
    var digest: Digest { hasher.finalize() }

    func append(_ chunk: [UInt8]) throws {
        hasher.update(chunk)
        if let file {
            try file.write(chunk)
        } else if head.count + chunk.count <= memoryLimit {
            head += chunk
        } else {
            let file = try files.newTemporaryFile()
            self.file = file
            try file.write(head)
            try file.write(chunk)
            head = []
        }
    }

    /// The bytes in the form they will be stored in, durable when that is a file.
    func prepare(inlineLimit: Int) throws -> PreparedBlob {
        guard let file else { return try PreparedBlob(head, inlineLimit: inlineLimit, files: files) }
        try file.synchronize()
        var prepared = try PreparedBlob(file: file.path, size: count, inlineLimit: inlineLimit, files: files)
        if prepared.file == file.path { prepared.hold = file }
        if prepared.file == file.path { self.file = nil }
        return prepared
    }

    func discard() {
        if let file { StorageFiles.remove(file.path) }
        file = nil
    }
}

/// A blob's stored form before it is published: bytes for the catalogue, or a synchronized file.
struct PreparedBlob: Sendable {
    let size: Int
    let codec: Codec
    let storedSize: Int
    let inline: [UInt8]?
    /// The file to move into place; nil when inline.
    let file: String?
    /// Keeps a temporary file locked, so that no sweep takes it away before it is in its place.
    fileprivate var hold: OutputFile?

    /// From bytes in memory.
    init(_ bytes: [UInt8], inlineLimit: Int, files: StorageFiles) throws {
        let (codec, stored) = try Codec.encodeBest(bytes)
        try self.init(size: bytes.count, codec: codec, stored: stored, inlineLimit: inlineLimit, files: files)
    }

    /// From a synchronized file of `size` bytes. Small enough ones are compressed into the catalogue or another file;
    /// the answer's ``file`` is `path` itself when the bytes stay as they are.
    init(file path: String, size: Int, inlineLimit: Int, files: StorageFiles) throws {
        if size <= Codec.largestInput {
            guard let input = try InputFile(path: path) else {
                throw RegistryError(.storage, "a temporary file vanished while it was in use", path: path)
            }
            let bytes = try input.read(size, at: 0)
            let (codec, stored) = try Codec.encodeBest(bytes)
            if codec.id != Codec.raw.id || stored.count <= inlineLimit {
                try self.init(size: size, codec: codec, stored: stored, inlineLimit: inlineLimit, files: files)
                return
            }
        }
        self.init(size: size, codec: .raw, storedSize: size, inline: nil, file: path)
    }

    private init(
        size: Int, codec: Codec, storedSize: Int, inline: [UInt8]?, file: String?, hold: OutputFile? = nil
    ) {
        self.size = size
        self.codec = codec
        self.storedSize = storedSize
        self.inline = inline
        self.file = file
        self.hold = hold
    }

    private init(size: Int, codec: Codec, stored: [UInt8], inlineLimit: Int, files: StorageFiles) throws {
        if stored.count <= inlineLimit {
            self.init(size: size, codec: codec, storedSize: stored.count, inline: stored, file: nil)
        } else {
            let output = try files.newTemporaryFile()
            do {
                try output.write(stored)
                try output.synchronize()
            } catch {
                StorageFiles.remove(output.path)
                throw error
            }
            self.init(
                size: size, codec: codec, storedSize: stored.count, inline: nil, file: output.path, hold: output)
        }
    }

    func discard() {
        if let file { StorageFiles.remove(file) }
    }
}

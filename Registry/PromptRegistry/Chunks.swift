import Synchronization

/// Hands out bytes that are in memory in pieces, as the `source` of ``RegistryStore/writeBlob(_:size:in:from:)`` and
/// ``UploadStore/append(to:in:expectedOffset:from:)``.
public final class ChunkSource: Sendable {
    private let rest: Mutex<ArraySlice<UInt8>>
    private let chunkSize: Int

    public init(_ bytes: [UInt8], chunkSize: Int = 1 << 20) {
        precondition(chunkSize > 0, "a chunk has at least one byte")
        rest = Mutex(bytes[...])
        self.chunkSize = chunkSize
    }

    /// The next piece, nil at the end.
    public func next() -> [UInt8]? {
        rest.withLock { rest in
            guard !rest.isEmpty else { return nil }
            let chunk = rest.prefix(chunkSize)
            rest = rest.dropFirst(chunkSize)
            return Array(chunk)
        }
    }
}

/// Collects the chunks of a blob; the counterpart of ``ChunkSource``.
public final class ByteCollector: Sendable {
    private let storage: Mutex<[UInt8]>

    public init(capacity: Int = 0) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(max(0, min(capacity, 64 << 20)))
        storage = Mutex(bytes)
    }

    public var bytes: [UInt8] { storage.withLock { $0 } }

    /// Appends, unless that would exceed `limit` bytes: then nothing is kept of `chunk` and the answer is false.
    @discardableResult
    public func append(_ chunk: [UInt8], limit: Int = .max) -> Bool {
        storage.withLock { bytes in
            guard chunk.count <= limit - bytes.count else { return false }
            bytes += chunk
            return true
        }
    }
}

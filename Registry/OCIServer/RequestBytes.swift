import HTTPTypes
import Hummingbird
import PromptRegistry
import Synchronization

/// Reads a request's body in pieces of about 256 KiB, never more than `limit` bytes in all.
///
/// `@unchecked Sendable`: the iterator is neither shared nor reentrant. A store asks for the next piece only after it
/// has used the last one, and the route reads ``count`` only after the store is done.
final class RequestBytes: @unchecked Sendable {
    private var iterator: RequestBody.AsyncIterator
    private var failure: (any Error)?
    private var isAtEnd = false
    private let limit: Int
    private let excess: OCIError
    /// Bytes handed out so far.
    private(set) var count = 0

    private static let pieceSize = 256 << 10

    /// - Parameter excess: what is thrown when the body has more than `limit` bytes.
    init(_ body: RequestBody, limit: Int, excess: OCIError) {
        iterator = body.makeAsyncIterator()
        self.limit = limit
        self.excess = excess
    }

    func next() async throws -> [UInt8]? {
        if let failure { throw failure }
        var piece: [UInt8] = []
        while !isAtEnd, piece.count < Self.pieceSize {
            do {
                guard let buffer = try await iterator.next() else {
                    isAtEnd = true
                    break
                }
                guard buffer.readableBytes <= limit - count - piece.count else { throw excess }
                piece.append(contentsOf: buffer.readableBytesView)
            } catch {
                // What came before the failure still counts: an upload goes on from there.
                failure = error
                if piece.isEmpty { throw error }
                break
            }
        }
        if piece.isEmpty { return nil }
        count += piece.count
        return piece
    }
}

/// Bounds how many request bodies are received at once.
final class UploadSlots: Sendable {
    private let taken = Mutex(0)
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// Bodies being received.
    var count: Int { taken.withLock { $0 } }

    func withSlot<T>(_ body: () async throws -> T) async throws -> T {
        let isFree = taken.withLock { taken in
            guard taken < limit else { return false }
            taken += 1
            return true
        }
        guard isFree else {
            throw RegistryError(
                .tooManyRequests, "\(limit) uploads are under way, the most this registry takes at once; try again soon"
            )
        }
        defer { taken.withLock { $0 -= 1 } }
        return try await body()
    }
}

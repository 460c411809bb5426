/// Joins a store that pushes chunks to one that pulls them, holding one chunk at a time.
actor ChunkPipe {
    private enum End {
        case open
        case finished((any Error)?)
    }

    private var slot: [UInt8]?
    private var end = End.open
    private var waitingSender: CheckedContinuation<Void, Never>?
    private var waitingReceiver: CheckedContinuation<Void, Never>?

    /// Hands over a chunk, waiting until there is room. Throws `CancellationError` once the other side is gone.
    func send(_ chunk: [UInt8]) async throws {
        while slot != nil, case .open = end { await withCheckedContinuation { waitingSender = $0 } }
        guard case .open = end else { throw CancellationError() }
        slot = chunk
        wakeReceiver()
    }

    /// No more chunks; with an error, the receiver gets it in place of the end.
    func finish(_ error: (any Error)? = nil) {
        guard case .open = end else { return }
        end = .finished(error)
        wakeReceiver()
        wakeSender()
    }

    /// The next chunk, nil at the end.
    func next() async throws -> [UInt8]? {
        while slot == nil, case .open = end { await withCheckedContinuation { waitingReceiver = $0 } }
        if case .finished(let error?) = end { throw error }
        defer {
            slot = nil
            wakeSender()
        }
        return slot
    }

    private func wakeReceiver() {
        waitingReceiver?.resume()
        waitingReceiver = nil
    }

    private func wakeSender() {
        waitingSender?.resume()
        waitingSender = nil
    }
}

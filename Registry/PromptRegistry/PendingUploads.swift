import OCIArtifacts
import Synchronization

/// Uploads that have begun and have received nothing yet. They live in memory: there is nothing to lose, and most end
/// with the very next request, which then needs neither a file nor a row of its own. From the first byte that arrives
/// alone an upload is a row and a file, and survives a restart.
final class PendingUploads: Sendable {
    struct Entry: Sendable {
        let repository: RepositoryName
        let algorithm: Digest.Algorithm?
        /// Milliseconds since 1970.
        let begun: Int64
        /// A request is working on it.
        var isClaimed = false
    }

    enum Claim: Sendable {
        case entry(Entry)
        case busy
        case unknown
    }

    /// More than any honest load has open; beyond it the oldest half is forgotten.
    private static let maximumCount = 20_000
    private let entries = Mutex<[String: Entry]>([:])

    func add(_ id: String, _ entry: Entry) {
        entries.withLock { entries in
            if entries.count >= Self.maximumCount {
                let times = entries.values.map(\.begun).sorted()
                let median = times[times.count / 2]
                entries = entries.filter { $0.value.isClaimed || $0.value.begun > median }
            }
            entries[id] = entry
        }
    }

    func find(_ id: String, in repository: RepositoryName, begunAfter oldest: Int64) -> Entry? {
        entries.withLock { entries in
            guard let entry = entries[id], entry.repository == repository, entry.begun >= oldest else { return nil }
            return entry
        }
    }

    /// Takes an upload for the use of one request; ends with ``remove(_:)`` or ``release(_:)``.
    func claim(_ id: String, in repository: RepositoryName, begunAfter oldest: Int64) -> Claim {
        entries.withLock { entries in
            guard let entry = entries[id], entry.repository == repository, entry.begun >= oldest else {
                return .unknown
            }
            if entry.isClaimed { return .busy }
            entries[id]?.isClaimed = true
            return .entry(entry)
        }
    }

    /// Forgets those that nobody has touched since; how many.
    func removeExpired(begunBefore oldest: Int64) -> Int {
        entries.withLock { entries in
            let before = entries.count
            entries = entries.filter { $0.value.isClaimed || $0.value.begun >= oldest }
            return before - entries.count
        }
    }

    func release(_ id: String) { entries.withLock { $0[id]?.isClaimed = false } }

    /// Whether it was there.
    @discardableResult
    func remove(_ id: String) -> Bool { entries.withLock { $0.removeValue(forKey: id) != nil } }
}

/// Blobs that were read lately: verified bytes, up to a fixed number of them in all.
///
/// Only bytes are kept, never the knowledge that a blob exists: whoever reads has asked the catalogue before.
final class RecentBlobs: Sendable {
    private struct State {
        var blobs: [Digest: (bytes: [UInt8], used: UInt64)] = [:]
        var total = 0
        var clock: UInt64 = 0
    }

    private let state = Mutex(State())
    private let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    func bytes(of digest: Digest) -> [UInt8]? {
        state.withLock { state in
            guard let found = state.blobs[digest] else { return nil }
            state.clock += 1
            state.blobs[digest]?.used = state.clock
            return found.bytes
        }
    }

    func insert(_ bytes: [UInt8], as digest: Digest) {
        guard bytes.count <= capacity / 8 else { return }
        state.withLock { state in
            guard state.blobs[digest] == nil else { return }
            state.clock += 1
            state.blobs[digest] = (bytes, state.clock)
            state.total += bytes.count
            guard state.total > capacity else { return }
            // Half of it goes at once, so that the search for the oldest is rare.
            for (digest, entry) in state.blobs.sorted(by: { $0.value.used < $1.value.used }) {
                guard state.total > capacity / 2 else { break }
                state.blobs[digest] = nil
                state.total -= entry.bytes.count
            }
        }
    }

    func remove(_ digest: Digest) {
        state.withLock { state in
            if let entry = state.blobs.removeValue(forKey: digest) { state.total -= entry.bytes.count }
        }
    }
}

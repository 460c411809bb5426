import Foundation
import GRDB
import Synchronization

/// Lets writes that come at the same time share one commit.
///
/// A durable commit waits for the disk, a change of a few rows hardly takes time. Whatever has gathered while the last
/// commit was on its way runs in one transaction, each write in a savepoint of its own, so that one that fails takes
/// nothing but itself back. A caller is answered after the commit: what was acknowledged is on disk.
final class CommitQueue: Sendable {
    /// One write under way.
    private struct Job: Sendable {
        /// Runs the change; true when it went well.
        let run: @Sendable (Database) -> Bool
        /// Called once, after the commit, or with the error that took the commit back.
        let finish: @Sendable ((any Error)?) -> Void
    }

    private struct State {
        var jobs: [Job] = []
        var isRunning = false
    }

    private static let largestBatch = 64
    private let pool: any DatabaseWriter
    private let path: String
    private let state = Mutex(State())

    init(_ pool: any DatabaseWriter, path: String) {
        self.pool = pool
        self.path = path
    }

    func write<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<T, any Error>) in
            let slot = ResultSlot<T>()
            let job = Job(
                run: { db in
                    do {
                        var value: T?
                        try db.inSavepoint {
                            value = try body(db)
                            return .commit
                        }
                        if let value { slot.set(.success(value)) }
                        return true
                    } catch {
                        slot.set(.failure(error))
                        return false
                    }
                },
                finish: { error in
                    if let error, slot.isSuccess {
                        continuation.resume(throwing: error)
                    } else {
                        continuation.resume(with: slot.get() ?? .failure(error ?? CancellationError()))
                    }
                })
            add(job)
        }
    }

    private func add(_ job: Job) {
        let mustStart = state.withLock { state in
            state.jobs.append(job)
            if state.isRunning { return false }
            state.isRunning = true
            return true
        }
        if mustStart { pool.asyncWriteWithoutTransaction { db in self.drain(db) } }
    }

    private func drain(_ db: Database) {
        while true {
            let batch = state.withLock { state -> [Job] in
                let batch = Array(state.jobs.prefix(Self.largestBatch))
                state.jobs.removeFirst(batch.count)
                if batch.isEmpty { state.isRunning = false }
                return batch
            }
            if batch.isEmpty { return }
            commit(batch[...], db)
        }
    }

    private func commit(_ jobs: ArraySlice<Job>, _ db: Database) {
        var rest = jobs
        while !rest.isEmpty {
            var done: [Job] = []
            do {
                try db.inTransaction(.immediate) {
                    while let job = rest.first {
                        rest.removeFirst()
                        done.append(job)
                        // A full disk or a failing one ends the whole transaction, with all that went well before.
                        if !job.run(db), !db.isInsideTransaction {
                            throw RegistryError(
                                .storage, "the registry's catalogue could not be written", path: path)
                        }
                    }
                    return .commit
                }
                done.forEach { $0.finish(nil) }
            } catch {
                // BEGIN itself may have failed: then nobody has run, and nobody will.
                if done.isEmpty {
                    done = Array(rest)
                    rest = []
                }
                done.forEach { $0.finish(error) }
            }
        }
    }
}

/// Carries a result from the writer's thread to the end of its commit.
private final class ResultSlot<T: Sendable>: Sendable {
    private let storage = Mutex<Result<T, any Error>?>(nil)

    func set(_ result: Result<T, any Error>) { storage.withLock { $0 = result } }
    func get() -> Result<T, any Error>? { storage.withLock { $0 } }
    var isSuccess: Bool { if case .success = get() { true } else { false } }
}

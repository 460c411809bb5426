import Foundation
import Kernels
import LanguageModels
import Synchronization

/// Runs any number of requests from any tasks on one model, batched continuously (`BatchScheduler`), on a thread of its
/// own: computing blocks neither Swift's cooperative pool nor an event loop.
///
///     let batcher = try Batcher(model: model)
///     for try await event in batcher.submit(request) {
///         if case .token(let id) = event { print(decoder.append(id)) }
///     }
///
/// A request ends early when whoever reads its events stops reading. The thread ends when nobody holds the batcher and
/// its last request is over.
public final class Batcher: Sendable {
    public typealias Events = AsyncThrowingStream<BatchEvent, any Error>

    private let core: Core

    /// - Throws: `ModelError.invalidInput` for limits that let nothing run, or a number format that does not fit.
    public init(model: any LanguageModel, cacheElement: KVElement = .f16, limits: BatchLimits = BatchLimits()) throws {
        let scheduler = try BatchScheduler(model: model, cacheElement: cacheElement, limits: limits)
        let core = Core()
        self.core = core
        nonisolated(unsafe) let owned = scheduler  // handed over: only the thread uses it from here on
        let thread = Thread { core.run(owned) }
        thread.name = "incipit batcher"
        thread.start()
    }

    deinit { core.stop() }

    /// Puts a request at the end of the queue.
    ///
    /// - Returns: its tokens as they are chosen, then how it ended. The stream throws what `BatchScheduler.submit` and
    ///   `step` throw.
    public func submit(_ request: BatchRequest) -> Events {
        let (events, continuation) = Events.makeStream()
        let ticket = core.makeTicket()
        // The stream keeps the batcher: what was submitted comes to its end, whoever lets go of the batcher meanwhile.
        continuation.onTermination = { [self] termination in
            if case .cancelled = termination { core.add(.cancel(ticket)) }
        }
        core.add(.submit(ticket, request, continuation))
        return events
    }

    /// Sequences that run, and requests that wait, at the last step.
    public var load: (running: Int, waiting: Int) { core.load }
}

/// What the thread and the callers share.
private final class Core: Sendable {
    enum Order: Sendable {
        case submit(Int, BatchRequest, Batcher.Events.Continuation)
        case cancel(Int)
    }

    private struct State {
        var orders: [Order] = []
        var nextTicket = 0
        var isStopped = false
        var load = (running: 0, waiting: 0)
    }

    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)

    var load: (running: Int, waiting: Int) { state.withLock { $0.load } }

    func makeTicket() -> Int {
        state.withLock {
            $0.nextTicket += 1
            return $0.nextTicket
        }
    }

    func add(_ order: Order) {
        let isStopped = state.withLock {
            if !$0.isStopped { $0.orders.append(order) }
            return $0.isStopped
        }
        if isStopped {
            if case .submit(_, _, let continuation) = order { continuation.finish(throwing: CancellationError()) }
        } else {
            wake.signal()
        }
    }

    func stop() {
        state.withLock { $0.isStopped = true }
        wake.signal()
    }

    func run(_ scheduler: BatchScheduler) {
        var continuations: [BatchScheduler.ID: Batcher.Events.Continuation] = [:]
        var ids: [Int: BatchScheduler.ID] = [:]
        while true {
            if scheduler.isIdle { wake.wait() }
            let (orders, isStopped) = state.withLock { state in
                defer { state.orders = [] }
                return (state.orders, state.isStopped)
            }
            if isStopped {
                for case .submit(_, _, let continuation) in orders {
                    continuation.finish(throwing: CancellationError())
                }
                break
            }
            for order in orders {
                switch order {
                case .submit(let ticket, let request, let continuation):
                    do {
                        let id = try scheduler.submit(request)
                        continuations[id] = continuation
                        ids[ticket] = id
                    } catch { continuation.finish(throwing: error) }
                case .cancel(let ticket):
                    guard let id = ids.removeValue(forKey: ticket) else { continue }
                    scheduler.cancel(id)
                    continuations[id] = nil
                }
            }
            do {
                for (id, event) in try scheduler.step() {
                    continuations[id]?.yield(event)
                    guard case .finished = event else { continue }
                    continuations.removeValue(forKey: id)?.finish()
                }
            } catch {
                // The sequences of the failed step are gone; those that wait go on.
                for id in continuations.keys where !scheduler.contains(id) {
                    continuations.removeValue(forKey: id)?.finish(throwing: error)
                }
            }
            ids = ids.filter { continuations[$0.value] != nil }
            state.withLock { $0.load = (scheduler.runningCount, scheduler.waitingCount) }
        }
        for continuation in continuations.values { continuation.finish(throwing: CancellationError()) }
        for case .submit(_, _, let continuation) in state.withLock({ $0.orders }) {
            continuation.finish(throwing: CancellationError())
        }
    }
}

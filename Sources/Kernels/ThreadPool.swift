import CKernels
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A fixed team of threads for compute: the caller is thread 0, the others wait between calls.
///
/// A waiting thread spins for about 50 microseconds, then sleeps until the next call, so a pool costs nothing while
/// idle and answers in under a microsecond while hot. Calls from several threads at once take turns. A task must not
/// call the pool it runs on: that is a programming error and traps.
///
/// Not for the cooperative pool of Swift concurrency, nor for event loops: a call blocks.
public final class ThreadPool: @unchecked Sendable {
    // Sound because `job` is written only by the caller that holds `callers`, before `generation` is released, and
    // read by workers only after acquiring it; everything else is atomic or guarded by `mutex`.

    /// Threads that take part in a call, the caller included.
    public let threadCount: Int

    private let team: Team
    private let callers = Mutex(())
    private var threads: [pthread_t] = []

    /// Starts `threadCount - 1` threads; below 1 counts as 1. If the system refuses a thread, the pool is smaller.
    public init(threadCount: Int) {
        let team = Team()
        self.team = team
        let wanted = max(1, threadCount)
        for index in 1..<max(2, wanted) where index < wanted {
            let start = Unmanaged.passRetained(Worker(team: team, index: index))
            #if canImport(Darwin)
                var thread: pthread_t?
            #else
                var thread = pthread_t()
            #endif
            let failure = pthread_create(&thread, nil, { workerMain($0) }, start.toOpaque())
            if failure != 0 {
                start.release()
                break
            }
            #if canImport(Darwin)
                threads.append(thread!)
            #else
                threads.append(thread)
            #endif
        }
        self.threadCount = threads.count + 1
        team.workerCount = threads.count
    }

    deinit {
        team.stop()
        for thread in threads { pthread_join(thread, nil) }
    }

    /// Runs `body` once on every thread, with indices 0 ..< threadCount, and returns when all are done.
    public func run(_ body: (_ threadIndex: Int) -> Void) {
        if threads.isEmpty {
            body(0)
            return
        }
        call(isOptional: false, body)
    }

    /// Runs `body` on the caller and on the other threads: all of them, or those that come before the caller is done.
    private func call(isOptional: Bool, _ body: (Int) -> Void) {
        require(!team.isOwnThread, "a task of a ThreadPool called the pool that it runs on")
        callers.withLock { _ in
            withoutActuallyEscaping(body) { escapable in
                team.start(escapable, isOptional: isOptional)
                team.enter()
                escapable(0)
                team.leave()
                team.finish()
            }
        }
    }

    /// Runs `body` for each task 0 ..< taskCount; threads claim tasks in order. Returns when all are done.
    ///
    /// One task, or one thread, runs inline on the caller without touching the other threads. A thread that the system
    /// keeps from running is not waited for: the others take its tasks.
    public func parallelFor(_ taskCount: Int, _ body: (_ task: Int) -> Void) {
        if taskCount <= 1 || threads.isEmpty {
            var task = 0
            while task < taskCount {
                body(task)
                task += 1
            }
            return
        }
        let next = ClaimCounter()
        call(isOptional: true) { _ in
            while true {
                let task = next.claim()
                if task >= taskCount { break }
                body(task)
            }
        }
    }
}

/// A counter on the heap, claimed by many threads.
private final class ClaimCounter: Sendable {
    private let value = Atomic<Int>(0)
    func claim() -> Int { value.wrappingAdd(1, ordering: .relaxed).oldValue }
}

/// What a worker thread is started with.
private final class Worker {
    let team: Team, index: Int
    init(team: Team, index: Int) {
        self.team = team
        self.index = index
    }
}

private func workerMain(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    let worker = Unmanaged<Worker>.fromOpaque(argument!).takeRetainedValue()
    worker.team.enter()
    worker.team.work(index: worker.index)
    return nil
}

/// The state that the threads share. Owned by the pool and by each worker, so it outlives both.
private final class Team: @unchecked Sendable {  // see ThreadPool
    var workerCount = 0
    private var job: ((Int) -> Void)?

    private let generation = Atomic<Int>(0)  // two higher for each job, odd when the job is optional; -1 stops
    private let running = Atomic<Int>(0)  // workers that the caller has to wait for
    private let isOpen = Atomic<Bool>(false)  // an optional job that workers may still enter
    private let sleepers = Atomic<Int>(0)  // workers that sleep or are about to
    private let callerSleeps = Atomic<Bool>(false)
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let done = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let member = UnsafeMutablePointer<pthread_key_t>.allocate(capacity: 1)

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wake, nil)
        pthread_cond_init(done, nil)
        require(pthread_key_create(member, nil) == 0, "no thread-specific key left for a ThreadPool")
    }

    deinit {
        pthread_key_delete(member.pointee)
        pthread_cond_destroy(done)
        pthread_cond_destroy(wake)
        pthread_mutex_destroy(mutex)
        member.deallocate()
        done.deallocate()
        wake.deallocate()
        mutex.deallocate()
    }

    // MARK: Membership

    var isOwnThread: Bool { pthread_getspecific(member.pointee) != nil }
    func enter() { pthread_setspecific(member.pointee, UnsafeRawPointer(member)) }
    func leave() { pthread_setspecific(member.pointee, nil) }

    // MARK: The caller's side

    func start(_ body: @escaping (Int) -> Void, isOptional: Bool) {
        job = body
        // Added, not stored: a late worker of the last job may be about to notice that it is closed.
        if isOptional {
            isOpen.store(true, ordering: .sequentiallyConsistent)
        } else {
            running.wrappingAdd(workerCount, ordering: .sequentiallyConsistent)
        }
        let next = (generation.load(ordering: .relaxed) | 1) + (isOptional ? 2 : 1)
        generation.store(next, ordering: .sequentiallyConsistent)
        wakeSleepers()
    }

    func finish() {
        // A worker first adds itself to `running`, then looks at `isOpen`: it sees the closing, or is seen here.
        isOpen.store(false, ordering: .sequentiallyConsistent)
        if !spin(until: { running.load(ordering: .sequentiallyConsistent) == 0 }) {
            pthread_mutex_lock(mutex)
            callerSleeps.store(true, ordering: .sequentiallyConsistent)
            while running.load(ordering: .sequentiallyConsistent) != 0 { pthread_cond_wait(done, mutex) }
            callerSleeps.store(false, ordering: .relaxed)
            pthread_mutex_unlock(mutex)
        }
        job = nil
    }

    func stop() {
        generation.store(-1, ordering: .sequentiallyConsistent)
        wakeSleepers()
    }

    private func wakeSleepers() {
        // Either this load sees the sleeper, or the sleeper's check of `generation` sees the new job.
        if sleepers.load(ordering: .sequentiallyConsistent) > 0 {
            pthread_mutex_lock(mutex)
            pthread_cond_broadcast(wake)
            pthread_mutex_unlock(mutex)
        }
    }

    // MARK: The worker's side

    func work(index: Int) {
        var seen = 0
        while true {
            if !spin(until: { generation.load(ordering: .acquiring) != seen }) {
                pthread_mutex_lock(mutex)
                sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
                while generation.load(ordering: .sequentiallyConsistent) == seen { pthread_cond_wait(wake, mutex) }
                sleepers.wrappingSubtract(1, ordering: .relaxed)
                pthread_mutex_unlock(mutex)
            }
            let now = generation.load(ordering: .acquiring)
            if now < 0 { return }
            seen = now
            if now & 1 == 0 {
                runJob(index)
            } else {
                running.wrappingAdd(1, ordering: .sequentiallyConsistent)
                // Possibly a later job than the one that was noticed; then it is entered twice, which does no harm.
                if isOpen.load(ordering: .sequentiallyConsistent) { runJob(index) }
            }
            if running.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue == 0,
                callerSleeps.load(ordering: .sequentiallyConsistent)
            {
                pthread_mutex_lock(mutex)
                pthread_cond_signal(done)
                pthread_mutex_unlock(mutex)
            }
        }
    }

    /// A call of its own, so that no reference to the closure outlives it.
    @inline(never)
    private func runJob(_ index: Int) { job!(index) }

    /// True once the condition holds; false when it did not within about 50 microseconds.
    private func spin(until condition: () -> Bool) -> Bool {
        for _ in 0..<64 {
            if condition() { return true }
            ck_pause()
        }
        var start = timespec()
        clock_gettime(CLOCK_MONOTONIC, &start)
        while true {
            for _ in 0..<32 {
                if condition() { return true }
                ck_pause()
            }
            var now = timespec()
            clock_gettime(CLOCK_MONOTONIC, &now)
            if (now.tv_sec - start.tv_sec) * 1_000_000_000 + (now.tv_nsec - start.tv_nsec) > 50_000 { return false }
        }
    }
}

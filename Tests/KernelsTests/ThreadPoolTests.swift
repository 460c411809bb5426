import Synchronization
import Testing

@testable import Kernels

@Suite struct ThreadPoolTests {
    @Test("Ten thousand runs reach every thread exactly once", arguments: [1, 2, 3, 8])
    func manyRuns(threadCount: Int) {
        let pool = ThreadPool(threadCount: threadCount)
        #expect(pool.threadCount == threadCount)
        let counts = (0..<threadCount).map { _ in Counter() }
        for _ in 0..<10_000 { pool.run { counts[$0].value.wrappingAdd(1, ordering: .relaxed) } }
        for count in counts { #expect(count.value.load(ordering: .relaxed) == 10_000) }
    }

    @Test("Each task of parallelFor runs exactly once", arguments: [1, 2, 5])
    func tasks(threadCount: Int) {
        let pool = ThreadPool(threadCount: threadCount)
        for taskCount in [0, 1, 2, 3, 100, 1001] {
            let counts = (0..<taskCount).map { _ in Counter() }
            for _ in 0..<20 { pool.parallelFor(taskCount) { counts[$0].value.wrappingAdd(1, ordering: .relaxed) } }
            for count in counts { #expect(count.value.load(ordering: .relaxed) == 20) }
        }
    }

    @Test("Writes of the tasks are visible to the caller")
    func visibility() {
        let pool = ThreadPool(threadCount: 2)
        nonisolated(unsafe) let values = UnsafeMutablePointer<Int>.allocate(capacity: 1000)
        defer { values.deallocate() }
        for round in 0..<500 {
            pool.parallelFor(1000) { values[$0] = $0 + round }
            let wrong = (0..<1000).filter { values[$0] != $0 + round }
            #expect(wrong.isEmpty)
        }
    }

    @Test("A pool that slept wakes up")
    func sleep() async throws {
        let pool = ThreadPool(threadCount: 3)
        let count = Counter()
        for _ in 0..<20 {
            try await Task.sleep(for: .milliseconds(2))
            pool.run { _ in count.value.wrappingAdd(1, ordering: .relaxed) }
        }
        #expect(count.value.load(ordering: .relaxed) == 60)
    }

    @Test("Calls from several threads take turns")
    func concurrentCallers() async {
        let pool = ThreadPool(threadCount: 2), count = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<500 { pool.run { _ in count.value.wrappingAdd(1, ordering: .relaxed) } }
                }
            }
        }
        #expect(count.value.load(ordering: .relaxed) == 4 * 500 * 2)
    }

    @Test("A task may use another pool")
    func twoPools() {
        let outer = ThreadPool(threadCount: 2), inner = ThreadPool(threadCount: 2), count = Counter()
        outer.run { _ in inner.run { _ in count.value.wrappingAdd(1, ordering: .relaxed) } }
        #expect(count.value.load(ordering: .relaxed) == 4)
    }

    @Test("Pools come and go without leaking threads or hanging")
    func lifetime() {
        for i in 0..<200 {
            let pool = ThreadPool(threadCount: 1 + i % 4)
            if i % 3 == 0 { pool.run { _ in } }
        }
    }

    @Test("A call from inside a task on the same pool traps")
    func nestedCall() async {
        await #expect(processExitsWith: .failure) {
            let pool = ThreadPool(threadCount: 2)
            pool.run { _ in pool.run { _ in } }
        }
    }

    @Test("Usable cores are between one and the machine's")
    func topology() {
        #expect(CPUTopology.usableCoreCount >= 1)
        #expect(CPUTopology.version2Quota(text: "max 100000\n") == nil)
        #expect(CPUTopology.version2Quota(text: "150000 100000\n") == 1.5)
        #expect(CPUTopology.version2Quota(text: "-1 100000\n") == nil)
        #expect(CPUTopology.version2Quota(text: "nonsense") == nil)
    }
}

private final class Counter: Sendable {
    let value = Atomic<Int>(0)
}

// Moves the wall clock of a process by as many seconds as stand, as 64 bits, in the file CLOCK_SHIFT_FILE: for tests, by
// LD_PRELOAD. The file is mapped, so that a change counts at once; clocks that only run forward stay as they are.
//
// Embedded Swift, so that the library brings no second runtime into the program. faketime would do more, but it also moves
// the clock of the boot time, on which timers run, which no change of the wall clock does.

@_extern(c) func getenv(_ name: UnsafePointer<UInt8>) -> UnsafePointer<UInt8>?
@_extern(c) func syscall(_ number: Int, _ a: Int, _ b: Int, _ c: Int, _ d: Int, _ e: Int, _ f: Int) -> Int

/// Numbers of Linux on x86-64.
enum Call {
    static let open = 2
    static let close = 3
    static let mmap = 9
    static let clockGetTime = 228
}

nonisolated(unsafe) var isReady = false
nonisolated(unsafe) var place: UnsafePointer<Int>?

/// Finds the file the first time; two threads that come at once both map it, which harms nobody.
func shift() -> Int {
    if !isReady {
        let name: StaticString = "CLOCK_SHIFT_FILE"
        if let path = getenv(name.utf8Start) {
            let readOnlyCloseOnExec = 0o2000000
            let file = syscall(Call.open, Int(bitPattern: path), readOnlyCloseOnExec, 0, 0, 0, 0)
            if file >= 0 {
                let (readable, shared) = (1, 1)
                let address = syscall(Call.mmap, 0, 8, readable, shared, file, 0)
                if address > 0 { place = UnsafePointer(bitPattern: address) }
                _ = syscall(Call.close, file, 0, 0, 0, 0, 0)
            }
        }
        isReady = true
    }
    return place?.pointee ?? 0
}

@_cdecl("clock_gettime")
public func clockGetTime(_ clock: Int32, _ now: UnsafeMutablePointer<Int>) -> Int32 {
    let result = syscall(Call.clockGetTime, Int(clock), Int(bitPattern: now), 0, 0, 0, 0)
    let (realTime, coarseRealTime): (Int32, Int32) = (0, 5)
    if result == 0, clock == realTime || clock == coarseRealTime { now[0] &+= shift() }
    return Int32(truncatingIfNeeded: result)
}

@_cdecl("gettimeofday")
public func getTimeOfDay(_ now: UnsafeMutablePointer<Int>?, _ zone: UnsafeMutableRawPointer?) -> Int32 {
    var time = (0, 0)
    let result = withUnsafeMutablePointer(to: &time) {
        $0.withMemoryRebound(to: Int.self, capacity: 2) { clockGetTime(0, $0) }
    }
    now?[0] = time.0
    now?[1] = time.1 / 1000
    return result
}

@_cdecl("time")
public func time(_ place: UnsafeMutablePointer<Int>?) -> Int {
    var now = (0, 0)
    _ = withUnsafeMutablePointer(to: &now) {
        $0.withMemoryRebound(to: Int.self, capacity: 2) { clockGetTime(0, $0) }
    }
    place?.pointee = now.0
    return now.0
}

import FuzzHarness
import Foundation

/// What libFuzzer calls with every input. `INCIPIT_FUZZ_TARGET` says which target takes it; `run.sh` sets it.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    chosen.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

private let chosen: FuzzTarget = {
    let name = ProcessInfo.processInfo.environment["INCIPIT_FUZZ_TARGET"] ?? ""
    guard let target = FuzzTarget.all.first(where: { $0.name == name }) else {
        let known = FuzzTarget.all.map(\.name).joined(separator: ", ")
        FileHandle.standardError.write(Data("INCIPIT_FUZZ_TARGET names no target; there are: \(known)\n".utf8))
        exit(64)
    }
    return target
}()

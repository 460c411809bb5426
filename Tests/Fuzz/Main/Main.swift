import FuzzHarness
import Foundation

/// SwiftPM gives an executable's entry this name instead of `main`; libFuzzer's own `main` is left out for it.
@_cdecl("incipit_fuzz_main")
public func fuzzMain(
    _ argumentCount: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> CInt {
    _ = chosen  // a wrong name is told before the first input
    var count = argumentCount
    var arguments = arguments
    return runDriver(&count, &arguments) { bytes, count in
        chosen.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
        return 0
    }
}

/// libFuzzer's entry for programs that have a `main` of their own (compiler-rt, `FuzzerInterface.h`).
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ argumentCount: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ input: @convention(c) (_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt
) -> CInt

/// The target that takes every input: `INCIPIT_FUZZ_TARGET`, which `run.sh` sets.
private let chosen: FuzzTarget = {
    let name = ProcessInfo.processInfo.environment["INCIPIT_FUZZ_TARGET"] ?? ""
    guard let target = FuzzTarget.all.first(where: { $0.name == name }) else {
        let known = FuzzTarget.all.map(\.name).joined(separator: ", ")
        FileHandle.standardError.write(Data("INCIPIT_FUZZ_TARGET names no target; there are: \(known)\n".utf8))
        exit(64)
    }
    return target
}()

import ByteIO
import Foundation

/// Shows how far the writing of files has come, and stops it on Ctrl-C without leaving anything behind.
struct FileProgress {
    let total: Int

    /// Runs `work` with a function to ask whether to go on, given the bytes written so far.
    @discardableResult
    func run<R>(_ work: (@escaping (Int) -> Bool) throws -> R) throws -> R {
        Interrupt.listen()
        let line = ProgressLine()
        let start = ContinuousClock.now
        defer { line.finish() }
        do {
            return try work { written in
                line.update(text(written, after: ContinuousClock.now - start))
                return !Interrupt.isRequested
            }
        } catch let error as ByteIOError where error.code == .cancelled {
            throw CommandFailure(.interrupted, "stopped; nothing was written")
        }
    }

    private func text(_ written: Int, after time: Duration) -> String {
        let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) * 1e-18
        let fraction = total > 0 ? Double(written) / Double(total) : 1
        let rate = seconds > 0 ? Double(written) / seconds : 0
        let left = rate > 0 ? Output.duration(Double(total - written) / rate) : "–"
        return "\(ProgressLine.bar(fraction)) \(Output.bytes(written)) of \(Output.bytes(total))  "
            + "\(Output.bytes(Int(rate)))/s  \(left) left"
    }
}

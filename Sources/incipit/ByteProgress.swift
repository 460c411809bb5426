import Foundation

/// Progress through bytes: fraction, speed, time left; and the place where Ctrl-C ends the work.
final class ByteProgress {
    private let line = ProgressLine()
    private let start = ContinuousClock.now
    private let verb: String

    /// - Parameter verb: what is being done: "quantizing".
    init(_ verb: String) { self.verb = verb }

    /// - Throws: ``CommandFailure`` of status `interrupted` after Ctrl-C or SIGTERM.
    func update(_ done: Int, of total: Int, _ what: String = "") throws {
        try checkInterrupt()
        line.update(text(done, total, what))
    }

    /// The same for work that is counted in steps.
    func count(_ done: Int, of total: Int, _ what: String = "") throws {
        try checkInterrupt()
        line.update(stepText(done, total, what))
    }

    private func stepText(_ done: Int, _ total: Int, _ what: String) -> String {
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let left = done > 0 ? seconds / Double(done) * Double(total - done) : .infinity
        let bar = ProgressLine.bar(total > 0 ? Double(done) / Double(total) : 1)
        return "\(verb) \(bar) \(done) of \(total)  \(Output.duration(left)) left  \(what)"
    }

    private func checkInterrupt() throws {
        guard Interrupt.isRequested else { return }
        line.finish()
        throw CommandFailure(.interrupted, "interrupted; nothing was written")
    }

    private func text(_ done: Int, _ total: Int, _ what: String) -> String {
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let fraction = total > 0 ? Double(done) / Double(total) : 1
        let speed = seconds > 0 ? Double(done) / seconds : 0
        let left = speed > 0 ? Double(total - done) / speed : .infinity
        return "\(verb) \(ProgressLine.bar(fraction)) \(Output.percent(fraction))  \(Output.bytes(Int(speed)))/s  "
            + "\(Output.duration(left)) left  \(what)"
    }

    /// Ends the line; gives the seconds since the start.
    @discardableResult
    func finish() -> Double {
        line.finish()
        return (ContinuousClock.now - start) / .seconds(1)
    }
}

import ByteIO
import Foundation

/// Progress through bytes or steps: fraction, speed, time left; and the place where Ctrl-C ends the work. May be told
/// from several threads.
final class ByteProgress: @unchecked Sendable {
    // Sound: the line is drawn with the lock held.
    private let lock = NSLock()
    private let line = ProgressLine()
    private let start = ContinuousClock.now
    private let verb: String

    /// - Parameter verb: what is being done: "quantizing".
    init(_ verb: String) { self.verb = verb }

    /// Draws the line for so many bytes.
    /// - Throws: ``CommandFailure`` of status `interrupted` after Ctrl-C or SIGTERM.
    func update(_ done: Int, of total: Int, _ what: String = "") throws {
        try checkInterrupt()
        draw(bytes(done, total, what))
    }

    /// The same for work that is counted in steps.
    func count(_ done: Int, of total: Int, _ what: String = "") throws {
        try checkInterrupt()
        draw("\(bar(done, total)) \(done) of \(total)  \(left(done, total)) left  \(what)")
    }

    /// Draws the line for so many bytes; false after Ctrl-C or SIGTERM, for work that asks whether to go on.
    func continues(_ done: Int, of total: Int) -> Bool {
        draw(bytes(done, total, ""))
        return !Interrupt.isRequested
    }

    /// Ends the line; gives the seconds since the start.
    @discardableResult
    func finish() -> Double {
        lock.withLock { line.finish() }
        return seconds
    }

    /// Runs the writing of files with a function to ask whether to go on, given the bytes written so far; Ctrl-C stops it
    /// and leaves nothing behind.
    @discardableResult
    static func writing<R>(total: Int, _ work: (@escaping (Int) -> Bool) throws -> R) throws -> R {
        Interrupt.listen()
        let progress = ByteProgress("writing")
        defer { progress.finish() }
        do {
            return try work { progress.continues($0, of: total) }
        } catch let error as ByteIOError where error.code == .cancelled {
            throw CommandFailure(.interrupted, "stopped; nothing was written")
        }
    }

    // MARK: - The line

    private var seconds: Double { (ContinuousClock.now - start) / .seconds(1) }

    private func draw(_ text: String) { lock.withLock { line.update(text) } }

    private func checkInterrupt() throws {
        guard Interrupt.isRequested else { return }
        finish()
        throw CommandFailure(.interrupted, "interrupted; nothing was written")
    }

    private func bar(_ done: Int, _ total: Int) -> String {
        "\(verb) \(ProgressLine.bar(total > 0 ? Double(done) / Double(total) : 1))"
    }

    private func left(_ done: Int, _ total: Int) -> String {
        Output.duration(done > 0 ? seconds / Double(done) * Double(total - done) : .infinity)
    }

    private func bytes(_ done: Int, _ total: Int, _ what: String) -> String {
        let speed = seconds > 0 ? Int(Double(done) / seconds) : 0
        return "\(bar(done, total)) \(Output.bytes(done)) of \(Output.bytes(total))  \(Output.bytes(speed))/s  "
            + "\(left(done, total)) left  \(what)"
    }
}

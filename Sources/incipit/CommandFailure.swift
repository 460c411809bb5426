import Foundation

/// Exit codes, after sysexits(3) where it has a word for it. Documented in `incipit help` and README.
enum ExitStatus: Int32 {
    case success = 0
    /// The work could not be done for a reason no other code names.
    case failure = 1
    /// The command line makes no sense. (ArgumentParser itself exits with 64 too.)
    case usage = 64
    /// A file's content is damaged or of another kind.
    case data = 65
    /// A file, prompt or data set is not there.
    case notFound = 66
    /// A service or folder cannot be reached or written.
    case unavailable = 69
    /// The prompt belongs to another base model.
    case wrongBase = 70
    /// Stopped by Ctrl-C or SIGTERM; what was done so far is kept.
    case interrupted = 130
}

/// A failure a command reports itself: one sentence, one exit code.
struct CommandFailure: Error, CustomStringConvertible {
    let status: ExitStatus
    let message: String

    init(_ status: ExitStatus, _ message: String) {
        self.status = status
        self.message = message
    }

    var description: String { message }
}

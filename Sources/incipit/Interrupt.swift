import Foundation
import Synchronization

/// Turns Ctrl-C and SIGTERM into a flag that long work asks between steps, so that it can save itself.
///
/// The second signal ends the process at once, as users expect.
enum Interrupt {
    private static let flag = Atomic<Bool>(false)

    /// Starts listening; before that, signals end the process as usual.
    static func listen() {
        for number in [SIGINT, SIGTERM] {
            signal(number) { received in
                // Only async-signal-safe calls here: an atomic store, and signal(2) itself.
                Interrupt.flag.store(true, ordering: .relaxed)
                signal(received, SIG_DFL)
            }
        }
    }

    /// Turns Ctrl-C into the flag for as long as an answer is written, however often it is pressed; SIGTERM ends the
    /// process as usual.
    static func listenForReply() {
        flag.store(false, ordering: .relaxed)
        signal(SIGINT) { _ in Interrupt.flag.store(true, ordering: .relaxed) }
    }

    /// Ends what `listenForReply` began.
    static func endReply() {
        signal(SIGINT, SIG_DFL)
        flag.store(false, ordering: .relaxed)
    }

    static var isRequested: Bool { flag.load(ordering: .relaxed) }
}

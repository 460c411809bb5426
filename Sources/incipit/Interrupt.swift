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

    static var isRequested: Bool { flag.load(ordering: .relaxed) }
}

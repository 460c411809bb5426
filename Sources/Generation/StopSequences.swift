/// Watches streamed text for stop strings, across the borders of the pieces it comes in.
///
/// Text that may be the beginning of a stop string is held back until it is clear. The stop string that is complete first
/// counts (of several, the one that began first), however the text was cut into pieces; it and what follows is dropped.
///
///     var stops = StopSequences(["\nUser:"])
///     let (text, stopped) = stops.append(piece)
///     print(text); if stopped { … }
///     print(stops.finish())
public struct StopSequences: Sendable {
    private let stops: [[UInt8]]
    private var pending: [UInt8] = []
    /// The stop string that ended the text, if any.
    public private(set) var matched: String?

    /// - Parameter stops: empty strings are left out, they would stop everything.
    public init(_ stops: [String]) {
        self.stops = stops.filter { !$0.isEmpty }.map { Array($0.utf8) }
    }

    /// The text that is now certain, and whether a stop string ended it. After a stop nothing more comes out.
    public mutating func append(_ piece: String) -> (text: String, stopped: Bool) {
        guard matched == nil else { return ("", true) }
        guard !stops.isEmpty else { return (piece, false) }
        let old = pending.count
        pending.append(contentsOf: piece.utf8)
        for end in old..<pending.count {
            var longest: [UInt8]?
            for stop in stops where pending[...end].hasSuffix(stop) && stop.count > longest?.count ?? 0 {
                longest = stop
            }
            guard let longest else { continue }
            matched = String(decoding: longest, as: UTF8.self)
            let text = String(decoding: pending[..<(end + 1 - longest.count)], as: UTF8.self)
            pending = []
            return (text, true)
        }
        let certain = pending.count - heldBack()
        let text = String(decoding: pending[..<certain], as: UTF8.self)
        pending.removeFirst(certain)
        return (text, false)
    }

    /// What was held back, at the end of the text.
    public mutating func finish() -> String {
        defer { pending = [] }
        return String(decoding: pending, as: UTF8.self)
    }

    /// The length of the longest suffix that begins a stop string.
    private func heldBack() -> Int {
        let longest = (stops.map(\.count).max() ?? 1) - 1
        for length in stride(from: min(longest, pending.count), to: 0, by: -1) {
            let suffix = pending.suffix(length)
            if stops.contains(where: { $0.count > length && $0.starts(with: suffix) }) { return length }
        }
        return 0
    }
}

extension ArraySlice<UInt8> {
    fileprivate func hasSuffix(_ other: [UInt8]) -> Bool {
        count >= other.count && suffix(other.count).elementsEqual(other)
    }
}

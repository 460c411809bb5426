/// One expression of a pre-tokenizer's list: cuts text into its matches and the gaps between them.
///
/// The published expressions are written out by hand over Unicode scalars; each scanner quotes the one it stands for. All
/// take time linear in the text.
struct PieceScanner: Sendable {
    /// Receives the byte range of a piece: never empty, in order, without gaps.
    typealias Emit = (_ start: Int, _ end: Int) -> Void

    let cut: @Sendable (_ text: ScalarText, _ from: Int, _ limit: Int, _ emit: Emit) -> Void

    /// A scanner for an expression that matches at every position: returns the end of the match.
    @inline(__always)
    static func covering(_ match: @escaping @Sendable (ScalarText, Int, Int) -> Int) -> PieceScanner {
        PieceScanner { text, from, limit, emit in
            var position = from
            while position < limit {
                let end = match(text, position, limit)
                // Every alternative takes at least one scalar; this keeps a mistake of ours from becoming a hang.
                let next = end > position ? end : text.scalarClass(at: position, limit: limit).next
                emit(position, next)
                position = next
            }
        }
    }

    /// A scanner for an expression that may match nowhere: returns the end of the match at a position, or `nil`.
    @inline(__always)
    static func searching(_ match: @escaping @Sendable (ScalarText, Int, Int) -> Int?) -> PieceScanner {
        PieceScanner { text, from, limit, emit in
            var position = from
            var gap = from
            while position < limit {
                guard let end = match(text, position, limit), end > position else {
                    position = text.scalar(at: position, limit: limit).next
                    continue
                }
                if position > gap { emit(gap, position) }
                emit(position, end)
                position = end
                gap = end
            }
            if limit > gap { emit(gap, limit) }
        }
    }

    /// `[class]{1,maximum}`
    static func runs(of classes: ScalarClass, atMost maximum: Int = .max) -> PieceScanner {
        searching { text, start, limit in text.end(ofRunOf: classes, from: start, limit: limit, atMost: maximum) }
    }

    /// `\s?[class]+`
    static func blankThenRun(of classes: ScalarClass) -> PieceScanner {
        searching { text, start, limit in
            let (found, next) = text.scalarClass(at: start, limit: limit)
            if found.meets(classes) { return text.end(ofRunOf: classes, from: next, limit: limit) }
            guard found.meets(.space) else { return nil }
            let end = text.end(ofRunOf: classes, from: next, limit: limit)
            return end > next ? end : nil
        }
    }

    /// `[ranges]+`, with `afterBlank` `\s?[ranges]+`.
    static func runs(of ranges: ScalarRanges, afterBlank: Bool = false) -> PieceScanner {
        searching { text, start, limit in
            let (value, next) = text.scalar(at: start, limit: limit)
            if ranges.contains(value) { return ranges.end(ofRunIn: text, from: next, limit: limit) }
            guard afterBlank, text.scalarClass(at: start, limit: limit).found.meets(.space) else { return nil }
            let end = ranges.end(ofRunIn: text, from: next, limit: limit)
            return end > next ? end : nil
        }
    }
}

/// A class given by code points, written as in an expression's brackets: `a-zµ`.
struct ScalarRanges: Sendable {
    private let ranges: [ClosedRange<UInt32>]

    /// - Parameter text: scalars and, with `-` between two of them, ranges; sorted or not.
    init(_ text: String) {
        var ranges: [ClosedRange<UInt32>] = []
        var isOpen = false
        for scalar in text.unicodeScalars {
            if isOpen, let last = ranges.popLast() {
                ranges.append(last.lowerBound...max(last.lowerBound, scalar.value))
                isOpen = false
            } else if scalar == "-", !ranges.isEmpty {
                isOpen = true
            } else {
                ranges.append(scalar.value...scalar.value)
            }
        }
        self.ranges = ranges.sorted { $0.lowerBound < $1.lowerBound }
    }

    init(_ ranges: [ClosedRange<UInt32>]) { self.ranges = ranges.sorted { $0.lowerBound < $1.lowerBound } }

    func contains(_ value: UInt32) -> Bool {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < value { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].lowerBound <= value
    }

    /// The end of the run, from `position`, of scalars in the ranges.
    func end(ofRunIn text: ScalarText, from position: Int, limit: Int) -> Int {
        var end = position
        while end < limit {
            let (value, next) = text.scalar(at: end, limit: limit)
            if !contains(value) { break }
            end = next
        }
        text.note(walkedFrom: position, to: end)
        return end
    }
}

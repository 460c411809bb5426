/// Text as templates handle it: a sequence of Unicode scalars, each of which remembers whether it came in from outside.
///
/// Templates count, cut and compare text by scalars, as Python does, not by grapheme clusters. The mark of origin goes
/// with every scalar through slicing, replacing, joining and JSON, so that it is known of each character of a rendered
/// conversation whether the template wrote it or a user. Comparing ignores the mark.
///
/// Layout of an element: bits 0–20 scalar value, bit 31 set when the scalar came in from outside.
public struct TemplateText: Sendable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
    var scalars: [UInt32]
    /// Whether this is the result of the filters `safe` or `escape`: adding other text to it escapes that text.
    var isMarkup = false

    static let inputMark: UInt32 = 1 << 31
    static let valueMask: UInt32 = 0x1F_FFFF

    init(scalars: [UInt32]) { self.scalars = scalars }
    init(_ slice: ArraySlice<UInt32>) { scalars = Array(slice) }

    /// Text out of a string.
    ///
    /// - Parameters:
    ///   - string: any text.
    ///   - isInput: whether it came in from outside, so that no control token may begin, lie or end in it.
    public init(_ string: String, isInput: Bool = false) {
        let mark = isInput ? TemplateText.inputMark : 0
        scalars = string.unicodeScalars.map { $0.value | mark }
    }

    public init(stringLiteral value: String) { self.init(value) }

    /// The text as a string, without marks. A lone surrogate becomes U+FFFD.
    public var string: String {
        var view = String.UnicodeScalarView()
        for scalar in scalars { view.append(TemplateText.scalar(scalar)) }
        return String(view)
    }

    public var description: String { string }
    public var count: Int { scalars.count }
    var isEmpty: Bool { scalars.isEmpty }

    /// The value of the element at `index`, without its mark.
    subscript(index: Int) -> UInt32 { scalars[index] & TemplateText.valueMask }

    static func scalar(_ element: UInt32) -> Unicode.Scalar {
        Unicode.Scalar(element & valueMask) ?? "\u{FFFD}"
    }

    public static func == (a: TemplateText, b: TemplateText) -> Bool {
        guard a.scalars.count == b.scalars.count else { return false }
        for index in a.scalars.indices where (a.scalars[index] ^ b.scalars[index]) & valueMask != 0 { return false }
        return true
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(scalars.count)
        for scalar in scalars { hasher.combine(scalar & TemplateText.valueMask) }
    }

    /// Order by scalar values.
    static func precedes(_ a: TemplateText, _ b: TemplateText) -> Bool {
        for index in 0..<min(a.count, b.count) where a[index] != b[index] { return a[index] < b[index] }
        return a.count < b.count
    }

    /// The same text, marked as having come in from outside.
    func markedAsInput() -> TemplateText {
        var marked = self
        for index in marked.scalars.indices { marked.scalars[index] |= TemplateText.inputMark }
        return marked
    }

    mutating func append(_ other: TemplateText) { scalars.append(contentsOf: other.scalars) }
    mutating func append(_ string: String) { for scalar in string.unicodeScalars { scalars.append(scalar.value) } }
}

// MARK: - Searching and cutting

extension TemplateText {
    /// Where `needle` begins in `from..<to`, first or last; `nil` when nowhere. Empty text is found at once. The cost
    /// is linear in both lengths (Knuth, Morris and Pratt).
    func range(of needle: TemplateText, from: Int = 0, to: Int? = nil, last: Bool = false) -> Int? {
        let end = to ?? count
        guard from <= end - needle.count else { return nil }
        if needle.isEmpty { return last ? end : from }
        if last {
            let found = slice(from, end).reversed().range(of: needle.reversed())
            return found.map { end - $0 - needle.count }
        }
        if needle.count == 1 {
            let scalar = needle[0]
            return (from..<end).first { self[$0] == scalar }
        }
        let borders = needle.borders()
        var matched = 0
        for index in from..<end {
            let scalar = self[index]
            while matched > 0 && needle[matched] != scalar { matched = borders[matched - 1] }
            if needle[matched] == scalar { matched += 1 }
            if matched == needle.count { return index + 1 - matched }
        }
        return nil
    }

    /// For each prefix, the length of the longest proper prefix of it that is also its suffix.
    private func borders() -> [Int] {
        var borders = [Int](repeating: 0, count: count)
        var length = 0
        for index in 1..<count {
            while length > 0 && self[index] != self[length] { length = borders[length - 1] }
            if self[index] == self[length] { length += 1 }
            borders[index] = length
        }
        return borders
    }

    func reversed() -> TemplateText {
        var text = TemplateText(scalars: scalars.reversed())
        text.isMarkup = isMarkup
        return text
    }

    func matches(_ needle: TemplateText, at start: Int) -> Bool {
        guard start >= 0, start <= count - needle.count else { return false }
        for offset in 0..<needle.count where self[start + offset] != needle[offset] { return false }
        return true
    }

    func slice(_ from: Int, _ to: Int) -> TemplateText {
        var text = TemplateText(scalars[from..<to])
        text.isMarkup = isMarkup
        return text
    }

    /// The text without leading and trailing scalars that `strips` accepts.
    func stripped(left: Bool = true, right: Bool = true, where strips: (UInt32) -> Bool) -> TemplateText {
        var from = 0
        var to = count
        if left { while from < to && strips(self[from]) { from += 1 } }
        if right { while to > from && strips(self[to - 1]) { to -= 1 } }
        return slice(from, to)
    }

    /// White space as Python's `str.isspace` has it.
    static func isSpace(_ scalar: UInt32) -> Bool {
        switch scalar {
        case 9...13, 28...32, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
        default: false
        }
    }

    /// The parts between white space, at most `limit` cuts; a negative `limit` cuts everywhere.
    func words(limit: Int, fromEnd: Bool = false) -> [TemplateText] {
        var parts: [TemplateText] = []
        if fromEnd {
            var to = count
            while true {
                while to > 0 && TemplateText.isSpace(self[to - 1]) { to -= 1 }
                if to == 0 { break }
                if limit >= 0 && parts.count == limit {
                    parts.append(slice(0, to))
                    break
                }
                var from = to
                while from > 0 && !TemplateText.isSpace(self[from - 1]) { from -= 1 }
                parts.append(slice(from, to))
                to = from
            }
            return parts.reversed()
        }
        var from = 0
        while true {
            while from < count && TemplateText.isSpace(self[from]) { from += 1 }
            if from == count { break }
            if limit >= 0 && parts.count == limit {
                parts.append(slice(from, count))
                break
            }
            var to = from
            while to < count && !TemplateText.isSpace(self[to]) { to += 1 }
            parts.append(slice(from, to))
            from = to
        }
        return parts
    }

    /// The parts between occurrences of `separator`, which is not empty; a negative `limit` cuts everywhere.
    func split(by separator: TemplateText, limit: Int, fromEnd: Bool = false) -> [TemplateText] {
        var parts: [TemplateText] = []
        if fromEnd {
            return reversed().split(by: separator.reversed(), limit: limit).reversed().map { $0.reversed() }
        }
        var from = 0
        while limit < 0 || parts.count < limit, let found = range(of: separator, from: from) {
            parts.append(slice(from, found))
            from = found + separator.count
        }
        parts.append(slice(from, count))
        return parts
    }

    /// The lines, without their ends unless asked for.
    func lines(keepingEnds: Bool = false) -> [TemplateText] {
        var parts: [TemplateText] = []
        var from = 0
        var index = 0
        while index < count {
            let scalar = self[index]
            index += 1
            switch scalar {
            case 10...13, 0x1C...0x1E, 0x85, 0x2028, 0x2029:
                let to = index - 1
                if scalar == 13 && index < count && self[index] == 10 { index += 1 }
                parts.append(slice(from, keepingEnds ? index : to))
                from = index
            default: break
            }
        }
        if from < count { parts.append(slice(from, count)) }
        return parts
    }

    /// How often `needle` occurs without overlap.
    func occurrences(of needle: TemplateText, from: Int = 0, to: Int? = nil) -> Int {
        let to = to ?? count
        guard from <= to else { return 0 }
        if needle.isEmpty { return to - from + 1 }
        var found = 0
        var from = from
        while let next = range(of: needle, from: from, to: to) {
            found += 1
            from = next + needle.count
        }
        return found
    }
}

/// UTF-8 bytes lent by a `String`, read scalar by scalar, with the class of each.
///
/// The only file of the pre-tokenizers that touches memory. Positions are byte offsets at scalar borders; `limit` is
/// where the piece at hand ends, and nothing at or behind it is read: to a scanner the piece is the whole text.
struct ScalarText {
    let bytes: UnsafeBufferPointer<UInt8>
    private let classes = ScalarClasses.shared
    /// Counts the scalars that runs walk over, where somebody asks (tests that scanning is linear).
    private let walked: UnsafeMutablePointer<Int>?

    init(_ bytes: UnsafeBufferPointer<UInt8>, walked: UnsafeMutablePointer<Int>? = nil) {
        self.bytes = bytes
        self.walked = walked
    }

    /// The scalar at `position`, which is below `limit`, and the position behind it.
    ///
    /// Ill-formed bytes (a `String` has none) read as U+FFFD of one byte, so that every walk moves forward.
    @inline(__always)
    func scalar(at position: Int, limit: Int) -> (value: UInt32, next: Int) {
        let first = bytes[position]
        if first < 0x80 { return (UInt32(first), position + 1) }
        return wideScalar(first, at: position, limit: limit)
    }

    private func wideScalar(_ first: UInt8, at position: Int, limit: Int) -> (value: UInt32, next: Int) {
        let length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1
        guard length > 1, position + length <= limit else { return (0xFFFD, position + 1) }
        var value = UInt32(first) & (0x7F >> UInt32(length))
        for offset in 1..<length {
            value = value << 6 | UInt32(bytes[position + offset] & 0x3F)
        }
        return (value < 0x110000 ? value : 0xFFFD, position + length)
    }

    /// The class of the scalar at `position` and the position behind it.
    @inline(__always)
    func scalarClass(at position: Int, limit: Int) -> (found: ScalarClass, next: Int) {
        let first = bytes[position]
        if first < 0x80 { return (classes.ofASCII(first), position + 1) }
        let (value, next) = wideScalar(first, at: position, limit: limit)
        return (classes.of(value), next)
    }

    /// The class of the scalar at `position`, empty at the limit.
    @inline(__always)
    func peek(at position: Int, limit: Int) -> ScalarClass {
        position < limit ? scalarClass(at: position, limit: limit).found : []
    }

    /// The byte at `position`, or 0 at the limit.
    @inline(__always)
    func byte(at position: Int, limit: Int) -> UInt8 { position < limit ? bytes[position] : 0 }

    @inline(__always)
    func note(walkedFrom start: Int, to end: Int) { if let walked { walked.pointee += end - start + 1 } }

    // MARK: - Runs

    /// The end of the run, from `position`, of scalars in any of `classes`, at most `maximum` of them.
    @inline(__always)
    func end(ofRunOf classes: ScalarClass, from position: Int, limit: Int, atMost maximum: Int = .max) -> Int {
        var end = position
        var left = maximum
        while end < limit, left > 0 {
            let (found, next) = scalarClass(at: end, limit: limit)
            if !found.meets(classes) { break }
            end = next
            left -= 1
        }
        note(walkedFrom: position, to: end)
        return end
    }

    /// The end of the run, from `position`, of scalars in none of `classes`.
    @inline(__always)
    func end(ofRunOutside classes: ScalarClass, from position: Int, limit: Int) -> Int {
        var end = position
        while end < limit {
            let (found, next) = scalarClass(at: end, limit: limit)
            if found.meets(classes) { break }
            end = next
        }
        note(walkedFrom: position, to: end)
        return end
    }

    /// The end of the run of carriage returns, line feeds and, if `slash`, slashes.
    @inline(__always)
    func end(ofLineBreaksFrom position: Int, limit: Int, slash: Bool = false) -> Int {
        var end = position
        while end < limit {
            let byte = bytes[end]
            guard byte == 0x0A || byte == 0x0D || (slash && byte == 0x2F) else { break }
            end += 1
        }
        note(walkedFrom: position, to: end)
        return end
    }

    /// `\s+(?!\S)|\s+` at white space: all of the run at the end of the text, else all but its last, but at least one.
    @inline(__always)
    func end(ofBlanksFrom position: Int, limit: Int) -> Int {
        var last = position
        var end = position
        defer { note(walkedFrom: position, to: end) }
        while end < limit {
            let (found, next) = scalarClass(at: end, limit: limit)
            guard found.meets(.space) else { return last > position ? last : end }
            last = end
            end = next
        }
        return end
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+` at white space: up to the last line break of the run, or as `end(ofBlanksFrom:)`.
    @inline(__always)
    func end(ofLinesOrBlanksFrom position: Int, limit: Int) -> Int {
        var last = position
        var end = position
        var afterBreak = position
        defer { note(walkedFrom: position, to: end) }
        while end < limit {
            let (found, next) = scalarClass(at: end, limit: limit)
            guard found.meets(.space) else {
                if afterBreak > position { return afterBreak }
                return last > position ? last : end
            }
            last = end
            end = next
            if found.meets(.lineBreak) { afterBreak = end }
        }
        return afterBreak > position ? afterBreak : end
    }

    // MARK: - Contractions

    /// `'(s|t|re|ve|m|ll|d)` at an apostrophe, or `nil`.
    ///
    /// With `ignoringCase` also capitals, and U+017F, which folds to `s`.
    @inline(__always)
    func end(ofContractionFrom position: Int, limit: Int, ignoringCase: Bool) -> Int? {
        guard bytes[position] == 0x27 else { return nil }
        let mask: UInt8 = ignoringCase ? 0x20 : 0
        let raw = byte(at: position + 1, limit: limit)
        let second = byte(at: position + 2, limit: limit)
        if ignoringCase, raw == 0xC5, second == 0xBF { return position + 3 }
        guard raw >= 0x41 else { return nil }
        let first = raw | mask
        switch first {
        case 0x73, 0x74, 0x6D, 0x64: return position + 2
        case 0x72, 0x76: return second >= 0x41 && second | mask == 0x65 ? position + 3 : nil
        case 0x6C: return second >= 0x41 && second | mask == 0x6C ? position + 3 : nil
        default: return nil
        }
    }
}

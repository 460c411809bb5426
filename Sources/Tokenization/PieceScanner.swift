/// One expression of a pre-tokenizer's list: finds the next match.
///
/// The published expressions are written out by hand over Unicode scalars; each scanner quotes the one it stands for.
struct PieceScanner: Sendable {
    /// The leftmost match in `text` between `from` and `limit`; empty at `limit` if there is none.
    let next: @Sendable (_ text: ScalarText, _ from: Int, _ limit: Int) -> (start: Int, end: Int)

    /// A scanner for an expression that matches at every position: returns the end of the match.
    static func covering(_ match: @escaping @Sendable (ScalarText, Int, Int) -> Int) -> PieceScanner {
        PieceScanner { text, from, limit in
            let end = match(text, from, limit)
            // Every alternative takes at least one scalar; this keeps a mistake of ours from becoming a hang.
            return (from, end > from ? end : text.traits(at: from, limit: limit).next)
        }
    }

    /// A scanner for an expression that may match nowhere: returns the end of the match at a position, or `nil`.
    static func searching(_ match: @escaping @Sendable (ScalarText, Int, Int) -> Int?) -> PieceScanner {
        PieceScanner { text, from, limit in
            var position = from
            while position < limit {
                if let end = match(text, position, limit), end > position { return (position, end) }
                position = text.traits(at: position, limit: limit).next
            }
            return (limit, limit)
        }
    }

    /// `(class)+` where the class has any of `traits`.
    static func runs(of traits: ScalarTraits) -> PieceScanner {
        PieceScanner { text, from, limit in
            let start = text.end(ofRunWithout: traits, from: from, limit: limit)
            return (start, text.end(ofRunWithAny: traits, from: start, limit: limit))
        }
    }

    /// `(class)`, at most `maximum` of them in one match.
    static func runs(of traits: ScalarTraits, atMost maximum: Int) -> PieceScanner {
        PieceScanner { text, from, limit in
            let start = text.end(ofRunWithout: traits, from: from, limit: limit)
            var end = start
            for _ in 0..<maximum where end < limit {
                let (found, next) = text.traits(at: end, limit: limit)
                if found.isDisjoint(with: traits) { break }
                end = next
            }
            return (start, end)
        }
    }
}

// MARK: - The families

extension PieceScanner {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    static let gpt2 = covering { text, start, limit in
        if let end = text.end(ofContractionFrom: start, limit: limit, ignoringCase: false) { return end }
        var position = start
        var (traits, next) = text.traits(at: start, limit: limit)
        if text.bytes[start] == 0x20, next < limit {
            let following = text.traits(at: next, limit: limit)
            if !following.traits.contains(.space) {
                position = next
                (traits, next) = following
            }
        }
        if traits.contains(.letter) { return text.end(ofRunWithAny: .letter, from: next, limit: limit) }
        if traits.contains(.number) { return text.end(ofRunWithAny: .number, from: next, limit: limit) }
        if traits.contains(.space) { return text.end(ofBlanksFrom: position, limit: limit) }
        return text.end(ofRunWithout: [.space, .letter, .number], from: next, limit: limit)
    }

    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?W+|\p{N}{1,n}| ?[^\s W\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    ///
    /// - Parameters:
    ///   - digits: how many digits go together (`n`).
    ///   - word: the class `W`: letters, in newer models with marks.
    ///   - breaksAfterSymbols: whether line breaks join the symbols before them. Without, symbols end at line breaks.
    @inline(__always)
    static func llama3(digits: Int, word: ScalarTraits = .letter, breaksAfterSymbols: Bool = true) -> PieceScanner {
        let symbolStop: ScalarTraits = [.space, .number, word]
        return covering { text, start, limit in
            if let end = text.end(ofContractionFrom: start, limit: limit, ignoringCase: true) { return end }
            let first = text.bytes[start]
            let (traits, next) = text.traits(at: start, limit: limit)
            let isBreak = first == 0x0A || first == 0x0D
            // `[^\r\n\p{L}\p{N}]?W+`. A mark may be taken by the first class and, with W holding marks, also by W.
            if !isBreak, traits.isDisjoint(with: [.letter, .number]), next < limit,
                !text.traits(at: next, limit: limit).traits.isDisjoint(with: word)
            {
                return text.end(ofRunWithAny: word, from: next, limit: limit)
            }
            if !traits.isDisjoint(with: word) { return text.end(ofRunWithAny: word, from: next, limit: limit) }
            if traits.contains(.number) {
                var end = next
                for _ in 1..<max(digits, 1) where end < limit {
                    let (found, after) = text.traits(at: end, limit: limit)
                    guard found.contains(.number) else { break }
                    end = after
                }
                return end
            }
            if let end = symbols(text, start, limit, stop: symbolStop, breaks: breaksAfterSymbols, slash: false) {
                return end
            }
            return text.end(ofBlankLinesFrom: start, limit: limit) ?? text.end(ofBlanksFrom: start, limit: limit)
        }
    }

    /// ` ?[^stop]+[\r\n]*` (or `[\r\n/]*`), or `nil`.
    @inline(__always)
    private static func symbols(
        _ text: ScalarText, _ start: Int, _ limit: Int, stop: ScalarTraits, breaks: Bool, slash: Bool
    ) -> Int? {
        let position = text.bytes[start] == 0x20 ? start + 1 : start
        guard position < limit else { return nil }
        let (traits, next) = text.traits(at: position, limit: limit)
        guard traits.isDisjoint(with: stop) else { return nil }
        let end = text.end(ofRunWithout: stop, from: next, limit: limit)
        return breaks ? text.end(ofLineBreaksFrom: end, limit: limit, slash: slash) : end
    }

    /// `O200` of GPT-4o: words are split where a capital follows a small letter; `TEKK` without contractions.
    ///
    /// `P?U*L+C?|P?U+L*C?|\p{N}{1,n}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+` with `P` =
    /// `[^\r\n\p{L}\p{N}]`, `U` = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`, `L` = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`, `C` = a contraction.
    static func o200(digits: Int, contractions: Bool) -> PieceScanner {
        covering { text, start, limit in
            let first = text.bytes[start]
            let (traits, next) = text.traits(at: start, limit: limit)
            let isPrefix = first != 0x0A && first != 0x0D && traits.isDisjoint(with: [.letter, .number])
            let attempts: [(Int) -> Int?] = [
                { cased(text, $0, limit, lowerNeeded: true) }, { cased(text, $0, limit, lowerNeeded: false) },
            ]
            for attempt in attempts {
                // The optional first class is greedy: with it, then without.
                guard let end = (isPrefix ? attempt(next) : nil) ?? attempt(start) else { continue }
                guard contractions, end < limit else { return end }
                return text.end(ofContractionFrom: end, limit: limit, ignoringCase: true) ?? end
            }
            if traits.contains(.number) {
                var end = next
                for _ in 1..<max(digits, 1) where end < limit {
                    let (found, after) = text.traits(at: end, limit: limit)
                    guard found.contains(.number) else { break }
                    end = after
                }
                return end
            }
            if let end = symbols(
                text, start, limit, stop: [.space, .letter, .number], breaks: true, slash: true)
            {
                return end
            }
            return text.end(ofBlankLinesFrom: start, limit: limit) ?? text.end(ofBlanksFrom: start, limit: limit)
        }
    }

    /// `U*L+` if `lowerNeeded`, else `U+L*`; `nil` if it does not match at `start`.
    private static func cased(_ text: ScalarText, _ start: Int, _ limit: Int, lowerNeeded: Bool) -> Int? {
        var position = start
        var afterShared: Int?  // the end of the last scalar that is in both classes: where `U*` may give one back
        while position < limit {
            let (traits, next) = text.traits(at: position, limit: limit)
            guard traits.contains(.upperish) else { break }
            if traits.contains(.lowerish) { afterShared = next }
            position = next
        }
        let end = text.end(ofRunWithAny: .lowerish, from: position, limit: limit)
        if lowerNeeded { return end > position ? end : afterShared }
        return position > start ? end : nil
    }

    /// ``[\p{P}\$\+<=>\^~\|`]+`` with the back-tick left to `falcon`: punctuation runs of the old default.
    static func punctuation(backtick: Bool) -> PieceScanner {
        searching { text, start, limit in
            var position = start
            while position < limit {
                let byte = text.bytes[position]
                let (traits, next) = text.traits(at: position, limit: limit)
                let listed =
                    switch byte {
                    case 0x24, 0x2B, 0x3C, 0x3D, 0x3E, 0x5E, 0x7E, 0x7C: true
                    case 0x60: backtick
                    default: false
                    }
                guard listed || traits.contains(.punctuation) else { break }
                position = next
            }
            return position > start ? position : nil
        }
    }

    /// `[0-9][0-9][0-9]`
    static let threeDigits = searching { text, start, limit in
        guard start + 3 <= limit else { return nil }
        for offset in 0..<3 where !(0x30...0x39).contains(text.bytes[start + offset]) { return nil }
        return start + 3
    }
}

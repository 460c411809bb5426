/// The expressions that cut everything: words, numbers, symbols, white space.
extension PieceScanner {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    static let gpt2 = covering { text, start, limit in
        if let end = text.end(ofContractionFrom: start, limit: limit, ignoringCase: false) { return end }
        var position = start
        var (found, next) = text.scalarClass(at: start, limit: limit)
        if text.bytes[start] == 0x20, next < limit {
            let following = text.scalarClass(at: next, limit: limit)
            if !following.found.meets(.space) {
                position = next
                (found, next) = following
            }
        }
        if found.meets(.letter) { return text.end(ofRunOf: .letter, from: next, limit: limit) }
        if found.meets(.number) { return text.end(ofRunOf: .number, from: next, limit: limit) }
        if found.meets(.space) { return text.end(ofBlanksFrom: position, limit: limit) }
        return text.end(ofRunOutside: [.space, .letter, .number], from: next, limit: limit)
    }

    /// What may follow a run of symbols.
    enum SymbolTail: Sendable {
        /// `[^\s…]+[\r\n]*`
        case lineBreaks
        /// `[^\s…]+[\r\n/]*`
        case lineBreaksAndSlashes
        /// `[^\s…]+[\r\n/]?`
        case oneLineBreakOrSlash
        /// `[^\s…]+`
        case nothing
    }

    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?W+|\p{N}{1,n}| ?[^\s W\p{N}]+TAIL|\s*[\r\n]+|\s+(?!\S)|\s+`
    ///
    /// - Parameters:
    ///   - digits: how many digits go together (`n`).
    ///   - word: the class `W`: letters, in newer models with marks.
    ///   - tail: what may follow symbols.
    ///   - contractions: whether the first alternative is there.
    @inline(__always)
    static func llama3(
        digits: Int, word: ScalarClass = .letter, tail: SymbolTail = .lineBreaks, contractions: Bool = true
    ) -> PieceScanner {
        let stop: ScalarClass = [.space, .letter, .number, word]
        return covering { text, start, limit in
            if contractions, let end = text.end(ofContractionFrom: start, limit: limit, ignoringCase: true) {
                return end
            }
            let (found, next) = text.scalarClass(at: start, limit: limit)
            if found.meets(word) { return text.end(ofRunOf: word, from: next, limit: limit) }
            // A prefix: neither letter, number nor line break. (A mark that is in W was taken above, as W does too.)
            if !found.meets([.letter, .number, .lineBreak]), text.peek(at: next, limit: limit).meets(word) {
                return text.end(ofRunOf: word, from: next, limit: limit)
            }
            return rest(text, start, limit, found, next, digits: digits, stop: stop, tail: tail)
        }
    }

    /// `\p{N}{1,n}| ?[^stop]+TAIL|\s*[\r\n]+|\s+(?!\S)|\s+` where no word starts.
    @inline(__always)
    static func rest(
        _ text: ScalarText, _ start: Int, _ limit: Int, _ found: ScalarClass, _ next: Int, digits: Int,
        stop: ScalarClass, tail: SymbolTail
    ) -> Int {
        if found.meets(.number) {
            return text.end(ofRunOf: .number, from: next, limit: limit, atMost: digits - 1)
        }
        if let end = symbols(text, start, limit, stop: stop, tail: tail) { return end }
        return text.end(ofLinesOrBlanksFrom: start, limit: limit)
    }

    /// ` ?[^stop]+TAIL`, or `nil`.
    @inline(__always)
    static func symbols(
        _ text: ScalarText, _ start: Int, _ limit: Int, stop: ScalarClass, tail: SymbolTail
    ) -> Int? {
        let position = text.bytes[start] == 0x20 ? start + 1 : start
        guard position < limit else { return nil }
        let end = text.end(ofRunOutside: stop, from: position, limit: limit)
        guard end > position else { return nil }
        switch tail {
        case .lineBreaks: return text.end(ofLineBreaksFrom: end, limit: limit)
        case .lineBreaksAndSlashes: return text.end(ofLineBreaksFrom: end, limit: limit, slash: true)
        case .oneLineBreakOrSlash:
            let byte = text.byte(at: end, limit: limit)
            return byte == 0x0A || byte == 0x0D || byte == 0x2F ? end + 1 : end
        case .nothing: return end
        }
    }

    // MARK: - Words split by case

    /// `O200` of GPT-4o: words are split where a capital follows a small letter; `TEKK` without contractions.
    ///
    /// `P?U*L+C?|P?U+L*C?|\p{N}{1,n}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+` with `P` =
    /// `[^\r\n\p{L}\p{N}]`, `U` = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`, `L` = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`, `C` = a contraction.
    @inline(__always)
    static func o200(digits: Int, contractions: Bool) -> PieceScanner {
        covering { text, start, limit in
            let (found, next) = text.scalarClass(at: start, limit: limit)
            if let end = casedWord(text, start, limit, wordLimit: limit, found, next) {
                guard contractions, end < limit else { return end }
                return text.end(ofContractionFrom: end, limit: limit, ignoringCase: true) ?? end
            }
            return rest(
                text, start, limit, found, next, digits: digits, stop: [.space, .letter, .number],
                tail: .lineBreaksAndSlashes)
        }
    }

    /// Kimi K2: runs of Han first, then `O200` with Han taken out of `U` and `L`, and `[\r\n]*` behind symbols.
    static let kimi = covering { text, start, limit in
        let (value, next) = text.scalar(at: start, limit: limit)
        if ScalarRanges.han.contains(value) { return ScalarRanges.han.end(ofRunIn: text, from: next, limit: limit) }
        let found = text.scalarClass(at: start, limit: limit).found
        // Words end where Han begins.
        var wordLimit = next
        while wordLimit < limit {
            let (value, after) = text.scalar(at: wordLimit, limit: limit)
            guard text.scalarClass(at: wordLimit, limit: limit).found.meets([.upperish, .lowerish]),
                !ScalarRanges.han.contains(value)
            else { break }
            wordLimit = after
        }
        if let end = casedWord(text, start, limit, wordLimit: wordLimit, found, next) {
            guard end < limit else { return end }
            return text.end(ofContractionFrom: end, limit: limit, ignoringCase: true) ?? end
        }
        return rest(
            text, start, limit, found, next, digits: 3, stop: [.space, .letter, .number], tail: .lineBreaks)
    }

    /// `P?U*L+|P?U+L*`, each with its optional first class tried before going without; `nil` if neither matches.
    @inline(__always)
    private static func casedWord(
        _ text: ScalarText, _ start: Int, _ limit: Int, wordLimit: Int, _ found: ScalarClass, _ next: Int
    ) -> Int? {
        let isPrefix = !found.meets([.letter, .number, .lineBreak])
        let isWord = found.meets([.upperish, .lowerish])
        if !isWord, !(isPrefix && text.peek(at: next, limit: wordLimit).meets([.upperish, .lowerish])) { return nil }
        if isPrefix, let end = cased(text, next, wordLimit, lowerNeeded: true) { return end }
        if isWord, let end = cased(text, start, wordLimit, lowerNeeded: true) { return end }
        if isPrefix, let end = cased(text, next, wordLimit, lowerNeeded: false) { return end }
        return isWord ? cased(text, start, wordLimit, lowerNeeded: false) : nil
    }

    /// `U*L+` if `lowerNeeded`, else `U+L*`; `nil` if it does not match at `start`.
    private static func cased(_ text: ScalarText, _ start: Int, _ limit: Int, lowerNeeded: Bool) -> Int? {
        var position = start
        var afterShared: Int?  // the end of the last scalar that is in both classes: where `U*` may give one back
        while position < limit {
            let (found, next) = text.scalarClass(at: position, limit: limit)
            guard found.meets(.upperish) else { break }
            if found.meets(.lowerish) { afterShared = next }
            position = next
        }
        text.note(walkedFrom: start, to: position)
        let end = text.end(ofRunOf: .lowerish, from: position, limit: limit)
        if lowerNeeded { return end > position ? end : afterShared }
        return position > start ? end : nil
    }

    // MARK: - Relatives

    /// EXAONE MoE: as `QW`, but words may hold single blanks, `\p{L}\p{M}*(?: \p{L}\p{M}*)*`, and symbols take `[\r\n/]?`.
    static let exaoneMoE = covering { text, start, limit in
        if let end = text.end(ofContractionFrom: start, limit: limit, ignoringCase: true) { return end }
        let (found, next) = text.scalarClass(at: start, limit: limit)
        var position = start
        if !found.meets([.letter, .number, .lineBreak]) { position = next }
        if text.peek(at: position, limit: limit).meets(.letter) {
            while true {
                position = text.end(ofRunOf: [.letter, .mark], from: position, limit: limit)
                guard text.byte(at: position, limit: limit) == 0x20,
                    text.peek(at: position + 1, limit: limit).meets(.letter)
                else { return position }
                position += 1
            }
        }
        return rest(
            text, start, limit, found, next, digits: 1, stop: [.space, .letter, .number], tail: .oneLineBreakOrSlash)
    }

    /// `DS3`: `[!-/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+TAIL|…white space` where the first
    /// class is ASCII punctuation.
    ///
    /// - Parameter spark: Spark 2.5's white space, `[\r\n]|\s+(?!\S)|\s+`, and no line breaks behind symbols.
    static func deepseek3(spark: Bool = false) -> PieceScanner {
        searching { text, start, limit in
            let (found, next) = text.scalarClass(at: start, limit: limit)
            if text.bytes[start] < 0x80, found.meets([.punctuation, .symbol]) {
                var end = next
                while end < limit, isASCIILetter(text.bytes[end]) { end += 1 }
                if end > next { return end }
            }
            let word: ScalarClass = [.letter, .mark]
            if !found.meets([.letter, .punctuation, .symbol, .lineBreak]), text.peek(at: next, limit: limit).meets(word)
            {
                return text.end(ofRunOf: word, from: next, limit: limit)
            }
            if found.meets(word) { return text.end(ofRunOf: word, from: next, limit: limit) }
            let symbolStart = text.bytes[start] == 0x20 ? next : start
            let end = text.end(ofRunOf: [.punctuation, .symbol], from: symbolStart, limit: limit)
            if end > symbolStart { return spark ? end : text.end(ofLineBreaksFrom: end, limit: limit) }
            guard found.meets(.space) else { return nil }
            if !spark { return text.end(ofLinesOrBlanksFrom: start, limit: limit) }
            return found.meets(.lineBreak) ? next : text.end(ofBlanksFrom: start, limit: limit)
        }
    }

    private static func isASCIILetter(_ byte: UInt8) -> Bool { (0x41...0x5A).contains(byte & 0xDF) }

    /// ` ?[^(\s|.,!?…。，、।۔،)]+`
    static let bloom = searching { text, start, limit in
        let position = text.bytes[start] == 0x20 ? start + 1 : start
        var end = position
        while end < limit {
            let (value, next) = text.scalar(at: end, limit: limit)
            if text.scalarClass(at: end, limit: limit).found.meets(.space) || ScalarRanges.bloomStops.contains(value) {
                break
            }
            end = next
        }
        text.note(walkedFrom: position, to: end)
        return end > position ? end : nil
    }

    /// `[^\n]+|[\n]+`
    static let lines = covering { text, start, limit in
        let isBreak = text.bytes[start] == 0x0A
        var end = start + 1
        while end < limit, (text.bytes[end] == 0x0A) == isBreak { end += 1 }
        text.note(walkedFrom: start, to: end)
        return end
    }

    /// Jais 2: `L3` with `\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|…|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}` for white space.
    static let jais2: PieceScanner = {
        let words = llama3(digits: 3)
        return PieceScanner { text, from, limit, emit in
            words.cut(text, from, limit) { start, end in
                // `L3` cut white space into `\s*[\r\n]+`, all but the last of a run, or the rest: cut the latter two on.
                guard text.scalarClass(at: start, limit: end).found.meets(.space),
                    let steps = blankSteps(text, start, end)
                else { return emit(start, end) }
                var position = start
                var left = steps
                // `(?!\S)` forbids a step that ends before a character; behind this piece comes white space or the end.
                while left > 0 {
                    let step = [512, 256, 128, 64, 32, 16, 8, 4, 2].first { $0 <= left } ?? 1
                    var next = position
                    for _ in 0..<step { next = text.scalar(at: next, limit: end).next }
                    emit(position, next)
                    position = next
                    left -= step
                }
            }
        }
    }()

    /// The number of scalars of a piece of white space without line breaks; `nil` if there is one or another character.
    private static func blankSteps(_ text: ScalarText, _ start: Int, _ end: Int) -> Int? {
        var count = 0
        var position = start
        while position < end {
            let (found, next) = text.scalarClass(at: position, limit: end)
            guard found.meets(.space), !found.meets(.lineBreak) else { return nil }
            count += 1
            position = next
        }
        return count
    }
}

/// The expressions that cut out something of their own before words are looked for: digits, punctuation, scripts.
extension PieceScanner {
    /// ``[\p{P}\$\+<=>\^~\|`]+`` with the back-tick left to `falcon`: punctuation runs of the old default.
    static func punctuation(backtick: Bool) -> PieceScanner {
        searching { text, start, limit in
            var end = start
            while end < limit {
                let byte = text.bytes[end]
                let (found, next) = text.scalarClass(at: end, limit: limit)
                let listed =
                    switch byte {
                    case 0x24, 0x2B, 0x3C, 0x3D, 0x3E, 0x5E, 0x7E, 0x7C: true
                    case 0x60: backtick
                    default: false
                    }
                guard listed || found.meets(.punctuation) else { break }
                end = next
            }
            return end
        }
    }

    /// `[0-9][0-9][0-9]`
    static let threeDigits = searching { text, start, limit in
        guard start + 3 <= limit else { return nil }
        for offset in 0..<3 where !isDigit(text.bytes[start + offset]) { return nil }
        return start + 3
    }

    /// Runs of digits in groups of three counted from the right: 1234567 is 1, 234, 567.
    ///
    /// With `decimal` and `beforeBoundary` that is Tiny Aya's `\d{1,3}(?=(?:\d{3})*\b)`, where a run that a word
    /// character follows stays whole; with `number` it is AFMoE's `\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`.
    static func groupsOfThree(_ digits: ScalarClass, beforeBoundary: Bool) -> PieceScanner {
        PieceScanner { text, from, limit, emit in
            var position = from
            var gap = from
            while position < limit {
                let start = text.end(ofRunOutside: digits, from: position, limit: limit)
                guard start < limit else { break }
                let end = text.end(ofRunOf: digits, from: start, limit: limit)
                position = end
                if beforeBoundary, isWord(text, end, limit) { continue }
                if start > gap { emit(gap, start) }
                emitGroups(text, start, end, emit)
                gap = end
            }
            if limit > gap { emit(gap, limit) }
        }
    }

    /// SuperBPE: `(?=(\d{3})+(?!\d))`, a cut before every third digit from the right.
    static let cutsOfThree = PieceScanner { text, from, limit, emit in
        var position = from
        var gap = from
        while position < limit {
            let start = text.end(ofRunOutside: .decimal, from: position, limit: limit)
            guard start < limit else { break }
            let end = text.end(ofRunOf: .decimal, from: start, limit: limit)
            position = end
            let short = count(of: text, start, end) % 3
            var cut = start
            for _ in 0..<short { cut = text.scalar(at: cut, limit: end).next }
            guard cut < end else { continue }
            // What precedes the first cut, digits or not, stays in one piece; so does what follows the last.
            while cut < end {
                if cut > gap { emit(gap, cut) }
                gap = cut
                for _ in 0..<3 { cut = text.scalar(at: cut, limit: end).next }
            }
        }
        if limit > gap { emit(gap, limit) }
    }

    private static func emitGroups(_ text: ScalarText, _ start: Int, _ end: Int, _ emit: Emit) {
        var left = count(of: text, start, end)
        var position = start
        while left > 0 {
            let size = left % 3 == 0 ? 3 : left % 3
            var next = position
            for _ in 0..<size { next = text.scalar(at: next, limit: end).next }
            emit(position, next)
            position = next
            left -= size
        }
    }

    private static func count(of text: ScalarText, _ start: Int, _ end: Int) -> Int {
        var count = 0
        for position in start..<end where text.bytes[position] & 0xC0 != 0x80 { count += 1 }
        return count
    }

    /// `\w`: alphabetic, mark, decimal or connector, and the numbers of Latin-1, as Oniguruma has it.
    private static func isWord(_ text: ScalarText, _ position: Int, _ limit: Int) -> Bool {
        guard position < limit else { return false }
        if text.peek(at: position, limit: limit).meets([.letter, .mark, .decimal, .letterNumber, .connector]) {
            return true
        }
        return ScalarRanges.otherWord.contains(text.scalar(at: position, limit: limit).value)
    }

    /// `\s+$`: white space at the end of the piece.
    static let trailingBlanks = PieceScanner { text, from, limit, emit in
        var position = from
        var blanks: Int?
        while position < limit {
            let (found, next) = text.scalarClass(at: position, limit: limit)
            if !found.meets(.space) { blanks = nil } else if blanks == nil { blanks = position }
            position = next
        }
        let cut = blanks ?? limit
        if cut > from { emit(from, cut) }
        if limit > cut { emit(cut, limit) }
    }

    /// Youtu: `[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+`
    static let eastAsian: PieceScanner = {
        let classes = [
            ScalarRanges("가-힣ㄱ-ㆎ"), ScalarRanges("！…“”‘’—：；，、-〿︰-﹏"), ScalarRanges("ㄅ-ㄯ"), ScalarRanges.hanAndKana,
        ]
        return searching { text, start, limit in
            let (value, next) = text.scalar(at: start, limit: limit)
            guard value >= 0x80 else { return nil }
            return classes.first { $0.contains(value) }?.end(ofRunIn: text, from: next, limit: limit)
        }
    }()

    // MARK: - Chameleon

    /// `<sentinel:[0-9]+>`
    static let sentinel = searching { text, start, limit in
        guard let digits = end(of: "<sentinel:", text, start, limit) else { return nil }
        var end = digits
        while end < limit, isDigit(text.bytes[end]) { end += 1 }
        text.note(walkedFrom: digits, to: end)
        return end > digits && text.byte(at: end, limit: limit) == 0x3E ? end + 1 : nil
    }

    /// `(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`
    static let imageToken = searching { text, start, limit in
        guard let letters = end(of: "IMGIMG", text, start, limit) else { return nil }
        var end = letters
        while end < letters + 4, end < limit, (0x41...0x49).contains(text.bytes[end]) { end += 1 }
        return end > letters && text.byte(at: end, limit: limit) == 0x5A ? end + 1 : nil
    }

    /// `([\t\n]|    |  )`
    static let indentation = searching { text, start, limit in
        switch text.bytes[start] {
        case 0x09, 0x0A: return start + 1
        case 0x20: return end(of: "    ", text, start, limit) ?? end(of: "  ", text, start, limit)
        default: return nil
        }
    }

    /// ``[\p{P}!-/:-@\[-`{-~]``, one at a time
    static let eachPunctuation = searching { text, start, limit in
        let (found, next) = text.scalarClass(at: start, limit: limit)
        let isASCII = text.bytes[start] < 0x80
        return found.meets(isASCII ? [.punctuation, .symbol] : .punctuation) ? next : nil
    }

    private static func end(of word: StaticString, _ text: ScalarText, _ start: Int, _ limit: Int) -> Int? {
        let count = word.utf8CodeUnitCount
        guard limit - start >= count else { return nil }
        for offset in 0..<count where text.bytes[start + offset] != word.utf8Start[offset] { return nil }
        return start + count
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
}

extension ScalarRanges {
    /// `[一-龥぀-ゟ゠-ヿ]`
    static let hanAndKana = ScalarRanges([0x4E00...0x9FA5, 0x3040...0x309F, 0x30A0...0x30FF])

    /// `[一-龥ࠀ-一가-퟿]`
    static let deepseekWide = ScalarRanges([0x4E00...0x9FA5, 0x800...0x4E00, 0xAC00...0xD7FF])

    /// `[!-/:-~！-／：-～‘-‟　-。]`
    static let deepseekPunctuation = ScalarRanges([
        0x21...0x2F, 0x3A...0x7E, 0xFF01...0xFF0F, 0xFF1A...0xFF5E, 0x2018...0x201F, 0x3000...0x3002,
    ])

    /// The letters of DeepSeek LLM: Latin, Greek, Cyrillic, Armenian, Georgian, Cherokee and others that have case.
    static let deepseekLetters = ScalarRanges(
        "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1F7D}ᾀ-ᾴᾶ-ᾼ\u{1FBE}ῂ-ῄῆ-ῌῐ-\u{1FD3}"
            + "ῖ-\u{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ"
            + "𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃")

    /// What ends a word of BLOOM, besides white space.
    static let bloomStops = ScalarRanges("(|.,!?…。，、।۔،)")

    /// Alphabetic symbols and Latin-1 numbers: what `\w` has beyond letters, marks, decimals and connectors.
    static let otherWord = ScalarRanges([
        0xB2...0xB3, 0xB9...0xB9, 0xBC...0xBE, 0x24B6...0x24E9, 0x1F130...0x1F149, 0x1F150...0x1F169,
        0x1F170...0x1F189,
    ])

    /// `\p{Han}` of Unicode 16.0.
    static let han = ScalarRanges([
        0x2E80...0x2E99, 0x2E9B...0x2EF3, 0x2F00...0x2FD5, 0x3005...0x3005, 0x3007...0x3007, 0x3021...0x3029,
        0x3038...0x303B, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFA6D, 0xFA70...0xFAD9, 0x16FE2...0x16FE3,
        0x16FF0...0x16FF1, 0x20000...0x2A6DF, 0x2A700...0x2B739, 0x2B740...0x2B81D, 0x2B820...0x2CEA1,
        0x2CEB0...0x2EBE0, 0x2EBF0...0x2EE5D, 0x2F800...0x2FA1D, 0x30000...0x3134A, 0x31350...0x323AF,
    ])

    /// AFMoE's scripts without blanks between words: `[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]`
    static let unspaced = ScalarRanges([
        0x4E00...0x9FFF, 0x3400...0x4DBF, 0xF900...0xFAFF, 0x3040...0x309F, 0x30A0...0x30FF, 0xFF65...0xFF9F,
        0x2F00...0x2FDF, 0x0E40...0x0E7F, 0x0E80...0x0EFF, 0x1780...0x17FF, 0x1000...0x109F, 0xAA60...0xAA7F,
        0xA9E0...0xA9FF, 0xAC00...0xD7AF, 0x1100...0x11FF,
    ])
}

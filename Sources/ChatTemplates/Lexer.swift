/// Cuts a template into tokens, with the white space that chat templates are written for: the first line break behind a
/// block is dropped (`trim_blocks`), and so is white space before a block on its line (`lstrip_blocks`).
struct Lexer {
    let source: [UInt32]
    var position = 0
    var tokens: [Token] = []

    /// - Parameter source: the template; see ``normalized(_:)``.
    init(_ source: [UInt32]) { self.source = source }

    /// The scalars of a template: every line ends with a line feed, and a last one is dropped.
    static func normalized(_ template: String) -> [UInt32] {
        var scalars: [UInt32] = []
        scalars.reserveCapacity(template.utf8.count)
        for scalar in template.unicodeScalars {
            if scalar.value == 10 && scalars.last == 13 {
                scalars[scalars.count - 1] = 10
            } else {
                if scalars.last == 13 { scalars[scalars.count - 1] = 10 }
                scalars.append(scalar.value)
            }
        }
        if scalars.last == 13 { scalars[scalars.count - 1] = 10 }
        if scalars.last == 10 { scalars.removeLast() }
        return scalars
    }

    mutating func tokenize() throws(TemplateError) -> [Token] {
        while position < source.count {
            // A tag at the start of a line may have the white space before it dropped.
            let atLineStart = position == 0 || source[position - 1] == 10
            let start = position
            while position < source.count && !(at("{%") || at("{{") || at("{#")) { position += 1 }
            guard position < source.count else {
                addData(start, position)
                break
            }
            let tag = position
            let kind = source[position + 1]
            position += 2
            let sign = position < source.count ? source[position] : 0
            let hasSign = sign == 0x2D || sign == 0x2B
            if hasSign { position += 1 }
            let raw = kind == 0x25 ? rawBegin() : nil
            addData(start, dataEnd(start, tag, sign: sign, lineStart: atLineStart, strips: kind != 0x7B))
            if let raw {
                try readRaw(from: raw, tag: tag)
            } else if kind == 0x23 {
                try skipComment(tag)
            } else {
                try readTag(isBlock: kind == 0x25, tag: tag)
            }
        }
        tokens.append(Token(kind: .end, offset: source.count))
        return tokens
    }

    // MARK: - Text and white space

    private func at(_ text: StaticString, _ place: Int? = nil) -> Bool {
        let place = place ?? position
        guard place + text.utf8CodeUnitCount <= source.count else { return false }
        return text.withUTF8Buffer { bytes in
            for index in bytes.indices where source[place + index] != UInt32(bytes[index]) { return false }
            return true
        }
    }

    /// Where the text before a tag ends once white space is dropped.
    private func dataEnd(_ start: Int, _ tag: Int, sign: UInt32, lineStart: Bool, strips: Bool) -> Int {
        var end = tag
        if sign == 0x2D {
            while end > start && TemplateText.isSpace(source[end - 1]) { end -= 1 }
        } else if sign != 0x2B && strips {
            while end > start && source[end - 1] != 10 && TemplateText.isSpace(source[end - 1]) { end -= 1 }
            let reachesLineStart = end > start ? source[end - 1] == 10 : lineStart
            if !reachesLineStart { end = tag }
        }
        return end
    }

    private mutating func addData(_ from: Int, _ to: Int) {
        guard from < to else { return }
        tokens.append(Token(kind: .data, text: TemplateText(source[from..<to]), offset: from))
    }

    private mutating func skipSpace() {
        while position < source.count && TemplateText.isSpace(source[position]) { position += 1 }
    }

    /// The end of a tag here, past the white space that goes with it; `nil` when it does not end here.
    private func tagEnd(_ end: StaticString, _ place: Int, trims: Bool, plus: Bool) -> Int? {
        guard place < source.count else { return nil }
        if at(end, place) {
            let after = place + 2
            return trims && after < source.count && source[after] == 10 ? after + 1 : after
        }
        if source[place] == 0x2D && at(end, place + 1) {
            var after = place + 3
            while after < source.count && TemplateText.isSpace(source[after]) { after += 1 }
            return after
        }
        if plus && source[place] == 0x2B && at(end, place + 1) { return place + 3 }
        return nil
    }

    // MARK: - Raw blocks and comments

    /// The end of `raw %}` here, or `nil` when this is another block.
    private func rawBegin() -> Int? {
        var place = position
        while place < source.count && TemplateText.isSpace(source[place]) { place += 1 }
        guard at("raw", place) else { return nil }
        place += 3
        while place < source.count && TemplateText.isSpace(source[place]) { place += 1 }
        return tagEnd("%}", place, trims: false, plus: false)
    }

    private mutating func readRaw(from start: Int, tag: Int) throws(TemplateError) {
        let lineStart = source[start - 1] == 10
        position = start
        while position < source.count {
            if at("{%") {
                var place = position + 2
                let sign = place < source.count ? source[place] : 0
                if sign == 0x2D || sign == 0x2B { place += 1 }
                while place < source.count && TemplateText.isSpace(source[place]) { place += 1 }
                if at("endraw", place) {
                    place += 6
                    while place < source.count && TemplateText.isSpace(source[place]) { place += 1 }
                    if let end = tagEnd("%}", place, trims: true, plus: true) {
                        addData(start, dataEnd(start, position, sign: sign, lineStart: lineStart, strips: true))
                        position = end
                        return
                    }
                }
            }
            position += 1
        }
        throw TemplateError(.syntax, "A raw block has no 'endraw'.").located(in: source, at: tag)
    }

    private mutating func skipComment(_ tag: Int) throws(TemplateError) {
        while position < source.count {
            if let end = tagEnd("#}", position, trims: true, plus: true) {
                position = end
                return
            }
            position += 1
        }
        throw TemplateError(.syntax, "A comment has no end '#}'.").located(in: source, at: tag)
    }

    // MARK: - Inside a tag

    private mutating func readTag(isBlock: Bool, tag: Int) throws(TemplateError) {
        tokens.append(Token(kind: isBlock ? .blockBegin : .variableBegin, offset: tag))
        var closers: [UInt32] = []
        while true {
            skipSpace()
            guard position < source.count else {
                throw fail("This tag has no end '\(isBlock ? "%}" : "}}")'.", tag)
            }
            if closers.isEmpty,
                let end = isBlock
                    ? tagEnd("%}", position, trims: true, plus: true)
                    : tagEnd("}}", position, trims: false, plus: false)
            {
                tokens.append(Token(kind: isBlock ? .blockEnd : .variableEnd, offset: position))
                position = end
                return
            }
            let scalar = source[position]
            switch scalar {
            case 0x30...0x39: try readNumber()
            case 0x27, 0x22: try readString(quote: scalar)
            default:
                if isNameScalar(scalar, first: true) {
                    readName()
                } else {
                    try readSymbol(&closers)
                }
            }
        }
    }

    func fail(_ message: String, _ offset: Int) -> TemplateError {
        TemplateError(.syntax, message).located(in: source, at: offset)
    }

    private func isNameScalar(_ scalar: UInt32, first: Bool) -> Bool {
        if scalar < 0x80 {
            return TemplateText.isASCIILetter(scalar) || scalar == 0x5F || (!first && scalar >= 0x30 && scalar <= 0x39)
        }
        let properties = TemplateText.scalar(scalar).properties
        return first ? properties.isXIDStart : properties.isXIDContinue
    }

    private mutating func readName() {
        let start = position
        while position < source.count && isNameScalar(source[position], first: false) { position += 1 }
        let name = TemplateText(source[start..<position]).string
        tokens.append(Token(kind: .name, name: name, offset: start))
    }

    private static let pairs = ["//", "**", "==", "!=", ">=", "<="]
    private static let singles = Set("+-/*%~[](){}><=.:|,;")

    private mutating func readSymbol(_ closers: inout [UInt32]) throws(TemplateError) {
        let start = position
        let two = TemplateText(source[start..<min(start + 2, source.count)]).string
        if Lexer.pairs.contains(two) {
            position += 2
            tokens.append(Token(kind: .symbol, name: two, offset: start))
            return
        }
        let one = Character(TemplateText.scalar(source[start]))
        guard Lexer.singles.contains(one) else { throw fail("The character '\(one)' has no meaning here.", start) }
        switch one {
        case "(": closers.append(0x29)
        case "[": closers.append(0x5D)
        case "{": closers.append(0x7D)
        case ")", "]", "}":
            guard let expected = closers.popLast() else { throw fail("'\(one)' closes nothing.", start) }
            guard expected == source[start] else {
                throw fail("'\(one)' stands where '\(TemplateText.scalar(expected))' is expected.", start)
            }
        default: break
        }
        position += 1
        tokens.append(Token(kind: .symbol, name: String(one), offset: start))
    }
}

/// A line being edited: characters as people see them, and a cursor between them. No terminal is involved.
struct LineBuffer: Equatable {
    private var characters: [Character]
    /// Characters before the cursor.
    private(set) var cursor: Int

    init(_ text: String = "") {
        characters = Array(text)
        cursor = characters.count
    }

    var text: String { String(characters) }

    /// Inserts at the cursor; what combines with the character before it becomes one with it.
    mutating func insert(_ new: String) {
        let before = String(characters[..<cursor]) + new
        let after = characters[cursor...]
        let joined = Array(before)
        characters = joined + after
        cursor = joined.count
    }

    mutating func deleteBackward() {
        guard cursor > 0 else { return }
        cursor -= 1
        characters.remove(at: cursor)
    }

    mutating func deleteForward() {
        guard cursor < characters.count else { return }
        characters.remove(at: cursor)
    }

    mutating func move(by distance: Int) { cursor = max(0, min(characters.count, cursor + distance)) }
    mutating func moveToStart() { cursor = 0 }
    mutating func moveToEnd() { cursor = characters.count }
    mutating func cutToEnd() { characters.removeSubrange(cursor...) }

    mutating func cutToStart() {
        characters.removeSubrange(..<cursor)
        cursor = 0
    }

    /// Removes the word before the cursor and the blanks behind it.
    mutating func cutWord() {
        var start = cursor
        while start > 0, characters[start - 1].isWhitespace { start -= 1 }
        while start > 0, !characters[start - 1].isWhitespace { start -= 1 }
        characters.removeSubrange(start..<cursor)
        cursor = start
    }

    /// The part of the line that fits so many columns with the cursor in it, and the cursor's column.
    func window(columns: Int) -> (text: String, cursor: Int) {
        func shown(_ character: Character) -> Character { character.isNewline || character == "\t" ? " " : character }
        var start = 0
        var before = characters[..<cursor].reduce(0) { $0 + Self.width(of: $1) }
        while before > columns {
            before -= Self.width(of: characters[start])
            start += 1
        }
        var text = ""
        var used = 0
        for character in characters[start...] {
            let width = Self.width(of: character)
            if used + width > columns { break }
            text.append(shown(character))
            used += width
        }
        return (text, before)
    }

    /// Columns a terminal gives a character: two for wide East Asian characters and emoji, none for lone marks.
    static func width(of character: Character) -> Int {
        guard let scalar = character.unicodeScalars.first else { return 0 }
        if scalar.properties.isEmojiPresentation || character.unicodeScalars.contains("\u{FE0F}") { return 2 }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: break
        }
        switch scalar.value {
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF,
            0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F,
            0x1F900...0x1F9FF, 0x20000...0x3FFFD:
            return 2
        default: return 1
        }
    }
}

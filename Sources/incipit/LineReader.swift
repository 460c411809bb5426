import Foundation

/// Lines of standard input: edited on a terminal, plain elsewhere.
///
/// A line that ends with a backslash goes on in the next one.
final class LineReader {
    let isInteractive = isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0
    private var history: [String] = []

    /// The next line; nil at the end of the input.
    ///
    /// - Throws: `CommandFailure` for input that is no UTF-8.
    func read(prompt: String) throws -> String? {
        guard var line = try readOne(prompt) else { return nil }
        while line.hasSuffix("\\") {
            line.removeLast()
            guard let next = try readOne(String(repeating: ".", count: max(1, prompt.count - 1)) + " ") else { break }
            line += "\n" + next
        }
        return line
    }

    private func readOne(_ prompt: String) throws -> String? {
        guard isInteractive else { return readLine(strippingNewline: true) }
        let line = try LineEditor.edit(prompt: prompt, history: history)
        if let line, !line.isEmpty, history.last != line { history.append(line) }
        return line
    }
}

/// Edits one line on a terminal.
///
/// The terminal is in raw mode while a line is edited and as it was before otherwise. Long lines scroll sideways.
struct LineEditor {
    private var buffer = LineBuffer()
    private let prompt: String
    private let history: [String]
    /// The entry shown; `history.count` is the new line.
    private var entry: Int
    /// The new line, while an older one is shown.
    private var draft = ""

    /// Reads a line; nil when the input ends (Ctrl-D in an empty line).
    static func edit(prompt: String, history: [String]) throws -> String? {
        var saved = termios()
        guard tcgetattr(STDIN_FILENO, &saved) == 0 else { return readLine(strippingNewline: true) }
        var raw = saved
        cfmakeraw(&raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &raw)
        defer { tcsetattr(STDIN_FILENO, TCSADRAIN, &saved) }
        var editor = LineEditor(prompt: prompt, history: history)
        let line = editor.run()
        write("\r\n")
        return line
    }

    private init(prompt: String, history: [String]) {
        self.prompt = prompt
        self.history = history
        entry = history.count
    }

    private mutating func run() -> String? {
        redraw()
        while let key = Self.nextKey() {
            switch key {
            case .text(let scalars): buffer.insert(scalars)
            case .enter: return buffer.text
            case .interrupt:
                Self.write("^C\r\n")
                buffer = LineBuffer()
                entry = history.count
            case .end:
                if buffer.text.isEmpty { return nil }
                buffer.deleteForward()
            case .backspace: buffer.deleteBackward()
            case .delete: buffer.deleteForward()
            case .left: buffer.move(by: -1)
            case .right: buffer.move(by: 1)
            case .home: buffer.moveToStart()
            case .lineEnd: buffer.moveToEnd()
            case .up: show(entry - 1)
            case .down: show(entry + 1)
            case .cutToEnd: buffer.cutToEnd()
            case .cutToStart: buffer.cutToStart()
            case .cutWord: buffer.cutWord()
            case .clear: Self.write("\u{1B}[H\u{1B}[2J")
            case .none: break
            }
            redraw()
        }
        return buffer.text.isEmpty ? nil : buffer.text
    }

    private mutating func show(_ wanted: Int) {
        guard (0...history.count).contains(wanted), wanted != entry else { return }
        if entry == history.count { draft = buffer.text }
        entry = wanted
        buffer = LineBuffer(wanted == history.count ? draft : history[wanted])
    }

    private func redraw() {
        var size = winsize()
        let columns = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
        let (text, cursor) = buffer.window(columns: max(8, columns - prompt.count - 1))
        Self.write("\r\u{1B}[K\(prompt)\(text)\r\u{1B}[\(prompt.count + cursor)C")
    }

    private static func write(_ text: String) { Output.stream(text) }

    // MARK: - Keys

    private enum Key {
        case text(String)
        case enter, interrupt, end, backspace, delete, left, right, home, lineEnd, up, down, cutToEnd, cutToStart
        case cutWord, clear, none
    }

    private static func nextByte() -> UInt8? {
        var byte: UInt8 = 0
        while true {
            let count = Foundation.read(STDIN_FILENO, &byte, 1)
            if count == 1 { return byte }
            if count < 0, errno == EINTR { continue }
            return nil
        }
    }

    private static func nextKey() -> Key? {
        guard let byte = nextByte() else { return nil }
        switch byte {
        case 0x0A, 0x0D: return .enter
        case 1: return .home
        case 2: return .left
        case 3: return .interrupt
        case 4: return .end
        case 5: return .lineEnd
        case 6: return .right
        case 8, 0x7F: return .backspace
        case 0x0B: return .cutToEnd
        case 0x0C: return .clear
        case 0x0E: return .down
        case 0x10: return .up
        case 0x15: return .cutToStart
        case 0x17: return .cutWord
        case 0x1B: return escapeSequence()
        case 9: return .text("\t")
        case 0..<0x20: return Key.none
        default:
            // The rest of a UTF-8 character.
            var bytes = [byte]
            let length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1
            while bytes.count < length, let next = nextByte() { bytes.append(next) }
            return .text(String(decoding: bytes, as: UTF8.self))
        }
    }

    private static func escapeSequence() -> Key? {
        guard let first = nextByte() else { return nil }
        guard first == UInt8(ascii: "[") || first == UInt8(ascii: "O") else { return Key.none }
        var digits: [UInt8] = []
        while let byte = nextByte() {
            if (0x30...0x3B).contains(byte) {
                digits.append(byte)
                continue
            }
            switch byte {
            case UInt8(ascii: "A"): return .up
            case UInt8(ascii: "B"): return .down
            case UInt8(ascii: "C"): return .right
            case UInt8(ascii: "D"): return .left
            case UInt8(ascii: "H"): return .home
            case UInt8(ascii: "F"): return .lineEnd
            case UInt8(ascii: "~"):
                switch String(decoding: digits, as: UTF8.self) {
                case "1", "7": return .home
                case "4", "8": return .lineEnd
                case "3": return .delete
                default: return Key.none
                }
            default: return Key.none
            }
        }
        return nil
    }
}

import Foundation

/// What commands print: results on standard output, everything about them on standard error.
enum Output {
    /// Whether standard error is a terminal, so that a progress line may be redrawn in place.
    static let isInteractive = isatty(STDERR_FILENO) != 0

    static func line(_ text: String = "") {
        print(text)
    }

    /// Text without a line end, written at once: streamed answers.
    static func stream(_ text: String) {
        FileHandle.standardOutput.write(Data(text.utf8))
    }

    static func note(_ text: String) {
        FileHandle.standardError.write(Data((text + "\n").utf8))
    }

    /// Prints a value as JSON, keys sorted.
    static func json(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let data = try encoder.encode(value)
        FileHandle.standardOutput.write(data + Data("\n".utf8))
    }

    /// Columns padded to their widest cell; numbers (cells that start with a digit) to the right.
    static func table(_ header: [String], _ rows: [[String]]) -> String {
        let all = [header] + rows
        let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        func pad(_ cell: String, _ width: Int, right: Bool) -> String {
            let blanks = String(repeating: " ", count: max(0, width - cell.count))
            return right ? blanks + cell : cell + blanks
        }
        let numeric = header.indices.map { column in
            !rows.isEmpty
                && rows.allSatisfy { $0[column].isEmpty || $0[column].first!.isNumber || $0[column].first == "-" }
        }
        func text(_ cells: [String]) -> String {
            cells.indices.map { pad(cells[$0], widths[$0], right: numeric[$0]) }.joined(separator: "  ")
        }
        let rule = widths.map { String(repeating: "─", count: $0) }.joined(separator: "  ")
        return ([text(header), rule] + rows.map(text)).joined(separator: "\n")
    }

    /// 98362432 → "93.8 MiB".
    static func bytes(_ count: Int) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"]
        var value = Double(count)
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return unit == 0 ? "\(count) B" : String(format: "%.1f %@", value, units[unit])
    }

    /// 75.2 s → "1:15".
    static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0 else { return "–" }
        let whole = Int(seconds.rounded())
        if whole >= 3600 {
            return String(format: "%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60)
        }
        return String(format: "%d:%02d", whole / 60, whole % 60)
    }

    static func percent(_ fraction: Double) -> String { String(format: "%.1f %%", fraction * 100) }

    static func milliseconds(_ seconds: Double) -> String { String(format: "%.1f ms", seconds * 1000) }
}

/// A progress line on standard error: redrawn in place on a terminal, a plain line now and then elsewhere.
final class ProgressLine {
    private let clock = ContinuousClock()
    // Where every drawing is a line of its own, the first waits too: short work needs none.
    private var lastDrawn = Output.isInteractive ? nil : ContinuousClock.now
    private var drawnWidth = 0
    private let interval: Duration = Output.isInteractive ? .milliseconds(200) : .seconds(15)

    /// - Parameter force: draw even if the last drawing is recent.
    func update(_ text: @autoclosure () -> String, force: Bool = false) {
        let now = clock.now
        if !force, let lastDrawn, now - lastDrawn < interval { return }
        lastDrawn = now
        let line = text()
        if Output.isInteractive {
            let padding = String(repeating: " ", count: max(0, drawnWidth - line.count))
            FileHandle.standardError.write(Data(("\r" + line + padding).utf8))
            drawnWidth = line.count
        } else {
            Output.note(line)
        }
    }

    /// Ends the line, so that what follows starts on its own.
    func finish() {
        if Output.isInteractive, drawnWidth > 0 { FileHandle.standardError.write(Data("\n".utf8)) }
        drawnWidth = 0
        if Output.isInteractive { lastDrawn = nil }
    }

    /// A bar of `width` cells filled to `fraction`.
    static func bar(_ fraction: Double, width: Int = 24) -> String {
        let filled = Int((max(0, min(1, fraction)) * Double(width)).rounded(.down))
        return String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
    }
}

/// Rows of comma- or tab-separated text, each with the line it began on.
///
/// Commas: RFC 4180. A field in double quotes may hold commas, line ends and doubled quotes. Tabs: no quoting, as spreadsheets
/// and `cut` take them. CRLF, LF and a byte order mark are fine; empty lines are skipped.
public struct DelimitedText: Sendable {
    public struct Row: Sendable, Equatable {
        public let line: Int
        public let fields: [String]
    }

    public let rows: [Row]

    /// - Throws: `TuningError.invalidRow` for text that is not UTF-8, a quote that never ends, or text behind one.
    public init(_ bytes: [UInt8], separator: UInt8, name: String) throws {
        var rows: [Row] = []
        var fields: [String] = []
        var field: [UInt8] = []
        var line = 1
        var rowLine = 1
        var index = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        let quotes = separator == 0x2C
        func fail(_ message: String, _ line: Int) -> TuningError {
            TuningError(code: .invalidRow, message: message, file: name, line: line)
        }
        func endField() throws {
            guard let text = String(validating: field, as: UTF8.self) else {
                throw fail("the text is not UTF-8", rowLine)
            }
            fields.append(text)
            field.removeAll(keepingCapacity: true)
        }
        func endRow() throws {
            try endField()
            if fields != [""] { rows.append(Row(line: rowLine, fields: fields)) }
            fields = []
        }
        while index < bytes.count {
            let byte = bytes[index]
            if quotes, byte == 0x22, field.isEmpty {
                let opened = line
                index += 1
                while true {
                    guard index < bytes.count else { throw fail("a quote opened here never ends", opened) }
                    if bytes[index] == 0x22 {
                        if index + 1 < bytes.count, bytes[index + 1] == 0x22 {
                            field.append(0x22)
                            index += 2
                            continue
                        }
                        index += 1
                        break
                    }
                    if bytes[index] == 0x0A { line += 1 }
                    field.append(bytes[index])
                    index += 1
                }
                guard index == bytes.count || [separator, 0x0A, 0x0D].contains(bytes[index]) else {
                    throw fail("there is text behind a closing quote", line)
                }
                continue
            }
            switch byte {
            case separator: try endField()
            case 0x0A:
                try endRow()
                line += 1
                rowLine = line
            case 0x0D where index + 1 < bytes.count && bytes[index + 1] == 0x0A: break
            default: field.append(byte)
            }
            index += 1
        }
        if !field.isEmpty || !fields.isEmpty { try endRow() }
        self.rows = rows
    }
}

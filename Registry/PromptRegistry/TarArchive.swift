import Foundation

/// Reads the headers of a tar archive one after another.
///
///     offset  size  field              offset  size  field
///     0       100   name               156     1     type: 0 file, 5 folder, x g pax, L GNU long name
///     124     12    size, octal        257     6     "ustar"
///     148     8     checksum           345     155   prefix
struct TarReader {
    struct Entry {
        let name: String
        /// Where its bytes lie in the archive.
        let content: Range<Int>
    }

    private let input: InputFile
    private var position = 0
    private static let block = 512
    /// Long names and pax records beyond this are no honest ones.
    private static let maximumRecord = 1 << 20

    init(_ input: InputFile) { self.input = input }

    /// The next plain file; nil at the end. Folders are passed over.
    ///
    /// - Throws: `.corrupt` for what is damaged or could lead out of the archive.
    mutating func next() throws -> Entry? {
        var longName: String?
        var longSize: Int?
        while true {
            let header = try input.read(Self.block, at: position)
            if header.isEmpty || header.allSatisfy({ $0 == 0 }) { return nil }
            guard header.count == Self.block, Self.hasChecksum(header) else {
                throw failure("has a damaged header at byte \(position); it is no tar archive, or cut off")
            }
            let type = header[156]
            guard var size = Self.number(header[124..<136]) else { throw failure("has a size that is no number") }
            if type == UInt8(ascii: "0") || type == 0, let longSize { size = longSize }
            let start = position + Self.block
            guard size <= input.size - start else {
                throw failure("ends in the middle of a file of \(size) bytes")
            }
            let padded = (size + Self.block - 1) / Self.block * Self.block
            position = start + min(padded, input.size - start)
            switch type {
            case UInt8(ascii: "0"), 0:
                return Entry(name: try checked(longName ?? Self.name(header)), content: start..<(start + size))
            case UInt8(ascii: "5"):
                longName = nil
                longSize = nil
            case UInt8(ascii: "g"): continue
            case UInt8(ascii: "x"):
                for (key, value) in try records(start, size) {
                    if key == "path" { longName = value }
                    if key == "size" {
                        guard let number = Int(value), number >= 0 else {
                            throw failure("has a pax size that is no number")
                        }
                        longSize = number
                    }
                }
            case UInt8(ascii: "L"):
                guard size <= Self.maximumRecord else { throw failure("has a name of \(size) bytes") }
                longName = String(decoding: try input.read(size, at: start).prefix { $0 != 0 }, as: UTF8.self)
            default:
                let kind = String(decoding: [type], as: UTF8.self)
                throw failure(
                    "has a link, device or other entry of type “\(kind)”; a layout has files and folders only")
            }
        }
    }

    /// `<length> <key>=<value>\n`, repeated.
    private func records(_ start: Int, _ size: Int) throws -> [(String, String)] {
        guard size <= Self.maximumRecord else { throw failure("has a pax header of \(size) bytes") }
        var rest = try input.read(size, at: start)[...]
        var result: [(String, String)] = []
        while !rest.isEmpty {
            let digits = rest.prefix { $0 != UInt8(ascii: " ") }
            guard let length = Int(String(decoding: digits, as: UTF8.self)), length > digits.count + 1,
                length <= rest.count
            else { throw failure("has a damaged pax header") }
            let record = rest.prefix(length).dropFirst(digits.count + 1).dropLast()
            if let equals = record.firstIndex(of: UInt8(ascii: "=")) {
                result.append(
                    (
                        String(decoding: record[..<equals], as: UTF8.self),
                        String(decoding: record[record.index(after: equals)...], as: UTF8.self)
                    ))
            }
            rest = rest.dropFirst(length)
        }
        return result
    }

    /// The name without a leading `./`; refused when it is absolute or climbs.
    private func checked(_ name: String) throws -> String {
        var text = name[...]
        while text.hasPrefix("./") { text = text.dropFirst(2) }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard !text.isEmpty, !text.hasPrefix("/"), !parts.contains(".."), !text.utf8.contains(0) else {
            throw failure("has a file whose name leads out of it")
        }
        return String(text)
    }

    private static func name(_ header: [UInt8]) -> String {
        let name = String(decoding: header[0..<100].prefix { $0 != 0 }, as: UTF8.self)
        guard header[257..<262].elementsEqual("ustar".utf8) else { return name }
        let prefix = String(decoding: header[345..<500].prefix { $0 != 0 }, as: UTF8.self)
        return prefix.isEmpty ? name : prefix + "/" + name
    }

    /// Octal digits, or base 256 when the first bit is set.
    private static func number(_ field: ArraySlice<UInt8>) -> Int? {
        if let first = field.first, first & 0x80 != 0 {
            var value = Int(first & 0x7f)
            for byte in field.dropFirst() {
                guard value <= Int.max >> 9 else { return nil }
                value = value << 8 | Int(byte)
            }
            return value
        }
        var value = 0
        var hasDigit = false
        for byte in field {
            if byte == 0x20 || byte == 0 {
                if hasDigit { break }
                continue
            }
            guard (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(byte), value <= Int.max >> 4 else { return nil }
            value = value << 3 | Int(byte - UInt8(ascii: "0"))
            hasDigit = true
        }
        return value
    }

    private static func hasChecksum(_ header: [UInt8]) -> Bool {
        var sum = 0
        for (index, byte) in header.enumerated() { sum += (148..<156).contains(index) ? 0x20 : Int(byte) }
        return number(header[148..<156]) == sum
    }

    private func failure(_ what: String) -> RegistryError {
        RegistryError(.corrupt, "the archive \(what)", path: input.path)
    }
}

/// Writes a tar archive whose bytes depend on names and contents alone: no times, owners or modes of this machine.
struct TarWriter {
    private let output: OutputFile

    init(_ output: OutputFile) { self.output = output }

    /// - Parameter chunks: gives the content, exactly `size` bytes, nil at the end.
    func add(_ name: String, size: Int, _ chunks: () throws -> [UInt8]?) throws {
        var short = name
        if name.utf8.count > 100 {
            // The length counts itself.
            let body = " path=\(name)\n"
            var length = body.utf8.count + 2
            while String(length).utf8.count + body.utf8.count != length {
                length = String(length).utf8.count + body.utf8.count
            }
            let record = Array((String(length) + body).utf8)
            try output.write(Self.header("pax", size: record.count, type: "x"))
            try output.write(Self.padded(record))
            short = String(decoding: name.utf8.suffix(100), as: UTF8.self)
        }
        try output.write(Self.header(short, size: size, type: "0"))
        var count = 0
        while let chunk = try chunks() {
            try output.write(chunk)
            count += chunk.count
        }
        guard count == size else {
            throw RegistryError(.corrupt, "\(name) gave \(count) bytes instead of \(size)", path: output.path)
        }
        let rest = (512 - size % 512) % 512
        if rest > 0 { try output.write([UInt8](repeating: 0, count: rest)) }
    }

    func finish() throws { try output.write([UInt8](repeating: 0, count: 1024)) }

    private static func padded(_ bytes: [UInt8]) -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: (512 - bytes.count % 512) % 512)
    }

    private static func header(_ name: String, size: Int, type: Character) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { bytes[offset + index] = byte }
        }
        func octal(_ value: Int, _ width: Int) -> String {
            let digits = String(value, radix: 8)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        put(name, at: 0)
        put("0000644", at: 100)
        put("0000000", at: 108)
        put("0000000", at: 116)
        put(octal(size, 11), at: 124)
        put("00000000000", at: 136)
        put("        ", at: 148)
        put(String(type), at: 156)
        put("ustar", at: 257)
        put("00", at: 263)
        put(octal(bytes.reduce(0) { $0 + Int($1) }, 6), at: 148)
        bytes[154] = 0
        bytes[155] = 0x20
        return bytes
    }
}

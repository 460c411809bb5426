import ByteIO

/// Entries of a ZIP archive, bounded and checked (PKWARE APPNOTE 6.3).
///
/// Stored, deflated and LZMA entries are known. Encrypted, split and 64-bit archives are refused. Nothing is ever written
/// to a path that an archive names.
struct ZipArchive {
    struct Entry {
        let name: String
        let method: Int
        let crc: UInt32
        let packed: Range<Int>
        let size: Int
    }

    let entries: [Entry]
    private let bytes: [UInt8]
    private let path: String
    /// Largest entry, unpacked.
    static let sizeLimit = 1 << 30

    init(_ bytes: [UInt8], path: String) throws(SoftPromptError) {
        self.bytes = bytes
        self.path = path
        func fail(_ reason: String) -> SoftPromptError { SoftPromptError(.invalidPrompt, reason, path: path) }
        func u16(_ at: Int) -> Int { Int(bytes[at]) | Int(bytes[at + 1]) << 8 }
        func u32(_ at: Int) -> Int { u16(at) | u16(at + 2) << 16 }
        // The end record: 22 bytes and a comment.
        guard bytes.count >= 22 else { throw fail("the file is no ZIP archive") }
        var end = -1
        for at in stride(from: bytes.count - 22, through: max(0, bytes.count - 22 - 65535), by: -1)
        where u32(at) == 0x0605_4B50 {
            end = at
            break
        }
        guard end >= 0 else { throw fail("the file is no ZIP archive, or its end is missing") }
        let count = u16(end + 10)
        var at = u32(end + 16)
        guard u16(end + 4) == 0, u16(end + 8) == count, at != 0xFFFF_FFFF else {
            throw fail("split and 64-bit ZIP archives are not read")
        }
        var entries: [Entry] = []
        for _ in 0..<count {
            guard at + 46 <= end, u32(at) == 0x0201_4B50 else { throw fail("the ZIP directory is damaged") }
            let nameLength = u16(at + 28), next = at + 46 + nameLength + u16(at + 30) + u16(at + 32)
            let local = u32(at + 42), packedSize = u32(at + 20)
            guard next <= end, local + 30 <= bytes.count, u32(local) == 0x0403_4B50 else {
                throw fail("the ZIP directory is damaged")
            }
            guard u16(at + 8) & 1 == 0 else { throw fail("an entry is encrypted") }
            let start = local + 30 + u16(local + 26) + u16(local + 28)
            guard start <= bytes.count, packedSize <= bytes.count - start else {
                throw fail("an entry reaches beyond the file")
            }
            entries.append(
                Entry(
                    name: String(decoding: bytes[at + 46..<at + 46 + nameLength], as: UTF8.self), method: u16(at + 10),
                    crc: UInt32(u32(at + 16)), packed: start..<start + packedSize, size: u32(at + 24)))
            at = next
        }
        self.entries = entries
    }

    /// The unpacked bytes of an entry, checked against its size and checksum.
    func data(of entry: Entry) throws(SoftPromptError) -> [UInt8] {
        func fail(_ reason: String) -> SoftPromptError {
            SoftPromptError(.invalidPrompt, "\(entry.name.quotedForMessage): \(reason)", path: path)
        }
        guard entry.size <= Self.sizeLimit else {
            throw fail("the entry has \(entry.size) bytes, too many for a prompt")
        }
        let packed = Array(bytes[entry.packed])
        let result: [UInt8]?
        switch entry.method {
        case 0: result = packed
        case 8: result = Inflate.unpack(packed, size: entry.size)
        case 14: result = LZMA.unpackZipEntry(packed, size: entry.size)
        default: throw fail("the entry is packed by method \(entry.method); stored, deflate and LZMA are read")
        }
        guard let result, result.count == entry.size, CRC32.checksum(result) == entry.crc else {
            throw fail("the entry is damaged")
        }
        return result
    }
}

/// CRC-32 as ZIP has it.
enum CRC32 {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
    }

    static func checksum(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~0) { crc, byte in crc >> 8 ^ table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] }
    }
}

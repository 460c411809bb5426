import ByteIO

/// A cursor over the fields of one protobuf message (proto2 wire format).
///
/// | wire type | value |
/// | --- | --- |
/// | 0 | varint, at most 10 bytes |
/// | 1 | 8 bytes, little endian |
/// | 2 | varint length, that many bytes |
/// | 5 | 4 bytes, little endian |
///
/// Groups (3 and 4) are refused. Nothing is allocated: nested messages are ranges of the same bytes.
struct ProtobufReader {
    /// One field as it is on the wire.
    enum Value {
        case varint(UInt64)
        case fixed64(UInt64)
        case bytes(UnsafeRawBufferPointer)
        case fixed32(UInt32)
    }

    private var reader: ByteReader
    private let path: String
    /// What the message is, for errors.
    private let name: String

    init(_ bytes: UnsafeRawBufferPointer, name: String, path: String) {
        reader = ByteReader(bytes)
        self.name = name
        self.path = path
    }

    /// The next field, or nil at the end of the message.
    mutating func next() throws -> (field: UInt64, value: Value)? {
        guard reader.remaining > 0 else { return nil }
        let key = try varint()
        let field = key >> 3
        guard field != 0 else { throw failure("field 0 does not exist") }
        do {
            switch key & 7 {
            case 0: return (field, .varint(try varint()))
            case 1: return (field, .fixed64(try reader.read()))
            case 2:
                let length = try varint()
                guard length <= UInt64(reader.remaining) else {
                    throw failure("field \(field) claims \(length) bytes but \(reader.remaining) are left")
                }
                return (field, .bytes(try reader.readBytes(Int(length))))
            case 5: return (field, .fixed32(try reader.read()))
            default: throw failure("field \(field) has the unknown wire type \(key & 7)")
            }
        } catch is ByteIOError {
            throw failure("the message ends within field \(field)")
        }
    }

    private mutating func varint() throws -> UInt64 {
        var result: UInt64 = 0
        for position in 0..<10 {
            guard let byte = try? reader.read(UInt8.self) else { throw failure("the message ends within a number") }
            let bits = UInt64(byte & 0x7F)
            guard position < 9 || bits <= 1 else { throw failure("a number has more than 64 bits") }
            result |= bits << UInt64(7 * position)
            if byte < 0x80 { return result }
        }
        throw failure("a number has more than 10 bytes")
    }

    func failure(_ reason: String) -> ConversionError {
        ConversionError(.malformed, "not a SentencePiece model: in \(name), \(reason)", path: path)
    }
}

/// Collects the fields of a protobuf message.
struct ProtobufWriter {
    private(set) var bytes: [UInt8] = []

    mutating func varint(_ field: UInt64, _ value: UInt64) {
        write(field << 3)
        write(value)
    }

    /// Negative `int32` values take ten bytes, as the format asks.
    mutating func int32(_ field: UInt64, _ value: Int) { varint(field, UInt64(bitPattern: Int64(value))) }

    mutating func float(_ field: UInt64, _ value: Float) {
        write(field << 3 | 5)
        withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func bytes(_ field: UInt64, _ value: some Collection<UInt8>) {
        write(field << 3 | 2)
        write(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    mutating func text(_ field: UInt64, _ value: String) { bytes(field, value.utf8) }

    private mutating func write(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}

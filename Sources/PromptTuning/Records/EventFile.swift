import Foundation

/// Scalars as TensorBoard reads them: an event file of TFRecords.
///
///     record:  u64 length · u32 masked CRC-32C of the length · data · u32 masked CRC-32C of the data   (little-endian)
///     data:    Event { 1: double wall_time, 2: int64 step, 3: string file_version | 5: Summary { 1: Value { 1: tag, 2: float } } }
///
/// Each record is written at once and whole, so that a reader of a growing file sees complete records.
public final class EventFile {
    private let handle: FileHandle
    public let path: String

    /// Starts a file in `folder`.
    ///
    /// - Parameters:
    ///   - time: seconds since 1970; part of the file's name, by which TensorBoard orders files of one run.
    ///   - run: tells files of the same second apart.
    /// - Throws: when the file cannot be made.
    public init(folder: String, time: Double = Date().timeIntervalSince1970, run: String = "incipit") throws {
        path = "\(folder)/events.out.tfevents.\(Int(time)).\(run)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let handle = FileHandle(forWritingAtPath: path)
        else {
            throw TuningError(code: .unreadableFile, message: "the event file cannot be written", file: path)
        }
        self.handle = handle
        var event = Self.double(1, time)
        event += Self.bytes(3, Array("brain.Event:2".utf8))
        try write(event)
    }

    deinit { try? handle.close() }

    /// Adds one value of the curve `tag`.
    public func add(_ tag: String, _ value: Double, step: Int, time: Double = Date().timeIntervalSince1970) throws {
        let entry = Self.bytes(1, Array(tag.utf8)) + [0x15] + Self.littleEndian(Float(value).bitPattern)
        let event =
            Self.double(1, time) + [0x10] + Self.varint(UInt64(bitPattern: Int64(step)))
            + Self.bytes(5, Self.bytes(1, entry))
        try write(event)
    }

    private func write(_ data: [UInt8]) throws {
        try handle.write(contentsOf: Data(Self.record(data)))
    }

    static func record(_ data: [UInt8]) -> [UInt8] {
        let length = littleEndian(UInt64(data.count))
        return length + littleEndian(CRC32C.masked(length)) + data + littleEndian(CRC32C.masked(data))
    }

    private static func double(_ field: UInt8, _ value: Double) -> [UInt8] {
        [field << 3 | 1] + littleEndian(value.bitPattern)
    }

    private static func bytes(_ field: UInt8, _ value: [UInt8]) -> [UInt8] {
        [field << 3 | 2] + varint(UInt64(value.count)) + value
    }

    private static func varint(_ value: UInt64) -> [UInt8] {
        var rest = value
        var result: [UInt8] = []
        while rest >= 0x80 {
            result.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        return result + [UInt8(rest)]
    }

    private static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }
}

/// CRC-32C (Castagnoli), reflected, as RFC 3720 appendix B.4 has it.
public enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
    }

    public static func checksum(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~0) { crc, byte in crc >> 8 ^ table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] }
    }

    /// Turned and moved, as TFRecords store it, so that a checksum of data that holds checksums stays sound.
    static func masked(_ bytes: [UInt8]) -> UInt32 {
        let crc = checksum(bytes)
        return (crc >> 15 | crc << 17) &+ 0xA282_EAD8
    }
}

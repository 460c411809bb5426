/// A bounds-checked cursor over bytes.
///
/// Each read either advances past the whole value or throws and stays where it was. Nothing is aligned; multi-byte
/// integers are little endian unless ``isBigEndian`` is set. The bytes are borrowed: whoever makes a reader keeps their
/// owner alive (``MappedFile``) for as long as the reader is used.
public struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    /// Names the file in errors.
    public let path: String?
    /// The next byte to be read.
    public private(set) var offset: Int
    /// Whether the integers that follow are big endian.
    public var isBigEndian = false

    public init(_ bytes: UnsafeRawBufferPointer, path: String? = nil, offset: Int = 0) {
        precondition(offset >= 0 && offset <= bytes.count)
        self.bytes = bytes
        self.path = path
        self.offset = offset
    }

    public var count: Int { bytes.count }
    public var remaining: Int { bytes.count - offset }

    /// Reads an integer of any width.
    /// - Parameter what: names the field in the error ("tensor count").
    @inlinable
    public mutating func read<T: FixedWidthInteger>(
        _ type: T.Type = T.self, _ what: @autoclosure () -> String = "value"
    ) throws(ByteIOError) -> T {
        let start = try advance(T.bitWidth / 8, what())
        let raw = start.loadUnaligned(as: T.self)
        return isBigEndian ? T(bigEndian: raw) : T(littleEndian: raw)
    }

    /// Reads a float of 4 bytes, bit for bit.
    public mutating func readFloat(_ what: @autoclosure () -> String = "value") throws(ByteIOError) -> Float {
        Float(bitPattern: try read(UInt32.self, what()))
    }

    /// Reads a float of 8 bytes, bit for bit.
    public mutating func readDouble(_ what: @autoclosure () -> String = "value") throws(ByteIOError) -> Double {
        Double(bitPattern: try read(UInt64.self, what()))
    }

    /// Lends the next `count` bytes and advances past them. `count` is compared before anything is added to it.
    public mutating func readBytes(
        _ count: Int, _ what: @autoclosure () -> String = "bytes"
    ) throws(ByteIOError) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: try advance(count, what()), count: count)
    }

    /// Moves to an absolute offset.
    public mutating func seek(to newOffset: Int) throws(ByteIOError) {
        guard newOffset >= 0, newOffset <= bytes.count else {
            throw ByteIOError(
                .outOfBounds, "offset \(newOffset) lies outside the \(bytes.count) bytes there are", path: path,
                offset: offset)
        }
        offset = newOffset
    }

    /// Advances past `count` bytes and gives the address of the first.
    @usableFromInline
    mutating func advance(_ count: Int, _ what: @autoclosure () -> String) throws(ByteIOError) -> UnsafeRawPointer {
        guard count >= 0, count <= bytes.count - offset, let base = bytes.baseAddress else {
            if count == 0 { return UnsafeRawPointer(bitPattern: 1)! }  // Nothing is ever read through it.
            throw ByteIOError(
                .outOfBounds, "\(what()) needs \(count) bytes but only \(remaining) are left", path: path,
                offset: offset)
        }
        let start = base + offset
        offset += count
        return start
    }
}

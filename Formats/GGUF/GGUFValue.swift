import ByteIO

/// The type of a metadata value, with GGUF's numbers.
public enum GGUFValueType: UInt32, Sendable, CaseIterable, CustomStringConvertible {
    case uint8 = 0
    case int8 = 1
    case uint16 = 2
    case int16 = 3
    case uint32 = 4
    case int32 = 5
    case float32 = 6
    case bool = 7
    case string = 8
    case array = 9
    case uint64 = 10
    case int64 = 11
    case float64 = 12

    /// Bytes of a value; nil for strings and arrays, whose size is their own.
    public var fixedSize: Int? {
        switch self {
        case .uint8, .int8, .bool: 1
        case .uint16, .int16: 2
        case .uint32, .int32, .float32: 4
        case .uint64, .int64, .float64: 8
        case .string, .array: nil
        }
    }

    public var description: String {
        switch self {
        case .uint8: "u8"
        case .int8: "i8"
        case .uint16: "u16"
        case .int16: "i16"
        case .uint32: "u32"
        case .int32: "i32"
        case .float32: "f32"
        case .bool: "bool"
        case .string: "string"
        case .array: "array"
        case .uint64: "u64"
        case .int64: "i64"
        case .float64: "f64"
        }
    }
}

/// A string of a GGUF file: bytes that are meant to be, but need not be, UTF-8.
public struct GGUFString: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    public let bytes: [UInt8]

    public init(bytes: [UInt8]) { self.bytes = bytes }
    public init(_ text: String) { bytes = Array(text.utf8) }
    public init(stringLiteral value: String) { self.init(value) }

    /// The text; what is not UTF-8 becomes U+FFFD.
    public var text: String { String(decoding: bytes, as: UTF8.self) }
    /// The text, or nil when the bytes are not UTF-8.
    public var validText: String? { String(validating: bytes, as: UTF8.self) }
    public var description: String { text }
}

/// A metadata value with the exact type it has in the file.
public enum GGUFValue: Hashable, Sendable {
    case uint8(UInt8)
    case int8(Int8)
    case uint16(UInt16)
    case int16(Int16)
    case uint32(UInt32)
    case int32(Int32)
    case float32(Float)
    case bool(Bool)
    case string(GGUFString)
    case array(GGUFArray)
    case uint64(UInt64)
    case int64(Int64)
    case float64(Double)

    public static func text(_ text: String) -> GGUFValue { .string(GGUFString(text)) }

    public var type: GGUFValueType {
        switch self {
        case .uint8: .uint8
        case .int8: .int8
        case .uint16: .uint16
        case .int16: .int16
        case .uint32: .uint32
        case .int32: .int32
        case .float32: .float32
        case .bool: .bool
        case .string: .string
        case .array: .array
        case .uint64: .uint64
        case .int64: .int64
        case .float64: .float64
        }
    }

    /// The type in words: "u32", "array of 12 strings".
    public var typeText: String {
        if case .array(let array) = self { return "array of \(array.count) × \(array.elementType)" }
        return type.description
    }

    /// The value of any integer type that fits an `Int`.
    public var intValue: Int? {
        switch self {
        case .uint8(let value): Int(value)
        case .int8(let value): Int(value)
        case .uint16(let value): Int(value)
        case .int16(let value): Int(value)
        case .uint32(let value): Int(value)
        case .int32(let value): Int(value)
        case .uint64(let value): Int(exactly: value)
        case .int64(let value): Int(exactly: value)
        default: nil
        }
    }

    /// The value of any number.
    public var doubleValue: Double? {
        switch self {
        case .float32(let value): Double(value)
        case .float64(let value): value
        case .uint64(let value): Double(value)
        default: intValue.map { Double($0) }
        }
    }
}

/// An array of a metadata value.
///
/// The elements stay where they are, usually in the mapped file: a vocabulary of 250 000 tokens costs nothing until it
/// is asked for. Copying an array copies a reference.
public struct GGUFArray: Sendable {
    /// Never `array`.
    public let elementType: GGUFValueType
    public let count: Int
    /// The elements in GGUF v3's encoding, little endian: numbers packed, strings with a u64 length before each.
    private let owner: MappedFile
    private let offset: Int
    private let byteCount: Int
    /// Bytes of the elements as GGUF v3 encodes them.
    var encodedByteCount: Int { byteCount }

    /// The caller has checked that `count` elements fill exactly these bytes.
    init(elementType: GGUFValueType, count: Int, owner: MappedFile, offset: Int, byteCount: Int) {
        self.elementType = elementType
        self.count = count
        self.owner = owner
        self.offset = offset
        self.byteCount = byteCount
    }

    /// As above, over bytes of its own.
    init(elementType: GGUFValueType, count: Int, encoded: [UInt8]) {
        self.init(
            elementType: elementType, count: count, owner: MappedFile(bytes: encoded, name: "memory"), offset: 0,
            byteCount: encoded.count)
    }

    /// Lends the elements as they are encoded.
    public func withEncodedBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try withExtendedLifetime(owner) {
            try body(UnsafeRawBufferPointer(rebasing: owner.unsafeBytes[offset..<offset + byteCount]))
        }
    }
}

// MARK: - Making arrays

extension GGUFArray {
    public init(_ values: [GGUFString]) {
        var writer = ByteWriter(capacity: values.reduce(0) { $0 + 8 + $1.bytes.count })
        for value in values {
            writer.write(UInt64(value.bytes.count))
            writer.write(bytes: value.bytes)
        }
        self.init(elementType: .string, count: values.count, encoded: writer.bytes)
    }

    public init(_ values: [String]) { self.init(values.map { GGUFString($0) }) }

    public init(_ values: [Float]) {
        var writer = ByteWriter(capacity: values.count * 4)
        for value in values { writer.write(value) }
        self.init(elementType: .float32, count: values.count, encoded: writer.bytes)
    }

    public init(_ values: [Double]) {
        var writer = ByteWriter(capacity: values.count * 8)
        for value in values { writer.write(value) }
        self.init(elementType: .float64, count: values.count, encoded: writer.bytes)
    }

    public init(_ values: [Bool]) {
        self.init(elementType: .bool, count: values.count, encoded: values.map { $0 ? 1 : 0 })
    }

    public init(_ values: [UInt8]) { self.init(elementType: .uint8, count: values.count, encoded: values) }
    public init(_ values: [Int8]) { self.init(integers: values, .int8) }
    public init(_ values: [UInt16]) { self.init(integers: values, .uint16) }
    public init(_ values: [Int16]) { self.init(integers: values, .int16) }
    public init(_ values: [UInt32]) { self.init(integers: values, .uint32) }
    public init(_ values: [Int32]) { self.init(integers: values, .int32) }
    public init(_ values: [UInt64]) { self.init(integers: values, .uint64) }
    public init(_ values: [Int64]) { self.init(integers: values, .int64) }

    private init<T: FixedWidthInteger>(integers: [T], _ type: GGUFValueType) {
        var writer = ByteWriter(capacity: integers.count * T.bitWidth / 8)
        for value in integers { writer.write(value) }
        self.init(elementType: type, count: integers.count, encoded: writer.bytes)
    }
}

// MARK: - Reading elements

extension GGUFArray {
    /// Calls `body` with the bytes of each string, in order; no string is created.
    /// - Precondition: the elements are strings.
    public func forEachStringBytes(_ body: (UnsafeRawBufferPointer) throws -> Void) rethrows {
        precondition(elementType == .string)
        try withEncodedBytes { bytes in
            var position = 0
            for _ in 0..<count {
                let length = Int(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)))
                let start = position + 8
                try body(UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]))
                position = start + length
            }
        }
    }

    /// The texts of an array of strings, with U+FFFD for what is not UTF-8; nil for other elements.
    public var strings: [String]? {
        guard elementType == .string else { return nil }
        var result: [String] = []
        result.reserveCapacity(count)
        forEachStringBytes { result.append(String(decoding: $0, as: UTF8.self)) }
        return result
    }

    /// The exact bytes of an array of strings; nil for other elements.
    public var stringBytes: [[UInt8]]? {
        guard elementType == .string else { return nil }
        var result: [[UInt8]] = []
        result.reserveCapacity(count)
        forEachStringBytes { result.append(Array($0)) }
        return result
    }

    /// The elements of an array of integers of any width; nil for other elements, or when one does not fit.
    public var ints: [Int]? {
        switch elementType {
        case .uint8: integers(UInt8.self)
        case .int8: integers(Int8.self)
        case .uint16: integers(UInt16.self)
        case .int16: integers(Int16.self)
        case .uint32: integers(UInt32.self)
        case .int32: integers(Int32.self)
        case .uint64: integers(UInt64.self)
        case .int64: integers(Int64.self)
        default: nil
        }
    }

    /// The elements of an array of f32 or f64 (rounded), or of integers; nil for other elements.
    public var floats: [Float]? {
        switch elementType {
        case .float32: loads(UInt32.self).map { Float(bitPattern: $0) }
        case .float64: loads(UInt64.self).map { Float(Double(bitPattern: $0)) }
        default: ints?.map { Float($0) }
        }
    }

    /// The elements of an array of booleans; nil for other elements.
    public var bools: [Bool]? {
        elementType == .bool ? loads(UInt8.self).map { $0 != 0 } : nil
    }

    private func integers<T: FixedWidthInteger>(_ type: T.Type) -> [Int]? {
        var result: [Int] = []
        result.reserveCapacity(count)
        for value in loads(type) {
            guard let fitting = Int(exactly: value) else { return nil }
            result.append(fitting)
        }
        return result
    }

    private func loads<T: FixedWidthInteger>(_ type: T.Type) -> [T] {
        withEncodedBytes { bytes in
            (0..<count).map {
                T(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self))
            }
        }
    }
}

extension GGUFArray: Hashable {
    public static func == (left: GGUFArray, right: GGUFArray) -> Bool {
        left.elementType == right.elementType && left.count == right.count
            && left.withEncodedBytes { a in right.withEncodedBytes { b in a.elementsEqual(b) } }
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(elementType)
        hasher.combine(count)
        withEncodedBytes { hasher.combine(bytes: $0) }
    }
}

import TensorTypes

/// The type of a tensor's values, by the names safetensors uses.
///
/// The order of ``all`` is the format's own, by which its writer sorts tensors (descending).
public struct SafetensorsType: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// "F32", "BF16".
    public let name: String
    /// Bits of a value. A BOOL takes a whole byte.
    public let bits: Int
    let rank: Int

    private init(_ rank: Int, _ name: String, _ bits: Int) {
        self.rank = rank
        self.name = name
        self.bits = bits
    }

    /// Names are matched exactly, with their case.
    public init?(name: String) {
        guard let type = Self.byName[name] else { return nil }
        self = type
    }

    public static let all: [SafetensorsType] = [
        ("BOOL", 8), ("F4", 4), ("F6_E2M3", 6), ("F6_E3M2", 6), ("U8", 8), ("I8", 8), ("F8_E5M2", 8), ("F8_E4M3", 8),
        ("F8_E8M0", 8), ("F8_E4M3FNUZ", 8), ("F8_E5M2FNUZ", 8), ("I16", 16), ("U16", 16), ("F16", 16), ("BF16", 16),
        ("I32", 32), ("U32", 32), ("F32", 32), ("C64", 64), ("F64", 64), ("I64", 64), ("U64", 64),
    ].enumerated().map { SafetensorsType($0.offset, $0.element.0, $0.element.1) }

    private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

    public static let f32 = SafetensorsType(name: "F32")!
    public static let f16 = SafetensorsType(name: "F16")!
    public static let bf16 = SafetensorsType(name: "BF16")!
    public static let bool = SafetensorsType(name: "BOOL")!
    public static let f4 = SafetensorsType(name: "F4")!
    public static let f8E5M2 = SafetensorsType(name: "F8_E5M2")!
    public static let f8E4M3 = SafetensorsType(name: "F8_E4M3")!
    public static let f8E8M0 = SafetensorsType(name: "F8_E8M0")!
    public static let f64 = SafetensorsType(name: "F64")!
    public static let u8 = SafetensorsType(name: "U8")!
    public static let i8 = SafetensorsType(name: "I8")!
    public static let i32 = SafetensorsType(name: "I32")!
    public static let i64 = SafetensorsType(name: "I64")!

    /// The same numbers as a `TensorType`, where there is one.
    public var tensorType: TensorType? {
        switch name {
        case "F32": .f32
        case "F16": .f16
        case "BF16": .bf16
        case "F64": .f64
        case "I8": .i8
        case "I16": .i16
        case "I32": .i32
        case "I64": .i64
        default: nil
        }
    }

    public static func < (left: SafetensorsType, right: SafetensorsType) -> Bool { left.rank < right.rank }
    public var description: String { name }
}

/// A tensor as the header lists it.
public struct SafetensorsTensor: Sendable, Hashable {
    public let name: String
    public let type: SafetensorsType
    /// Row-major: the last dimension is contiguous. A tensor without elements may have dimensions beyond `Int.max`.
    public let shape: [UInt64]
    /// Bytes from the start of the data to the tensor's first byte and past its last.
    public let dataOffsets: Range<Int>
    /// The file of a ``SafetensorsModel`` that the tensor lies in, as position in ``SafetensorsModel/files``.
    public internal(set) var part = 0

    public var byteCount: Int { dataOffsets.count }
    public var elementCount: Int { byteCount * 8 / type.bits }

    /// The shape as `Int`; dimensions beyond `Int.max` are cut to it.
    public var dimensions: [Int] { shape.map { Int(clamping: $0) } }
    /// The shape in words: "20x3072".
    public var shapeText: String { shape.isEmpty ? "scalar" : shape.map(String.init).joined(separator: "x") }
}

/// How the numbers of a tensor lie in memory: one of ggml's types, with its block size and its way in and out.
///
/// A type is a small value; its behaviour comes from one row of ``all``. Adding a type means writing its
/// `BlockFormat` in `Types/` and adding its row.
public struct TensorType: Sendable {
    /// The row in `TensorTypeTable.rows`.
    private let row: UInt8

    private init(row: UInt8) { self.row = row }

    var entry: TensorTypeTable.Row { TensorTypeTable.rows[Int(row)] }

    /// ggml's number, as GGUF stores it.
    public var id: UInt32 { entry.id }
    /// ggml's name: "F32", "Q4_K".
    public var name: String { entry.name }
    /// Values in one block; rows of a tensor are whole blocks.
    public var blockSize: Int { entry.blockSize }
    public var bytesPerBlock: Int { entry.bytesPerBlock }

    /// Nil when ggml never had, or no longer has, a type of this number; see ``removedName(id:)``.
    public init?(id: UInt32) {
        guard let row = TensorTypeTable.rows.firstIndex(where: { $0.id == id }) else { return nil }
        self.init(row: UInt8(row))
    }

    /// Looks a type up by its name, without regard to case.
    public init?(name: String) {
        let wanted = name.uppercased()
        guard let row = TensorTypeTable.rows.firstIndex(where: { $0.name.uppercased() == wanted }) else { return nil }
        self.init(row: UInt8(row))
    }

    /// The name of a type that ggml once had and has removed. Files with it have to be quantized again from the
    /// original.
    public static func removedName(id: UInt32) -> String? { TensorTypeTable.removed[id] }

    /// Every type there is, in order of ``id``.
    public static let all: [TensorType] = TensorTypeTable.rows.indices.map { TensorType(row: UInt8($0)) }
}

extension TensorType {
    public static let f32 = TensorType(id: 0)!
    public static let f16 = TensorType(id: 1)!
    public static let q4_0 = TensorType(id: 2)!
    public static let q4_1 = TensorType(id: 3)!
    public static let q5_0 = TensorType(id: 6)!
    public static let q5_1 = TensorType(id: 7)!
    public static let q8_0 = TensorType(id: 8)!
    public static let q8_1 = TensorType(id: 9)!
    public static let q2_K = TensorType(id: 10)!
    public static let q3_K = TensorType(id: 11)!
    public static let q4_K = TensorType(id: 12)!
    public static let q5_K = TensorType(id: 13)!
    public static let q6_K = TensorType(id: 14)!
    public static let q8_K = TensorType(id: 15)!
    public static let iq2_xxs = TensorType(id: 16)!
    public static let iq2_xs = TensorType(id: 17)!
    public static let iq3_xxs = TensorType(id: 18)!
    public static let iq1_s = TensorType(id: 19)!
    public static let iq4_nl = TensorType(id: 20)!
    public static let iq3_s = TensorType(id: 21)!
    public static let iq2_s = TensorType(id: 22)!
    public static let iq4_xs = TensorType(id: 23)!
    public static let i8 = TensorType(id: 24)!
    public static let i16 = TensorType(id: 25)!
    public static let i32 = TensorType(id: 26)!
    public static let i64 = TensorType(id: 27)!
    public static let f64 = TensorType(id: 28)!
    public static let iq1_m = TensorType(id: 29)!
    public static let bf16 = TensorType(id: 30)!
    public static let tq1_0 = TensorType(id: 34)!
    public static let tq2_0 = TensorType(id: 35)!
    public static let mxfp4 = TensorType(id: 39)!
    public static let nvfp4 = TensorType(id: 40)!
    public static let q1_0 = TensorType(id: 41)!
    public static let q2_0 = TensorType(id: 42)!
}

// MARK: - Sizes

extension TensorType {
    /// Whether blocks share a scale, as opposed to plain numbers.
    public var isQuantized: Bool { blockSize > 1 }

    /// Whether this is F32, F16 or BF16: floats whose values F32 holds exactly.
    public var isFloatWithinF32: Bool { self == .f32 || self == .f16 || self == .bf16 }

    /// Bits per value, block scales included.
    public var bitsPerValue: Double { Double(bytesPerBlock * 8) / Double(blockSize) }

    /// Bytes of `count` values; nil unless that is a whole number of blocks and does not overflow.
    public func byteCount(elements count: Int) -> Int? {
        guard count >= 0, count % blockSize == 0 else { return nil }
        let (bytes, overflow) = (count / blockSize).multipliedReportingOverflow(by: bytesPerBlock)
        return overflow ? nil : bytes
    }
}

// MARK: - Values in and out

extension TensorType {
    /// Whether ``decode(_:into:)`` may be called.
    public var isDecodable: Bool { entry.format != nil }
    /// Throws what to tell the user when tensors of this type cannot be turned into numbers here.
    public func requireDecodable(tensor: String? = nil) throws(TensorTypeError) {
        guard !isDecodable else { return }
        throw TensorTypeError(
            .notDecodable,
            "tensor type \(name) can be listed but not read by this version; "
                + "use a file quantized to one of \(Self.all.filter(\.isDecodable).map(\.name).joined(separator: ", "))",
            tensor: tensor)
    }

    /// Turns whole blocks into floats.
    ///
    /// Follows ggml's arithmetic in F32 to the last bit. NaN and infinity in a block's scale spread to its values.
    /// Integers and F64 are rounded to the nearest float.
    /// - Parameters:
    ///   - source: whole blocks of this type, with any alignment.
    ///   - destination: room for `source.count / bytesPerBlock * blockSize` floats or more.
    /// - Precondition: ``isDecodable``, and the sizes fit.
    public func decode(_ source: UnsafeRawBufferPointer, into destination: UnsafeMutableBufferPointer<Float>) {
        let entry = entry
        guard let format = entry.format else { preconditionFailure("\(entry.name) is not decodable") }
        let (blocks, rest) = source.count.quotientAndRemainder(dividingBy: entry.bytesPerBlock)
        precondition(rest == 0, "the source is not whole blocks")
        precondition(blocks * entry.blockSize <= destination.count, "the destination is too small")
        guard blocks > 0 else { return }
        format.decode(source.baseAddress!, blockCount: blocks, into: destination.baseAddress!)
    }

    /// Decodes into a new array.
    /// - Throws: ``TensorTypeError`` when the type is not decodable or the bytes are not whole blocks.
    public func decoded(_ source: UnsafeRawBufferPointer) throws(TensorTypeError) -> [Float] {
        try requireDecodable()
        guard source.count % bytesPerBlock == 0 else {
            throw TensorTypeError(
                .partialBlock, "\(source.count) bytes are not whole \(name) blocks of \(bytesPerBlock)")
        }
        let count = source.count / bytesPerBlock * blockSize
        return [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            decode(source, into: buffer)
            initialized = count
        }
    }
}

extension TensorType: Hashable, CustomStringConvertible {
    public var description: String { name }
}

import OCIArtifacts

/// Compresses a safetensors file tensor by tensor: the sign of each number is moved behind its mantissa, so that the exponent
/// fills the top byte; then the bytes are split into planes, and each is stored as suits it.
///
/// A trained number's mantissa is noise, and stays raw; its exponent is not, and ``ContextCoder`` codes the plane of
/// exponents by what stands above it in the column. Planes that repeat themselves (numbers that were rounded before) go
/// through zstd.
///
/// Little-endian layout:
///
///     offset  size  field
///     0       4     "IPR1"
///     4       8     uncompressed size of the whole
///     12      4     number of segments
///     16      …     per segment: width of an element (1 byte), form (1), elements in a row (4), uncompressed size (8, a
///                   multiple of width), then per plane (width of them): method (1: 0 raw, 1 zstd, 2 contexts), stored size (8)
///     …       …     the planes' stored bytes, in the same order, least byte first
///
/// Segment 0 is the safetensors header; the others are tensors in the order of their bytes.
enum FloatPlanes {
    private static let magic: [UInt8] = Array("IPR1".utf8)

    /// What the elements of a segment are.
    private enum Form: UInt8 {
        case bytes = 0
        /// F32 and BF16: 8 bits of exponent.
        case exponentOfEight = 1
        /// F16: 5 bits of exponent.
        case exponentOfFive = 2
        /// I8: signed codes.
        case codes = 3

        /// By name of the safetensors type; nil for those that are bytes, or words of several.
        static func of(_ type: String) -> Form? {
            switch type {
            case "F32", "BF16": .exponentOfEight
            case "F16": .exponentOfFive
            case "I8": .codes
            default: nil
            }
        }

        /// How the top plane tells the size of numbers.
        var level: ContextCoder.Level? {
            switch self {
            case .bytes: nil
            case .exponentOfEight: .whole
            case .exponentOfFive: .upperFive
            case .codes: .magnitude
            }
        }

        /// Whether elements are rotated by a bit, sign last.
        var isRotated: Bool { self == .exponentOfEight || self == .exponentOfFive }
    }

    private struct Segment {
        var width: Int
        var form = Form.bytes
        var columns = 1
        var size: Int
    }

    private static let widths: [String: Int] = [
        "F64": 8, "I64": 8, "U64": 8, "C64": 4, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    ]

    // MARK: - Encoding

    /// The compressed form; nil when `bytes` are no safetensors file or nothing is gained.
    static func encode(_ bytes: [UInt8]) throws -> [UInt8]? {
        guard let segments = segments(of: bytes) else { return nil }
        var table: [UInt8] = magic
        append(UInt64(bytes.count), to: &table)
        append(UInt32(segments.count), to: &table)
        var payload: [UInt8] = []
        payload.reserveCapacity(bytes.count)
        let level: Int32 = bytes.count > 16 << 20 ? 3 : 19
        var start = 0
        for segment in segments {
            table += [UInt8(segment.width), segment.form.rawValue]
            append(UInt32(segment.columns), to: &table)
            append(UInt64(segment.size), to: &table)
            let planes = Planes.split(
                bytes[start..<(start + segment.size)], width: segment.width, isRotated: segment.form.isRotated)
            for (index, plane) in planes.enumerated() {
                let isTop = index == segment.width - 1
                let (method, stored) = try pack(
                    plane, columns: segment.columns, isTop ? segment.form.level : nil, zstdLevel: level)
                table.append(method)
                append(UInt64(stored.count), to: &table)
                payload += stored
            }
            start += segment.size
        }
        guard table.count + payload.count < bytes.count else { return nil }
        return table + payload
    }

    /// The smallest form of a plane. Noise, as low mantissa bytes are, is seen by a quick try.
    private static func pack(
        _ plane: [UInt8], columns: Int, _ level: ContextCoder.Level?, zstdLevel: Int32
    ) throws -> (method: UInt8, stored: [UInt8]) {
        var best: (method: UInt8, stored: [UInt8]) = (0, plane)
        let quick = try plane.withUnsafeBytes { try Zstd.compress($0, level: 1) }
        if quick.count < plane.count - plane.count / 200 {
            let packed = try plane.withUnsafeBytes { try Zstd.compress($0, level: zstdLevel) }
            if packed.count < best.stored.count { best = (1, packed) }
        }
        if let level, let coded = ContextCoder.encode(plane, columns: columns, level: level),
            coded.count < best.stored.count
        {
            best = (2, coded)
        }
        return best
    }

    /// The file cut into its header and its tensors; nil when it is not well-formed safetensors.
    private static func segments(of bytes: [UInt8]) -> [Segment]? {
        guard bytes.count > 8, bytes[8] == UInt8(ascii: "{") else { return nil }
        let headerSize = bytes[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard headerSize <= UInt64(min(bytes.count - 8, 16 << 20)) else { return nil }
        let dataStart = 8 + Int(headerSize)
        // More tensors than a prompt ever has: not worth looking at each.
        guard let members = (try? JSONNode.parse(Array(bytes[8..<dataStart])))?.object, members.count <= 4096 else {
            return nil
        }
        var tensors: [(start: Int, segment: Segment)] = []
        for (name, entry) in members where name != "__metadata__" {
            guard let type = entry["dtype"]?.string, let offsets = entry["data_offsets"]?.array, offsets.count == 2,
                let lower = offsets[0].integer, let upper = offsets[1].integer,
                lower >= 0, upper >= lower, upper <= bytes.count - dataStart
            else { return nil }
            let width = widths[type] ?? 1
            guard (upper - lower) % width == 0 else {
                tensors.append((dataStart + lower, Segment(width: 1, size: upper - lower)))
                continue
            }
            let last = entry["shape"]?.array?.last?.integer ?? 1
            let columns = (1...(1 << 24)).contains(last) ? last : 1
            tensors.append(
                (
                    dataStart + lower,
                    Segment(width: width, form: Form.of(type) ?? .bytes, columns: columns, size: upper - lower)
                ))
        }
        tensors.sort { ($0.start, $0.segment.size) < ($1.start, $1.segment.size) }
        var result = [Segment(width: 1, size: dataStart)]
        var position = dataStart
        for (start, segment) in tensors where segment.size > 0 {
            guard start >= position else { return nil }
            if start > position { result.append(Segment(width: 1, size: start - position)) }
            result.append(segment)
            position = start + segment.size
        }
        if position < bytes.count { result.append(Segment(width: 1, size: bytes.count - position)) }
        return result
    }

    private static func append<T: FixedWidthInteger>(_ value: T, to bytes: inout [UInt8]) {
        for shift in 0..<(T.bitWidth / 8) { bytes.append(UInt8(truncatingIfNeeded: value >> (shift * 8))) }
    }

    // MARK: - Decoding

    /// Exactly `size` bytes, nil when `stored` is damaged or says otherwise. Every count is compared with what is there
    /// before anything is allocated.
    static func decode(_ stored: [UInt8], size: Int) -> [UInt8]? {
        var reader = LittleEndianReader(bytes: stored)
        guard reader.take(4) == magic[...], reader.integer(8) == size, let count = reader.integer(4),
            count <= stored.count / 23
        else { return nil }
        var table: [(segment: Segment, planes: [(method: Int, size: Int)])] = []
        var total = 0
        for _ in 0..<count {
            guard let width = reader.integer(1), (1...8).contains(width), let code = reader.integer(1),
                let form = UInt8(exactly: code).flatMap(Form.init), !form.isRotated || width == 2 || width == 4,
                let columns = reader.integer(4), columns >= 1, let length = reader.integer(8), length % width == 0,
                length <= size - total
            else { return nil }
            total += length
            var planes: [(method: Int, size: Int)] = []
            for _ in 0..<width {
                guard let method = reader.integer(1), let planeSize = reader.integer(8), planeSize <= stored.count
                else { return nil }
                planes.append((method, planeSize))
            }
            table.append((Segment(width: width, form: form, columns: columns, size: length), planes))
        }
        guard total == size else { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(size)
        for (segment, planes) in table {
            let elements = segment.size / segment.width
            var parts: [[UInt8]] = []
            for (method, planeSize) in planes {
                guard let packed = reader.take(planeSize) else { return nil }
                let part: [UInt8]?
                switch method {
                case 0: part = Array(packed)
                case 1: part = Codec.zstd.decode(Array(packed), elements)
                case 2:
                    part = segment.form.level.flatMap {
                        ContextCoder.decode(packed, count: elements, columns: segment.columns, level: $0)
                    }
                default: part = nil
                }
                guard let part, part.count == elements else { return nil }
                parts.append(part)
            }
            Planes.join(parts, isRotated: segment.form.isRotated, into: &result)
        }
        return reader.isAtEnd ? result : nil
    }
}

/// Bytes of equal place in elements of several bytes, put together and taken apart.
private enum Planes {
    /// One plane for each byte of an element, least first.
    ///
    /// - Parameter isRotated: rotate each element left by a bit first: the sign goes last. For widths 2 and 4.
    static func split(_ bytes: ArraySlice<UInt8>, width: Int, isRotated: Bool) -> [[UInt8]] {
        let elements = bytes.count / width
        return bytes.withUnsafeBufferPointer { source in
            (0..<width).map { plane in
                [UInt8](unsafeUninitializedCapacity: elements) { out, written in
                    // Bit 7 of the byte below moves into bit 0; into that of the least byte the sign.
                    let below = plane == 0 ? width - 1 : plane - 1
                    for index in 0..<elements {
                        let byte = source[index * width + plane]
                        out[index] = isRotated ? byte << 1 | source[index * width + below] >> 7 : byte
                    }
                    written = elements
                }
            }
        }
    }

    /// Appends the elements that the planes are of.
    static func join(_ planes: [[UInt8]], isRotated: Bool, into result: inout [UInt8]) {
        let width = planes.count
        let elements = planes[0].count
        result += [UInt8](unsafeUninitializedCapacity: width * elements) { out, written in
            for plane in 0..<width {
                let above = plane == width - 1 ? 0 : plane + 1
                planes[plane].withUnsafeBufferPointer { own in
                    planes[above].withUnsafeBufferPointer { other in
                        for index in 0..<elements {
                            out[index * width + plane] =
                                isRotated ? own[index] >> 1 | other[index] << 7 : own[index]
                        }
                    }
                }
            }
            written = width * elements
        }
    }
}

/// Reads numbers off stored bytes; nil past their end.
struct LittleEndianReader {
    let bytes: [UInt8]
    private var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count }

    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count <= bytes.count - position else { return nil }
        defer { position += count }
        return bytes[position..<position + count]
    }

    mutating func integer(_ width: Int) -> Int? {
        guard let part = take(width) else { return nil }
        let value = part.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return Int(exactly: value)
    }
}

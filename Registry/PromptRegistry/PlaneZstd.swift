import OCIArtifacts

/// Compresses a safetensors file by splitting each tensor into byte planes and compressing each plane alone.
///
/// Trained floats have noisy low mantissa bytes and repetitive exponents. Side by side the noise hides the pattern;
/// a plane of exponent bytes alone compresses, and the mantissa planes stay raw. Measured on normal data: F32 1.20×,
/// F16 1.18×, BF16 1.50×, where plain zstd reaches 1.08×, 1.09× and 1.28×.
///
/// Little-endian layout:
///
///     offset  size  field
///     0       4     "IPZ1"
///     4       8     uncompressed size of the whole
///     12      4     number of segments
///     16      …     per segment: width (1 byte), uncompressed size (8, a multiple of width),
///                   then per plane (width of them): method (1 byte: 0 raw, 1 zstd), stored size (8)
///     …       …     the planes' stored bytes, in the same order
///
/// Segment 0 is the safetensors header (width 1, raw); the others are runs of tensors whose elements have `width` bytes.
enum PlaneZstd {
    private static let magic: [UInt8] = Array("IPZ1".utf8)
    /// Bytes per element of the safetensors types that have more than one.
    private static let widths: [String: Int] = [
        "F64": 8, "I64": 8, "U64": 8, "C64": 4, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    ]

    private struct Segment {
        let width: Int
        var size: Int
    }

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
        for (index, segment) in segments.enumerated() {
            table.append(UInt8(segment.width))
            append(UInt64(segment.size), to: &table)
            for plane in 0..<segment.width {
                let part = gather(bytes, start: start, count: segment.size, plane: plane, width: segment.width)
                let packed = index == 0 ? nil : try pack(part, level: level)
                let isPacked = packed.map { $0.count < part.count } ?? false
                let stored = isPacked ? packed ?? part : part
                table.append(isPacked ? 1 : 0)
                append(UInt64(stored.count), to: &table)
                payload += stored
            }
            start += segment.size
        }
        guard table.count + payload.count < bytes.count else { return nil }
        return table + payload
    }

    /// A plane compressed; nil when a quick try says that it is noise, as low mantissa bytes are.
    private static func pack(_ plane: [UInt8], level: Int32) throws -> [UInt8]? {
        let quick = try plane.withUnsafeBytes { try Zstd.compress($0, level: 1) }
        guard quick.count < plane.count - plane.count / 200 else { return nil }
        return try plane.withUnsafeBytes { try Zstd.compress($0, level: level) }
    }

    /// The file cut into its header and runs of equal element width; nil when it is not well-formed safetensors.
    private static func segments(of bytes: [UInt8]) -> [Segment]? {
        guard bytes.count > 8, bytes[8] == UInt8(ascii: "{") else { return nil }
        let headerSize = (0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[$1]) }
        guard headerSize <= UInt64(min(bytes.count - 8, 16 << 20)) else { return nil }
        let dataStart = 8 + Int(headerSize)
        guard let header = try? JSONNode.parse(Array(bytes[8..<dataStart])), let members = header.object else {
            return nil
        }
        var runs: [(range: Range<Int>, width: Int)] = []
        for (name, entry) in members where name != "__metadata__" {
            guard let dtype = entry["dtype"]?.string, let offsets = entry["data_offsets"]?.array, offsets.count == 2,
                let lower = offsets[0].integer, let upper = offsets[1].integer,
                lower >= 0, upper >= lower, upper <= bytes.count - dataStart
            else { return nil }
            let width = widths[dtype] ?? 1
            runs.append((dataStart + lower..<dataStart + upper, (upper - lower) % width == 0 ? width : 1))
        }
        runs.sort { $0.range.lowerBound < $1.range.lowerBound }
        var result = [Segment(width: 1, size: dataStart)]
        var position = dataStart
        func add(_ size: Int, _ width: Int) {
            guard size > 0 else { return }
            if result.count > 1, result[result.count - 1].width == width {
                result[result.count - 1].size += size
            } else {
                result.append(Segment(width: width, size: size))
            }
        }
        for run in runs {
            guard run.range.lowerBound >= position else { return nil }
            add(run.range.lowerBound - position, 1)
            add(run.range.count, run.width)
            position = run.range.upperBound
        }
        add(bytes.count - position, 1)
        return result
    }

    private static func gather(_ bytes: [UInt8], start: Int, count: Int, plane: Int, width: Int) -> [UInt8] {
        let elements = count / width
        return [UInt8](unsafeUninitializedCapacity: elements) { out, written in
            bytes.withUnsafeBufferPointer { source in
                var from = start + plane
                for index in 0..<elements {
                    out[index] = source[from]
                    from += width
                }
            }
            written = elements
        }
    }

    private static func append<T: FixedWidthInteger>(_ value: T, to bytes: inout [UInt8]) {
        for shift in 0..<(T.bitWidth / 8) { bytes.append(UInt8(truncatingIfNeeded: value >> (shift * 8))) }
    }

    // MARK: - Decoding

    /// Exactly `size` bytes, nil when `stored` is damaged or says otherwise. Every count is compared with what is there
    /// before anything is allocated.
    static func decode(_ stored: [UInt8], size: Int) -> [UInt8]? {
        var reader = Reader(bytes: stored)
        guard reader.take(4) == magic[...], reader.integer(8) == size, let count = reader.integer(4),
            count <= stored.count / 18
        else { return nil }
        var planes: [(segment: Int, plane: Int, isPacked: Bool, size: Int)] = []
        var segments: [Segment] = []
        var total = 0
        for index in 0..<count {
            guard let width = reader.integer(1), (1...8).contains(width), let length = reader.integer(8),
                length % width == 0, length <= size - total
            else { return nil }
            total += length
            segments.append(Segment(width: width, size: length))
            for plane in 0..<width {
                guard let method = reader.integer(1), method <= 1, let storedSize = reader.integer(8),
                    storedSize <= stored.count
                else { return nil }
                planes.append((index, plane, method == 1, storedSize))
            }
        }
        guard total == size else { return nil }
        var result = [UInt8](repeating: 0, count: size)
        var start = 0
        var current = 0
        for plane in planes {
            while current < plane.segment {
                start += segments[current].size
                current += 1
            }
            let segment = segments[plane.segment]
            let elements = segment.size / segment.width
            guard let packed = reader.take(plane.size) else { return nil }
            var part = Array(packed)
            if plane.isPacked {
                guard let bytes = Codec.zstd.decode(part, elements) else { return nil }
                part = bytes
            }
            guard part.count == elements else { return nil }
            scatter(part, into: &result, start: start + plane.plane, width: segment.width)
        }
        return reader.isAtEnd ? result : nil
    }

    private static func scatter(_ part: [UInt8], into result: inout [UInt8], start: Int, width: Int) {
        part.withUnsafeBufferPointer { source in
            result.withUnsafeMutableBufferPointer { out in
                var to = start
                for index in 0..<source.count {
                    out[to] = source[index]
                    to += width
                }
            }
        }
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0

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
}

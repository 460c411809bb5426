/// Reads safetensors files that earlier versions stored as byte planes, each compressed alone. ``FloatPlanes`` took its
/// place.
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
    private struct Segment {
        let width: Int
        let size: Int
    }

    /// Exactly `size` bytes, nil when `stored` is damaged or says otherwise. Every count is compared with what is there
    /// before anything is allocated.
    static func decode(_ stored: [UInt8], size: Int) -> [UInt8]? {
        var reader = LittleEndianReader(bytes: stored)
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
}

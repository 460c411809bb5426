/// How a blob's bytes lie on disk. Digests are always over the uncompressed bytes, so a codec can change at any time
/// without changing an identity.
///
/// A codec is a value that carries its behaviour; ``all`` is the list, and ids are stored in the catalogue: never
/// reuse one.
public struct Codec: Sendable {
    public let id: Int
    public let name: String
    /// The bytes to store, nil when this codec does not apply or gains nothing.
    let encode: @Sendable ([UInt8]) throws -> [UInt8]?
    /// Exactly `size` bytes again, nil when `stored` is damaged. Allocates `size` bytes and no more.
    let decode: @Sendable (_ stored: [UInt8], _ size: Int) -> [UInt8]?

    /// As they are.
    public static let raw = Codec(
        id: 0, name: "raw", encode: { $0 }, decode: { stored, size in stored.count == size ? stored : nil })

    /// One zstd frame; kept when it saves at least 5 %.
    public static let zstd = Codec(
        id: 1, name: "zstd",
        encode: { bytes in
            // A quick look first: most of what is pushed is noise or compressed already, and level 19 takes a hundred
            // times as long to find that out.
            let quick = try bytes.withUnsafeBytes { try Zstd.compress($0, level: 1) }
            guard quick.count <= bytes.count - bytes.count / 50 else { return nil }
            let stored = try bytes.withUnsafeBytes { try Zstd.compress($0, level: $0.count > 4 << 20 ? 3 : 19) }
            return stored.count <= bytes.count - bytes.count / 20 ? stored : nil
        },
        decode: { stored, size in
            var isWhole = false
            let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
                isWhole = stored.withUnsafeBytes { Zstd.decompress($0, into: UnsafeMutableRawBufferPointer(buffer)) }
                count = isWhole ? size : 0
            }
            return isWhole ? bytes : nil
        })

    /// Safetensors as byte planes, each through zstd: what ``planeContexts`` came from. Read, no longer written.
    public static let planeZstd = Codec(
        id: 2, name: "plane-zstd", encode: { _ in nil },
        decode: { stored, size in PlaneZstd.decode(stored, size: size) })

    /// Safetensors as byte planes, exponents by their columns: see ``FloatPlanes``.
    public static let planeContexts = Codec(
        id: 3, name: "plane-contexts", encode: { try FloatPlanes.encode($0) },
        decode: { stored, size in FloatPlanes.decode(stored, size: size) })

    public static let all: [Codec] = [raw, zstd, planeZstd, planeContexts]

    static func named(id: Int) -> Codec? { all.first { $0.id == id } }

    /// Blobs above this many bytes are stored raw, so that no codec ever holds more than this in memory.
    static let largestInput = 64 << 20

    /// The codec that suits `bytes`, and what it makes of them.
    static func encodeBest(_ bytes: [UInt8]) throws -> (codec: Codec, stored: [UInt8]) {
        guard bytes.count <= largestInput, bytes.count >= 64 else { return (.raw, bytes) }
        for codec in [planeContexts, zstd] {
            if let stored = try codec.encode(bytes), stored.count < bytes.count { return (codec, stored) }
        }
        return (.raw, bytes)
    }
}

import TestSupport
import Testing

@testable import PromptRegistry

@Suite struct CodecTests {
    /// A safetensors file with one tensor of normal values (Box-Muller on deterministic noise).
    static func safetensors(_ dtype: String, rows: Int, columns: Int) -> [UInt8] {
        var state: UInt64 = 88_172_645_463_325_252
        func uniform() -> Double {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Double(state >> 11) / Double(1 << 53)
        }
        var data: [UInt8] = []
        for _ in 0..<rows * columns {
            let normal = (-2 * _log(max(uniform(), 1e-12))).squareRoot() * _cos(2 * .pi * uniform())
            let value = Float(normal * 0.05)
            switch dtype {
            case "F32": withUnsafeBytes(of: value.bitPattern.littleEndian) { data += $0 }
            case "F16": withUnsafeBytes(of: half(value).littleEndian) { data += $0 }
            default: withUnsafeBytes(of: UInt16(value.bitPattern >> 16).littleEndian) { data += $0 }
            }
        }
        let header = Array(
            #"{"prompt_embeddings":{"dtype":"\#(dtype)","shape":[\#(rows),\#(columns)],"data_offsets":[0,\#(data.count)]}}"#
                .utf8)
        return (0..<8).map { UInt8(truncatingIfNeeded: header.count >> ($0 * 8)) } + header + data
    }

    /// Truncating conversion; exact enough for statistics.
    private static func half(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        let exponent = Int(bits >> 23 & 0xff) - 127 + 15
        guard exponent > 0 else { return UInt16(bits >> 16 & 0x8000) }
        return UInt16(bits >> 16 & 0x8000) | UInt16(exponent) << 10 | UInt16(bits >> 13 & 0x3ff)
    }

    private static func _log(_ x: Double) -> Double {
        // Range reduction and a series: no Foundation needed.
        var mantissa = x
        var exponent = 0.0
        while mantissa < 0.75 {
            mantissa *= 2
            exponent -= 1
        }
        let y = (mantissa - 1) / (mantissa + 1)
        var term = y
        var sum = 0.0
        for k in stride(from: 1.0, to: 40, by: 2) {
            sum += term / k
            term *= y * y
        }
        return 2 * sum + exponent * 0.693_147_180_559_945_3
    }

    private static func _cos(_ x: Double) -> Double {
        var reduced = x
        while reduced > .pi { reduced -= 2 * .pi }
        var term = 1.0
        var sum = 0.0
        for k in stride(from: 1.0, to: 30, by: 2) {
            sum += term
            term *= -reduced * reduced / (k * (k + 1))
        }
        return sum
    }

    @Test(arguments: [("F32", 1.1), ("F16", 1.1), ("BF16", 1.3)])
    func bytePlanesBeatTheirTarget(dtype: String, atLeast: Double) throws {
        let bytes = Self.safetensors(dtype, rows: 20, columns: 576)
        let (codec, stored) = try Codec.encodeBest(bytes)
        #expect(codec.name == "plane-zstd")
        #expect(codec.decode(stored, bytes.count) == bytes)
        let ratio = Double(bytes.count) / Double(stored.count)
        print("plane-zstd, 20x576 \(dtype), normal: \(ratio)")
        #expect(ratio >= atLeast)
    }

    @Test func randomBytesStayRaw() throws {
        let bytes = RegistryStoreChecks.noise(100_000, seed: 3)
        let (codec, stored) = try Codec.encodeBest(bytes)
        #expect(codec.name == "raw" && stored == bytes)
    }

    @Test func textIsCompressed() throws {
        let bytes = Array(String(repeating: #"{"step":1,"loss":2.5}"#, count: 500).utf8)
        let (codec, stored) = try Codec.encodeBest(bytes)
        #expect(codec.name == "zstd" && stored.count < bytes.count / 10)
        #expect(codec.decode(stored, bytes.count) == bytes)
    }

    @Test(arguments: [
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F16","shape":[3],"data_offsets":[4,10]}}"#,
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,7]}}"#,
        #"{"a":{"dtype":"?","shape":[1],"data_offsets":[2,9]}}"#,
        #"{"__metadata__":{"format":"pt"}}"#,
        #"{"a":{"dtype":"F32","data_offsets":[0,4]},"b":{"dtype":"F32","data_offsets":[2,6]}}"#,
        #"{"a":{"dtype":"F32","data_offsets":[0,99999999]}}"#, #"{"a":{"dtype":"F32","data_offsets":[-4,4]}}"#, "{",
        "{}",
    ])
    func oddFilesRoundTrip(header: String) throws {
        let head = Array(header.utf8)
        var bytes = (0..<8).map { UInt8(truncatingIfNeeded: head.count >> ($0 * 8)) } + head
        bytes += [UInt8](repeating: 7, count: 400)
        let (codec, stored) = try Codec.encodeBest(bytes)
        #expect(codec.decode(stored, bytes.count) == bytes)
    }

    @Test func damagedFormsAreRefusedWithinBounds() throws {
        let bytes = Self.safetensors("F32", rows: 4, columns: 64)
        let stored = try #require(try PlaneZstd.encode(bytes))
        #expect(PlaneZstd.decode(stored, size: bytes.count) == bytes)
        #expect(PlaneZstd.decode(stored, size: bytes.count + 1) == nil)
        for cut in [0, 3, 12, 16, 40, stored.count - 1] {
            #expect(PlaneZstd.decode(Array(stored[..<cut]), size: bytes.count) == nil)
        }
        // Every single-byte change of the table either fails or gives some bytes of the right size; it never traps.
        for position in 0..<min(stored.count, 120) {
            var changed = stored
            changed[position] ^= 0xff
            let result = PlaneZstd.decode(changed, size: bytes.count)
            #expect(result == nil || result?.count == bytes.count)
        }
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        let bomb = try zeros.withUnsafeBytes { try Zstd.compress($0, level: 3) }
        #expect(Codec.zstd.decode(bomb, 1000) == nil)
    }
}

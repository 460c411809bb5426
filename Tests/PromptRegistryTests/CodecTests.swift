import Foundation
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

    /// Normal values have no columns to learn from, so this is what exponents alone give: their order-0 entropy is
    /// 1.21, 1.19 and 1.52.
    @Test(arguments: [("F32", 1.195), ("F16", 1.175), ("BF16", 1.50)])
    func bytePlanesBeatTheirTarget(dtype: String, atLeast: Double) throws {
        let bytes = Self.safetensors(dtype, rows: 20, columns: 576)
        let (codec, stored) = try Codec.encodeBest(bytes)
        #expect(codec.name == "plane-contexts")
        #expect(codec.decode(stored, bytes.count) == bytes)
        let ratio = Double(bytes.count) / Double(stored.count)
        #expect(ratio >= atLeast, "\(dtype): \(ratio)")
    }

    /// Trained prompts have columns of different size; coding by the column must gain by it.
    @Test(arguments: ["F32", "F16", "BF16", "I8"]) func columnsOfDifferentSizeHelp(dtype: String) throws {
        let (rows, columns) = (40, 512)
        var draw: UInt64 = 9
        func uniform() -> Float {
            draw = draw &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Float(draw >> 40) / Float(1 << 24)
        }
        let scales = (0..<columns).map { _ in Float(1) / Float(1 << Int(uniform() * 8)) }
        var data: [UInt8] = []
        for index in 0..<(rows * columns) {
            let value = (uniform() + uniform() + uniform() - 1.5) * scales[index % columns]
            switch dtype {
            case "F32": withUnsafeBytes(of: value.bitPattern.littleEndian) { data += $0 }
            case "F16": withUnsafeBytes(of: Self.half(value).littleEndian) { data += $0 }
            case "BF16": withUnsafeBytes(of: UInt16(value.bitPattern >> 16).littleEndian) { data += $0 }
            default: data.append(UInt8(bitPattern: Int8((value * 80).rounded())))
            }
        }
        let header = Array(
            #"{"a":{"dtype":"\#(dtype)","shape":[\#(rows),\#(columns)],"data_offsets":[0,\#(data.count)]}}"#.utf8)
        let head = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> ($0 * 8)) } + header
        let ordered = head + data
        let stored = try #require(try FloatPlanes.encode(ordered))
        #expect(FloatPlanes.decode(stored, size: ordered.count) == ordered)
        // The same numbers with the columns lost: each row rotated by another amount.
        let width = data.count / (rows * columns)
        var mixed = head
        for row in 0..<rows {
            for column in 0..<columns {
                let at = (row * columns + (column + row * 131) % columns) * width
                mixed += data[at..<(at + width)]
            }
        }
        let without = try #require(try FloatPlanes.encode(mixed))
        #expect(FloatPlanes.decode(without, size: mixed.count) == mixed)
        #expect(stored.count < without.count - rows * columns / 40, "\(stored.count) against \(without.count)")
    }

    @Test func everySequenceOfSymbolsIsCodedAndReadBack() throws {
        var draw: UInt64 = 5
        func next(_ count: Int) -> Int {
            draw = draw &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(draw >> 33) % count
        }
        for round in 0..<100 {
            let spread = 1 + next(round % 2 == 0 ? 8 : 256)
            let symbols = (0..<(ContextCoder.leastCount + next(3000))).map { _ in
                UInt8(next(spread) * next(spread) / spread)
            }
            for columns in [1, 1 + next(200), symbols.count, symbols.count + 9] {
                for level in [ContextCoder.Level.whole, .upperFive, .magnitude] {
                    guard let coded = ContextCoder.encode(symbols, columns: columns, level: level) else { continue }
                    #expect(coded.count < symbols.count)
                    let back = ContextCoder.decode(coded[...], count: symbols.count, columns: columns, level: level)
                    #expect(back == symbols)
                    // Damage is seen, or gives as many other symbols; the digest sees those.
                    var damaged = coded
                    damaged[next(coded.count)] ^= UInt8(1 << next(8))
                    let wrong = ContextCoder.decode(damaged[...], count: symbols.count, columns: columns, level: level)
                    #expect(wrong == nil || wrong?.count == symbols.count)
                    let cut = coded.prefix(next(coded.count))
                    #expect(ContextCoder.decode(cut, count: symbols.count, columns: columns, level: level) == nil)
                }
            }
        }
    }

    @Test func whatEarlierVersionsStoredIsRead() throws {
        // Made by the encoder of the format before: 64 values of F32.
        let stored = Array(try #require(Data(base64Encoded: Self.planeZstd)))
        let bytes = Array(try #require(Data(base64Encoded: Self.planeZstdContent)))
        #expect(Codec.planeZstd.decode(stored, bytes.count) == bytes)
        #expect(Codec.planeZstd.decode(stored, bytes.count + 1) == nil)
        for position in stored.indices {
            var changed = stored
            changed[position] ^= 0xff
            let result = Codec.planeZstd.decode(changed, bytes.count)
            #expect(result == nil || result?.count == bytes.count)
        }
    }

    private static let planeZstd =
        "SVBaMUEBAAAAAAAAAgAAAAFBAAAAAAAAAABBAAAAAAAAAAQAAQAAAAAAAABAAAAAAAAAAABAAAAAAAAAAABAAAAAAAAAAAEu"
        + "AAAAAAAAADkAAAAAAAAAeyJhIjp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOls2NF0sImRhdGFfb2Zmc2V0cyI6WzAsMjU2XX19"
        + "AFBfBT9ArQXewb9JwLVb0LTrXA+g2iJSY1kGpBCHUGtHLlc1xu//o2SWIPTO2q5TrBv/ULPDR/eWMB9pbGVbCQBVOTb+Y+WN"
        + "ns3UzMcZ4C3Z5M2P+FgITnbYLN3t6Vl+3ci2Yh3LyGKZ8bRYBUOvdlZU70MPK+G/oKdXZ7PcYhkALDrnGkRkBkqo3kzbrEoF"
        + "a0QZ9Tor6C052BxDXQdKpeFM2K9LA3JFGAE7KmguOModQ1YJSqLkTNWySwJ5RRcJKLUv/SBALQEA4gIHC+DpdwAAYJIcgHUH"
        + "iy/d11z9lH5UvnR1TetFIQEAfZ4qAw=="
    private static let planeZstdContent =
        "OQAAAAAAAAB7ImEiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzY0XSwiZGF0YV9vZmZzZXRzIjpbMCwyNTZdfX0AAAAAUFUs"
        + "PV85Oj0FNuc7P/4avUBjRL2t5WS8BY0GPd6eSj3Bzag8v9TevEnMTL3Ax9u8tRmsPFvgSj3QLQU9tNlrvOvkRL1czRm9D4/1"
        + "O6D4Oj3aWCs9IgjouVJOLb1jdjm9WdjYuwYsHD2k3UM9EO1dPIfpB71QWUq9a36lvEfd4TwuyEw9V7bYPDVir7zGHUu978sD"
        + "vf/IcjyjYkU9ZJkYPZbxAbwgtDu99Fgqvc4FaDraQy49rq84PVN2yjusVh29G1RDvf/vVrxQQwk9sw9KPcMrojxH4eS8979M"
        + "vZag1bwwp7I8H1dLPWlnAj1ss3m8ZdxFvVtiF70JGQk8"

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
        let bytes = Self.safetensors("F32", rows: 20, columns: 128)
        let stored = try #require(try FloatPlanes.encode(bytes))
        #expect(FloatPlanes.decode(stored, size: bytes.count) == bytes)
        #expect(FloatPlanes.decode(stored, size: bytes.count + 1) == nil)
        for cut in [0, 3, 12, 16, 40, stored.count - 1] {
            #expect(FloatPlanes.decode(Array(stored[..<cut]), size: bytes.count) == nil)
        }
        // Every single-byte change of the table either fails or gives some bytes of the right size; it never traps.
        for position in 0..<min(stored.count, 120) {
            var changed = stored
            changed[position] ^= 0xff
            let result = FloatPlanes.decode(changed, size: bytes.count)
            #expect(result == nil || result?.count == bytes.count)
        }
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        let bomb = try zeros.withUnsafeBytes { try Zstd.compress($0, level: 3) }
        #expect(Codec.zstd.decode(bomb, 1000) == nil)
    }
}

import TensorTypes
import Testing

@testable import Kernels

/// SplitMix64: seeded, so that a failure repeats.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

func randomFloats(_ count: Int, _ generator: inout SeededGenerator, scale: Float = 1) -> [Float] {
    (0..<count).map { _ in Float.random(in: -scale...scale, using: &generator) }
}

let quantizedTypes: [TensorType] = [
    .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq1_s, .iq1_m, .iq2_xxs, .iq2_xs, .iq2_s,
    .iq3_xxs, .iq3_s, .iq4_nl, .iq4_xs, .tq1_0, .tq2_0, .mxfp4, .nvfp4, .q1_0, .q2_0,
]
let floatTypes: [TensorType] = [.f32, .f16, .bf16]

/// Where the F16 fields of a block lie.
func halfOffsets(_ type: TensorType) -> [Int] {
    switch type {
    case .q4_1, .q5_1, .q4_K, .q5_K: [0, 2]
    case .q6_K: [208]
    case .q2_K: [80, 82]
    case .q3_K: [108]
    case .tq1_0: [52]
    case .tq2_0: [64]
    case .iq1_m, .mxfp4, .nvfp4: []  // their scales are no F16 fields
    default: [0]
    }
}

/// Random blocks: every bit of the quants is random, scales are moderate; now and then a block is zero or huge.
func randomWeights(_ type: TensorType, rows: Int, columns: Int, _ generator: inout SeededGenerator) -> [UInt8] {
    if type.blockSize == 1 {
        var bytes: [UInt8] = []
        for value in randomFloats(rows * columns, &generator) {
            switch type {
            case .f32: withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
            case .f16: withUnsafeBytes(of: Float16(value).bitPattern.littleEndian) { bytes += $0 }
            default: withUnsafeBytes(of: UInt16(value.bitPattern >> 16).littleEndian) { bytes += $0 }
            }
        }
        return bytes
    }
    let size = type.bytesPerBlock
    var bytes = [UInt8](repeating: 0, count: rows * columns / type.blockSize * size)
    for start in stride(from: 0, to: bytes.count, by: size) {
        let dice = Int.random(in: 0..<20, using: &generator)
        if dice == 0 { continue }  // a zero block
        for i in start..<start + size { bytes[i] = UInt8.random(in: 0...255, using: &generator) }
        if type == .mxfp4 { bytes[start] = UInt8.random(in: 115...125, using: &generator) }
        if type == .iq1_m {  // the top nibbles are an F16 number between 2^-7 and 2^-5
            for (place, high) in [(49, 0x00), (51, 0x00), (53, 0x00), (55, 0x20)] as [(Int, UInt8)] {
                bytes[start + place] = bytes[start + place] & 15 | high
            }
        }
        for offset in halfOffsets(type) {
            let scale = Float16.random(in: -0.02...0.02, using: &generator) * (dice == 1 ? 100 : 1)
            withUnsafeBytes(of: scale.bitPattern.littleEndian) {
                bytes[start + offset] = $0[0]
                bytes[start + offset + 1] = $0[1]
            }
        }
    }
    return bytes
}

func decoded(_ type: TensorType, _ bytes: [UInt8], count: Int) -> [Float] {
    var floats = [Float](repeating: 0, count: count)
    bytes.withUnsafeBytes { source in floats.withUnsafeMutableBufferPointer { type.decode(source, into: $0) } }
    return floats
}

/// The int8 form by its definition, as the floats that it stands for.
func int8Form(_ x: [Float], columns: Int) -> [Double] {
    var result: [Double] = []
    for start in stride(from: 0, to: x.count, by: 32) {
        let block = x[start..<start + 32]
        let largest = block.map(abs).max()!
        let scale = largest < 1e-30 ? 0 : largest / 127, inverse = largest < 1e-30 ? 0 : 127 / largest
        result += block.map { Double(scale) * Double(($0 * inverse).rounded(.toNearestOrEven)) }
    }
    return result
}

/// The largest difference, relative to what the sum of magnitudes makes rounding errors scale with.
func expectClose(
    _ actual: [Float], _ expected: [Double], magnitudes: [Double], tolerance: Double, _ comment: Comment? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(actual.count == expected.count, sourceLocation: sourceLocation)
    for i in 0..<min(actual.count, expected.count) {
        let error = abs(Double(actual[i]) - expected[i])
        if !(error <= tolerance * magnitudes[i] + 1e-30) {
            Issue.record(
                "element \(i): \(actual[i]) for \(expected[i]) ± \(tolerance * magnitudes[i]); \(comment ?? "")",
                sourceLocation: sourceLocation)
            return
        }
    }
}

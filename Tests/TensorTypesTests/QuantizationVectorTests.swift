import Foundation
import Testing

@testable import TensorTypes

/// Compares with bytes and floats that ggml's own code made; they lie beside the package on the machines that have
/// them.
struct QuantizationVectorTests {
    static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("../shared/vectors/quantization").standardized
    static var arePresent: Bool {
        FileManager.default.fileExists(atPath: folder.appendingPathComponent("input.f32").path)
    }

    static func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: folder.appendingPathComponent(name)))
    }

    static func floats(_ name: String) throws -> [Float] {
        try bytes(name).withUnsafeBytes { try TensorType.f32.decoded($0) }
    }

    static let decoded = TensorType.all.filter { type in
        type.isDecodable && type.isQuantized
    }

    @Test("decoding equals the reference bit for bit", .enabled(if: arePresent), arguments: decoded)
    func decodesAsReference(type: TensorType) throws {
        let pairs = [
            ("\(type.name).bin", "\(type.name).deq.f32"), ("rand.\(type.name).bin", "rand.\(type.name).deq.f32"),
        ]
        var compared = 0
        for (encodedName, decodedName) in pairs {
            guard FileManager.default.fileExists(atPath: Self.folder.appendingPathComponent(encodedName).path) else {
                continue
            }
            let ours = try Self.bytes(encodedName).withUnsafeBytes { try type.decoded($0) }
            let theirs = try Self.floats(decodedName)
            #expect(ours.count == theirs.count)
            let different = zip(ours, theirs).enumerated().first { _, pair in
                pair.0.bitPattern != pair.1.bitPattern && !(pair.0.isNaN && pair.1.isNaN) && pair.0 != pair.1
            }
            #expect(different == nil, "\(encodedName): \(String(describing: different))")
            compared += ours.count
        }
        #expect(compared > 0)
    }

    @Test(
        "encoding equals the reference byte for byte", .enabled(if: arePresent),
        arguments: decoded.filter(\.isEncodable))
    func encodesAsReference(type: TensorType) throws {
        let input = try Self.floats("input.f32")
        let ours = try type.encoded(input)
        let theirs = try Self.bytes("\(type.name).bin")
        #expect(ours.count == theirs.count)
        let rowBytes = 512 / type.blockSize * type.bytesPerBlock
        let differentRows = Set(zip(ours, theirs).enumerated().filter { $1.0 != $1.1 }.map { $0.offset / rowBytes })
        #expect(differentRows.isEmpty, "rows \(differentRows.sorted()) differ")
    }
}

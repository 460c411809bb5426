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
    /// Types that the reference made no vectors of.
    static let without: [TensorType] = [.q8_1, .q8_K, .q2_0]

    @Test("decoding equals the reference bit for bit", .enabled(if: arePresent), arguments: decoded)
    func decodesAsReference(type: TensorType) throws {
        let names = ["\(type.name)", "rand.\(type.name)"].map { ("\($0).bin", "\($0).deq.f32") }
        // Types that need an importance have vectors made with one only.
        let pairs = names + [("\(type.name).imat.bin", "\(type.name).deq.f32")].filter { _ in type.requiresImportance }
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
        #expect(compared > 0 || Self.without.contains(type), "there are no vectors")
    }

    @Test(
        "encoding equals the reference byte for byte, with and without an importance", .enabled(if: arePresent),
        arguments: decoded.filter { $0.isEncodable && !without.contains($0) }, [false, true])
    func encodesAsReference(type: TensorType, weighted: Bool) throws {
        guard weighted || !type.requiresImportance else { return }
        let input = try Self.floats("input.f32")
        let importance = weighted ? try Self.floats("imatrix.f32") : nil
        let ours = try type.encoded(rows: input, rowLength: 512, importance: importance)
        let theirs = try Self.bytes(weighted ? "\(type.name).imat.bin" : "\(type.name).bin")
        #expect(ours.count == theirs.count)
        let rowBytes = 512 / type.blockSize * type.bytesPerBlock
        let differentRows = Set(zip(ours, theirs).enumerated().filter { $1.0 != $1.1 }.map { $0.offset / rowBytes })
        #expect(differentRows.isEmpty, "rows \(differentRows.sorted()) differ")
    }
}

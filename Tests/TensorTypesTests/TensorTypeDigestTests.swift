import Fixtures
import Foundation
import Testing

@testable import TensorTypes

/// Encoded bytes against digests of ggml's, which `Fixtures/Scripts/make_tensor_type_digests.py` made.
struct TensorTypeDigestTests {
    struct Row {
        let type: TensorType
        let isWeighted: Bool
        let digest: UInt64
    }

    static func golden() throws -> [Row] {
        try String(contentsOf: Fixtures.Golden.tensorTypes, encoding: .utf8).split(separator: "\n").map { line in
            let words = line.split(separator: "\t")
            try #require(words.count == 3)
            return Row(
                type: try #require(TensorType(name: String(words[0]))), isWeighted: words[1] == "importance",
                digest: try #require(UInt64(words[2], radix: 16)))
        }
    }

    /// The input as the script draws it: eight rows of 512, then the importance.
    static let (rows, importance): ([Float], [Float]) = {
        var generator = SeededGenerator(seed: 1)
        func value() -> Float { Float(generator.next() >> 40) / Float(1 << 24) - 0.5 }
        let range = 0..<512
        var rows: [Float] = range.map { _ in value() }
        rows += range.map { _ in value() }.map { $0 * $0 * $0 }
        rows += range.map { _ in generator.next() % 8 == 0 ? value() : 0 }
        rows += range.map { _ in value() }.enumerated().map { $0 / 32 % 3 == 0 ? 0 : $1 }
        rows += range.map { _ in value() * 0x1p-60 }
        rows += range.map { _ in value() + 1 }
        rows += range.map { _ in Float(generator.next() % 3) - 1 }
        let single = value()
        rows += range.map { $0 == 300 ? single : 0 }
        return (rows, range.map { _ in value() + 0.75 })
    }()

    @Test("rows of many kinds encode to ggml's bytes")
    func equalsReference() throws {
        let golden = try Self.golden()
        for row in golden {
            let bytes = try row.type.encoded(
                rows: Self.rows, rowLength: 512, importance: row.isWeighted ? Self.importance : nil)
            let digest = bytes.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
            #expect(digest == row.digest, "\(row.type)\(row.isWeighted ? ", importance" : "")")
        }
        // All types but the one that libgguf does not know.
        let missing = Set(TensorTypeTests.encoded).subtracting(golden.map(\.type))
        #expect(missing == [.q2_0])
    }
}

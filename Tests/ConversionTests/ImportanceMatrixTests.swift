import ByteIO
import Foundation
import GGUF
import TensorTypes
import Testing

@testable import Conversion

@Suite("Importance matrix files")
struct ImportanceMatrixTests {
    private var matrix: ImportanceMatrix {
        var matrix = ImportanceMatrix()
        matrix.entries["blk.0.ffn_down.weight"] = .init(sums: [2, 4, 6, 0], counts: [2])
        matrix.entries["blk.0.ffn_up_exps.weight"] = .init(sums: [3, 6, 9, 12], counts: [3, 0])
        matrix.datasets = ["a.txt"]
        matrix.chunkCount = 7
        matrix.chunkSize = 512
        return matrix
    }

    /// The legacy form, field by field.
    private func legacy(_ body: (inout ByteWriter) -> Void) -> [UInt8] {
        var writer = ByteWriter(capacity: 256)
        body(&writer)
        return writer.bytes
    }

    private func text(_ text: String, _ writer: inout ByteWriter) {
        writer.write(Int32(text.utf8.count))
        writer.write(bytes: Array(text.utf8))
    }

    private func read(_ bytes: [UInt8]) throws -> ImportanceMatrix {
        try Models.withFolder { folder in
            try AtomicFile.write(bytes, to: "\(folder)/m.dat")
            return try ImportanceMatrix(path: "\(folder)/m.dat")
        }
    }

    @Test("importance is the mean square; columns of an expert that was never reached weigh one")
    func mean() {
        #expect(matrix.importance(of: "blk.0.ffn_down.weight") == [1, 2, 3, 0])
        #expect(matrix.importance(of: "blk.0.ffn_up_exps.weight") == [1, 2, 1, 1])
        #expect(matrix.importance(of: "other") == nil)
    }

    @Test("a matrix is read back as it was written, in llama-imatrix's form")
    func roundTrip() throws {
        try Models.withFolder { folder in
            try matrix.write(to: "\(folder)/m.gguf")
            let back = try ImportanceMatrix(path: "\(folder)/m.gguf")
            #expect(back.entries == matrix.entries)
            #expect(back.datasets == ["a.txt"])
            #expect((back.chunkCount, back.chunkSize) == (7, 512))
            let file = try GGUFFile(path: "\(folder)/m.gguf")
            #expect(try file.metadata.string("general.type") == "imatrix")
            #expect(file.tensor(named: "blk.0.ffn_up_exps.weight.in_sum2")?.dimensions == [2, 2])
            #expect(file.tensor(named: "blk.0.ffn_up_exps.weight.counts")?.dimensions == [1, 2])
        }
    }

    @Test("legacy files are read, with and without their tail")
    func legacyFiles() throws {
        let entries: (inout ByteWriter) -> Void = { writer in
            writer.write(Int32(1))
            self.text("blk.0.attn_q.weight", &writer)
            writer.write(Int32(4))
            writer.write(Int32(2))
            writer.write(Float(8))
            writer.write(Float(2))
        }
        let short = try read(legacy(entries))
        #expect(short.importance(of: "blk.0.attn_q.weight") == [2, 0.5])
        #expect(short.chunkCount == 0)
        let whole = try read(
            legacy { writer in
                entries(&writer)
                writer.write(Int32(9))
                self.text("wiki.txt", &writer)
            })
        #expect(whole.chunkCount == 9)
        #expect(whole.datasets == ["wiki.txt"])
        let tokens = whole.withTokenCounts(chunkSize: 512)
        #expect(tokens.entries["blk.0.attn_q.weight"]?.counts == [2048])
        #expect(tokens.importance(of: "blk.0.attn_q.weight") == [2, 0.5])
    }

    @Test("files that are cut short, lie about lengths, or hold what is no importance are refused")
    func malformed() throws {
        func entry(_ name: String, calls: Int32 = 1, count: Int32 = 1, values: [Float] = [1]) -> [UInt8] {
            legacy { writer in
                writer.write(Int32(1))
                self.text(name, &writer)
                writer.write(calls)
                writer.write(count)
                for value in values { writer.write(value) }
            }
        }
        let good = entry("a")
        _ = try read(good)
        for length in 0..<good.count { #expect(throws: (any Error).self) { try read(Array(good[..<length])) } }
        let bad = [
            entry("a", calls: -1), entry("a", count: -5), entry("a", count: .max), entry("a", values: [-1]),
            entry("a", values: [.nan]), entry("a", values: [.infinity]), entry("a", count: 0, values: []),
            legacy { $0.write(Int32.max) }, legacy { $0.write(Int32(-1)) }, legacy { $0.write(Int32(0)) },
        ]
        for bytes in bad { #expect(throws: (any Error).self) { try read(bytes) } }
        for broken in [(name: "a.in_sum2", values: [Float(1)]), (name: "a.counts", values: [1])] {
            var writer = try GGUFWriter(metadata: ["general.type": .text("imatrix")])
            try writer.add(name: broken.name, dimensions: [1], floats: broken.values)
            #expect(throws: ConversionError.self) {
                try ImportanceMatrix(gguf: GGUFFile(bytes: writer.serialized()))
            }
        }
        #expect(throws: ConversionError.self) {
            try ImportanceMatrix(gguf: GGUFFile(bytes: Models.writer().serialized()))
        }
    }

    @Test("merging adds sums and counts, and refuses another model's matrix")
    func merging() throws {
        var sum = matrix
        var other = matrix
        other.datasets = ["b.txt"]
        other.entries["blk.0.new.weight"] = .init(sums: [1], counts: [1])
        try sum.merge(other)
        #expect(sum.entries["blk.0.ffn_down.weight"] == .init(sums: [4, 8, 12, 0], counts: [4]))
        #expect(sum.entries["blk.0.ffn_up_exps.weight"]?.counts == [6, 0])
        #expect(sum.entries["blk.0.new.weight"] != nil)
        #expect(sum.datasets == ["a.txt", "b.txt"])
        #expect(sum.chunkCount == 14)
        other.entries["blk.0.ffn_down.weight"] = .init(sums: [1, 2], counts: [1])
        #expect(throws: ConversionError.self) { try sum.merge(other) }
    }

    @Test("statistics say how uneven columns are")
    func statistics() throws {
        let rows = matrix.statistics
        #expect(rows.map(\.name) == ["blk.0.ffn_down.weight", "blk.0.ffn_up_exps.weight"])
        #expect(rows[0].sum == 6)
        #expect(rows[0].mean == 1.5)
        #expect(rows[0].active == 0.75)
        #expect(abs(rows[0].entropy - 1.459) < 1e-3)
        #expect(rows[1].unreached == 1)
    }
}

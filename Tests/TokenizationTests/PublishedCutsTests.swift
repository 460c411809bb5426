import Fixtures
import Foundation
import Testing

@testable import Tokenization

@Suite struct PublishedCutsTests {
    private struct Golden: Decodable {
        var texts: [String]
        var cuts: [String: [[Int]]]
    }

    @Test func `text is cut where Hugging Face cuts it, for every list of expressions`() throws {
        let url = Fixtures.Golden.pretokenizers
        let golden = try JSONDecoder().decode(Golden.self, from: Data(contentsOf: url))
        #expect(golden.cuts.count >= 28 && golden.texts.count >= 40)
        for (name, cases) in golden.cuts {
            let preTokenizer = try PreTokenizer.named(name)
            for (text, expected) in zip(golden.texts, cases) {
                var text = text
                let found = text.withUTF8 { bytes in
                    var ends: [Int] = []
                    preTokenizer.forEachPiece(of: ScalarText(bytes), from: 0, to: bytes.count) { ends.append($1) }
                    return ends
                }
                #expect(found == expected, "\(name): \(text.debugDescription)")
            }
        }
    }
}

@Suite struct GrowthTests {
    private func walked(_ unit: String, _ count: Int, _ preTokenizer: PreTokenizer) -> Int {
        var text = String(repeating: unit, count: count) + "x"
        var total = 0
        text.withUTF8 { bytes in
            withUnsafeMutablePointer(to: &total) { counter in
                preTokenizer.forEachPiece(of: ScalarText(bytes, walked: counter), from: 0, to: bytes.count) { _, _ in }
            }
        }
        return total
    }

    @Test func `scanning is linear on runs of anything, for every pre-tokenizer`() {
        for preTokenizer in PreTokenizer.all {
            for unit in ["a", "A", " ", "7", "\n ", "!", "é", "\u{301}", "中", "'", "<sentinel:", "\t"] {
                let small = walked(unit, 2_000, preTokenizer)
                let large = walked(unit, 20_000, preTokenizer)
                #expect(large <= small * 11 + 100, "\(preTokenizer.names[0]) on \(unit.debugDescription)")
            }
        }
    }

    @Test func `merging a long run takes n log n steps`() {
        var table = MergeTable(minimumCapacity: 64)
        for level in 0..<Int32(20) {
            table.insert(level, level, rank: UInt32(level), merged: level + 1)
        }
        func work(_ count: Int) -> Int {
            var merger = SymbolMerger()
            merger.symbols = [Int32](repeating: 0, count: count)
            merger.merge(with: table)
            return merger.work
        }
        #expect(work(200_000) <= work(20_000) * 15)
    }
}

import Foundation
import Testing

@testable import PromptTuning

@Suite struct RecordTests {
    @Test func checksumsAreRFC3720s() {
        // RFC 3720, appendix B.4.
        #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
        #expect(CRC32C.checksum((0..<32).map { UInt8($0) }) == 0x46DD_794E)
    }

    @Test func anEventFileIsWhatTensorBoardReads() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let file = try EventFile(folder: folder, time: 1)
        try file.add("loss", 0.5, step: 300, time: 2)
        let bytes = Array(try Data(contentsOf: URL(filePath: file.path)))
        // Event {wall_time: 2, step: 300, summary {value {tag: "loss", simple_value: 0.5}}}
        let event: [UInt8] =
            [0x09, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x10, 0xAC, 0x02, 0x2A, 0x0D, 0x0A, 0x0B, 0x0A, 0x04]
            + Array("loss".utf8) + [0x15, 0, 0, 0, 0x3F]
        let expected = EventFile.record(event)
        #expect(Array(bytes.suffix(expected.count)) == expected)
        #expect(bytes.count == expected.count + 16 + 24)
    }

    @Test func curvesSurviveLossesThatAreNoNumbers() {
        let losses: [Float] = [3, .nan, 2, .infinity, 1]
        let svg = LossCurve.svg(losses: losses, evaluations: [], title: "a < b & \"c\"")
        for broken in ["nan,", ",nan", "inf,", ",inf", "nan<", "inf<"] { #expect(!svg.contains(broken)) }
        #expect(svg.contains("a &lt; b &amp; &quot;c&quot;"))
        #expect(LossCurve.line(losses: losses) == "█▆▃")
        #expect(LossCurve.line(losses: []) == "")
    }
}

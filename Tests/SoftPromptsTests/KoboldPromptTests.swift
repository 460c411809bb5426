import Fixtures
import Foundation
import Testing

@testable import SoftPrompts

@Suite struct KoboldPromptTests {
    private func path(_ kind: String) -> String { Fixtures.url("SoftPrompts/kobold-\(kind).zip").path }

    @Test(arguments: ["f16", "f32", "bf16"]) func anArchiveIsReadAsPythonWroteIt(kind: String) throws {
        let prompt = try KoboldPrompt(path: path(kind))
        #expect(prompt.name == "A test")
        #expect(prompt.virtualTokenCount == 3 && prompt.hiddenSize == 8)
        #expect(prompt.values == (0..<24).map { Float($0) / 4 - 2 })
    }

    @Test(arguments: ["f16", "f32", "bf16"]) func aDamagedArchiveIsAnErrorNotATrap(kind: String) throws {
        let bytes = Array(try Data(contentsOf: URL(filePath: path(kind))))
        for length in stride(from: 0, to: bytes.count, by: 3) {
            #expect(throws: SoftPromptError.self) {
                try KoboldPrompt(archive: Array(bytes[..<length]), path: "cut.zip")
            }
        }
        // A changed byte is refused by a check, or is in a place that says nothing (times, attributes).
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 0x41
            guard let prompt = try? KoboldPrompt(archive: changed, path: "changed.zip") else { continue }
            #expect(prompt.values == (0..<24).map { Float($0) / 4 - 2 })
        }
    }

    @Test func lzmaIsWhatPythonMakesOfIt() throws {
        // lzma.compress(b"abcabcabcabd" * 40, format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1}])
        let text = Array(String(repeating: "abcabcabcabd", count: 40).utf8)
        let packed: [UInt8] = [
            0, 48, 152, 136, 167, 80, 210, 14, 1, 155, 233, 7, 120, 79, 255, 255, 236, 59, 0, 0,
        ]
        #expect(LZMA.unpack(packed, properties: 0x5D, size: text.count) == text)
        #expect(LZMA.unpack(packed, properties: 0x5D, size: text.count + 1) == nil)
        #expect(LZMA.unpack(packed, properties: 0xFF, size: text.count) == nil)
        #expect(LZMA.unpack(Array(packed.prefix(6)), properties: 0x5D, size: text.count) == nil)
    }
}

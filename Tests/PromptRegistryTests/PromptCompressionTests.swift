import Foundation
import OCIArtifacts
import SoftPrompts
import Testing

@testable import PromptRegistry

@Suite struct PromptCompressionTests {
    @Test func everyTypeIsMeasuredAndTheGateDecides() async throws {
        let prompt = try PromptRegistryTests.prompt(3, tokens: 40)
        // A gate that answers with the largest change of a value: strictest for int8.
        let rows = try await PromptCompression.measure(prompt) { changed in
            Double(zip(prompt.values, changed.values).map { abs($0 - $1) }.max() ?? 0)
        }
        #expect(Set(rows.map(\.type)) == ["F32", "BF16", "F16", "I8"])
        let byType = Dictionary(uniqueKeysWithValues: rows.map { ($0.type, $0) })
        let exact = try #require(byType["F32"])
        #expect(exact.relativeError == 0 && exact.divergence == 0)
        for row in rows where row.type != "F32" {
            #expect(row.fileBytes < exact.fileBytes && row.storedBytes <= row.fileBytes)
            #expect(row.relativeError > 0 && row.relativeError < 0.01)
        }
        let int8 = try #require(byType["I8"])
        #expect(int8.fileBytes < exact.fileBytes / 3)
        #expect(int8.largestError <= 0.5 / 254 * 1.001)
        #expect(PromptCompression.choice(rows, limit: 1)?.type == "I8")
        #expect(PromptCompression.choice(rows, limit: 0.0005).map { ["F16", "F32"].contains($0.type) } == true)
        #expect(PromptCompression.choice(rows, limit: 0)?.type == "F32")
        // Without a gate nothing but the exact form is ever chosen.
        #expect(PromptCompression.choice(try await PromptCompression.measure(prompt), limit: 1)?.type == "F32")
    }

    @Test func anInt8PromptIsStoredAndLoadedAgain() async throws {
        let registry = PromptRegistry(MemoryStore())
        let name = try RepositoryName("demo/gloss")
        let prompt = try PromptRegistryTests.prompt(4)
        let receipt = try await registry.store(prompt, name: name, type: .i8)
        let loaded = try await registry.load(.tag(receipt.tag), of: name)
        #expect(loaded.record.dtype == "I8")
        #expect(loaded.prompt.values.count == prompt.values.count)
        for (old, new) in zip(prompt.values, loaded.prompt.values) { #expect(abs(old - new) <= 0.5 / 254 * 1.001) }
        // Stored again it is the same: rounding what was rounded changes nothing.
        let again = try SoftPromptFile(loaded.prompt, type: .i8).prompt()
        #expect(again.values == loaded.prompt.values)
    }

    @Test func damagedScalesAreRefused() throws {
        var file = try SoftPromptFile(try PromptRegistryTests.prompt(5), type: .i8)
        let text = String(decoding: file.tensors, as: Unicode.ASCII.self)
        #expect(text.contains("prompt_embeddings.scale"))
        let exact = try SoftPromptFile(try PromptRegistryTests.prompt(5))
        file.tensors = exact.tensors
        #expect(throws: (any Error).self) { try file.prompt() }
    }
}

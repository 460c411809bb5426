import Foundation
import OCIArtifacts
import Safetensors
import SoftPrompts
import Testing

@testable import PromptRegistry

@Suite struct PromptCompressionTests {
    @Test func everyTypeIsMeasuredAndTheGateDecides() async throws {
        let prompt = try PromptRegistryTests.prompt(3, tokens: 40)
        // A gate that answers with the largest change of a value: strictest for int8.
        let candidates = try await PromptCompression.measure(prompt) { changed in
            Double(zip(prompt.values, changed.values).map { abs($0 - $1) }.max() ?? 0)
        }
        let rows = candidates.map(\.row)
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
        func choice(_ limit: Double, of candidates: [PromptCompression.Candidate]) -> String? {
            PromptCompression.choice(candidates, limit: limit)?.row.type
        }
        #expect(choice(1, of: candidates) == "I8")
        #expect(choice(0.0005, of: candidates).map { ["F16", "F32"].contains($0) } == true)
        #expect(choice(0, of: candidates) == "F32")
        // Without a gate nothing but the exact form is ever chosen.
        #expect(choice(1, of: try await PromptCompression.measure(prompt)) == "F32")
    }

    @Test func partsThatMatterKeepMoreBits() async throws {
        let prompt = try PromptRegistryTests.prompt(6, tokens: 200)
        let parts = PromptPart.parts(prompt.placement, prompt.shape)
        #expect(parts.map(\.name) == ["layers.0.key", "layers.0.value", "layers.1.key", "layers.1.value"])
        // A model that minds the values of layer 1 a lot, and the keys of layer 0 a little.
        let weights: [Double] = [2, 0.1, 0.2, 1000]
        func gate(_ changed: SoftPrompt) -> Double {
            var sum = 0.0
            for (index, (old, new)) in zip(prompt.values, changed.values).enumerated() {
                let part = parts.firstIndex { $0.columns.contains(index % prompt.columns) } ?? 0
                sum += weights[part] * abs(Double(new - old))
            }
            return sum
        }
        let uniform = try await PromptCompression.measure(prompt) { gate($0) }
        let byType = Dictionary(uniqueKeysWithValues: uniform.map { ($0.row.type, $0.row.divergence ?? 0) })
        let limit = try #require(byType["F16"]) * 1.5
        #expect(try #require(byType["I8"]) > limit && #require(byType["BF16"]) > limit)
        var runs = 0
        let found = try #require(
            try await PromptCompression.mixture(
                prompt, uniform: uniform, limit: limit,
                gate: {
                    runs += 1
                    return gate($0)
                }))
        let types = try #require(found.row.parts)
        #expect(types["layers.1.value"] == "F16")
        #expect(types["layers.0.value"] == "I8" && types["layers.1.key"] == "I8")
        #expect(try #require(found.row.divergence) <= limit)
        #expect(runs < 20)
        let single = try #require(PromptCompression.choice(uniform, limit: limit))
        #expect(single.row.type == "F16" && found.row.storedBytes < single.row.storedBytes)
        #expect(PromptCompression.choice(uniform + [found], limit: limit) == found)
        // Where all may be I8 there is nothing to mix, and where nothing may change neither.
        #expect(try await PromptCompression.mixture(prompt, uniform: uniform, limit: 1e9, gate: { gate($0) }) == nil)
        #expect(try await PromptCompression.mixture(prompt, uniform: uniform, limit: 0, gate: { gate($0) }) == nil)

        let registry = PromptRegistry(MemoryStore())
        let name = try RepositoryName("demo/mixed")
        let receipt = try await registry.store(prompt, name: name, encoding: found.encoding)
        let loaded = try await registry.load(.tag(receipt.tag), of: name)
        #expect(loaded.record.dtype == "MIXED")
        #expect(loaded.prompt == (try SoftPromptFile(prompt, encoding: found.encoding).prompt()))
        #expect(gate(loaded.prompt) <= limit)
    }

    @Test func anInt8PromptIsStoredAndLoadedAgain() async throws {
        let registry = PromptRegistry(MemoryStore())
        let name = try RepositoryName("demo/gloss")
        let prompt = try PromptRegistryTests.prompt(4)
        let receipt = try await registry.store(prompt, name: name, encoding: PromptEncoding(.i8))
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

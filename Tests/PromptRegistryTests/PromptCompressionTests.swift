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
        let strict = try await PromptCompression.Gate(
            prompt,
            divergence: { changed in Double(zip(prompt.values, changed.values).map { abs($0 - $1) }.max() ?? 0) })
        let candidates = try await PromptCompression.measure(prompt, gate: strict)
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
            PromptCompression.choice(candidates, limits: .init(divergence: limit))?.row.type
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
        let uniform = try await PromptCompression.measure(
            prompt, gate: PromptCompression.Gate(prompt, divergence: { gate($0) }))
        let byType = Dictionary(uniqueKeysWithValues: uniform.map { ($0.row.type, $0.row.divergence ?? 0) })
        let limit = try #require(byType["F16"]) * 1.5
        #expect(try #require(byType["I8"]) > limit && #require(byType["BF16"]) > limit)
        var runs = 0
        let found = try #require(
            try await PromptCompression.mixture(
                prompt, uniform: uniform, limits: .init(divergence: limit),
                gate: PromptCompression.Gate(
                    prompt,
                    divergence: {
                        runs += 1
                        return gate($0)
                    })))
        let types = try #require(found.row.parts)
        #expect(types["layers.1.value"] == "F16")
        #expect(types["layers.0.value"] == "I8" && types["layers.1.key"] == "I8")
        #expect(try #require(found.row.divergence) <= limit)
        #expect(runs < 20)
        let single = try #require(PromptCompression.choice(uniform, limits: .init(divergence: limit)))
        #expect(single.row.type == "F16" && found.row.storedBytes < single.row.storedBytes)
        #expect(PromptCompression.choice(uniform + [found], limits: .init(divergence: limit)) == found)
        // Where all may be I8 there is nothing to mix, and where nothing may change neither.
        for limit in [1e9, 0] {
            let none = try await PromptCompression.mixture(
                prompt, uniform: uniform, limits: .init(divergence: limit),
                gate: PromptCompression.Gate(prompt, divergence: { gate($0) }))
            #expect(none == nil)
        }

        let registry = PromptRegistry(MemoryStore())
        let name = try RepositoryName("demo/mixed")
        let receipt = try await registry.store(prompt, name: name, encoding: found.encoding)
        let loaded = try await registry.load(.tag(receipt.tag), of: name)
        #expect(loaded.record.dtype == "MIXED")
        #expect(loaded.prompt == (try SoftPromptFile(prompt, encoding: found.encoding).prompt()))
        #expect(gate(loaded.prompt) <= limit)
    }

    @Test func bothGatesHaveToBePassed() async throws {
        let prompt = try PromptRegistryTests.prompt(6, tokens: 200)
        let parts = PromptPart.parts(prompt.placement, prompt.shape)
        // A model that answers row r right as long as no value of part r % 4 moves by more than its tolerance. Divergence
        // minds nothing at all.
        let tolerances = [1, 1, 1, 0.0005]
        func outcomes(_ changed: SoftPrompt) -> [Bool] {
            var largest = [Double](repeating: 0, count: parts.count)
            for (index, (old, new)) in zip(prompt.values, changed.values).enumerated() {
                let part = parts.firstIndex { $0.columns.contains(index % prompt.columns) } ?? 0
                largest[part] = max(largest[part], abs(Double(new) - Double(old)))
            }
            // The last row is wrong with the exact prompt, and right with any other.
            return (0..<39).map { largest[$0 % 4] <= tolerances[$0 % 4] } + [largest.contains { $0 > 0 }]
        }
        let gate = try await PromptCompression.Gate(prompt, divergence: { _ in 0 }, outcomes: { outcomes($0) })
        let uniform = try await PromptCompression.measure(prompt, gate: gate)
        let byType = Dictionary(uniqueKeysWithValues: uniform.map { ($0.row.type, $0.row) })
        let exact = try #require(byType["F32"])
        #expect(exact.score == 39.0 / 40 && exact.scoreLossPoints == 0 && exact.rowsLost == 0 && exact.rowsGained == 0)
        let int8 = try #require(byType["I8"])
        // Every fourth of 39 rows from the fourth on: nine; and one more is right.
        #expect(int8.rowsLost == 9 && int8.rowsGained == 1)
        #expect(int8.score == 31.0 / 40 && int8.scoreLossPoints == 20)
        #expect(byType["F16"]?.scoreLossPoints == -2.5)

        func choice(_ loss: Double?, divergence: Double = 1) -> String? {
            PromptCompression.choice(
                uniform, limits: .init(divergence: divergence, scoreLossPoints: loss))?.row.type
        }
        #expect(choice(nil) == "I8" && choice(20) == "I8")
        #expect(choice(19.9) == "F16")
        #expect(choice(19.9, divergence: -1) == "F32")
        let limits = PromptCompression.Limits(divergence: 1, scoreLossPoints: 1)
        let mixed = try #require(
            try await PromptCompression.mixture(prompt, uniform: uniform, limits: limits, gate: gate))
        let types = try #require(mixed.row.parts)
        #expect(types["layers.1.value"] == "F16" && types.values.count { $0 == "I8" } == 3)
        #expect(mixed.row.rowsLost == 0)
        #expect(PromptCompression.choice(uniform + [mixed], limits: limits) == mixed)
        // A form that nobody scored does not pass a gate that asks for the score.
        let unscored = try await PromptCompression.measure(
            prompt, gate: PromptCompression.Gate(prompt, divergence: { _ in 0 }))
        #expect(PromptCompression.choice(unscored, limits: limits)?.row.type == "F32")
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

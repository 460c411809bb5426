import Fixtures
import Foundation
import Kernels
import LanguageModels
import Testing

@testable import Generation

@Suite struct SessionEnsembleTests {
    private let loaded: LoadedModel
    private var model: any LanguageModel { loaded.model }

    init() throws {
        loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlamaQ4_1.path, pool: ThreadPool(threadCount: 2))
    }

    private func prompt(_ tokens: Int, _ seed: Int) throws -> ResidentPrompt {
        let count = tokens * model.shape.keyValueElementsPerToken
        return try ResidentPrompt(
            PromptAttachment(
                virtualTokenCount: tokens, entry: .cache((0..<count).map { sin(Float($0 * (seed + 1))) })),
            model: model)
    }

    private var text: [Int] { loaded.tokenizer.encode("a red eel", parseSpecial: false, addSpecial: true) }

    private func generated(_ context: any GenerationContext) throws -> [Int] {
        try Generator(session: context, tokenizer: loaded.tokenizer).generate(
            tokens: text, settings: SamplerSettings(temperature: 0), maximumTokens: 12
        ).tokens
    }

    @Test(arguments: SessionEnsemble.Rule.allCases) func oneOrTwiceTheSameAnswersAsItself(rule: SessionEnsemble.Rule)
        throws
    {
        let own = try prompt(4, 1)
        let alone = try Session(model: model, prompt: own)
        let expected = Array(try alone.append(text))
        for members in [[own], [own, own]] {
            let together = try SessionEnsemble(model: model, prompts: members, rule: rule)
            let found = Array(try together.append(text, logitCount: 1))
            if members.count == 1 || rule == .mean { #expect(found.map(\.bitPattern) == expected.map(\.bitPattern)) }
            #expect(found.indices.max { found[$0] < found[$1] } == expected.indices.max { expected[$0] < expected[$1] })
        }
        alone.reset()
        #expect(try generated(SessionEnsemble(model: model, prompts: [own, own], rule: rule)) == generated(alone))
    }

    @Test func theMeanIsThatOfTheMembersLogitsWhateverTheirLengths() throws {
        let members = [try prompt(2, 1), try prompt(5, 3), try prompt(3, 7)]
        let single = try members.map { member in
            let session = try Session(model: model, prompt: member)
            return try withExtendedLifetime(session) { Array(try session.append(text)) }
        }
        let together = try SessionEnsemble(model: model, prompts: members)
        let found = try together.append(text, logitCount: 1)
        for id in 0..<found.count {
            #expect(abs(found[id] - (single[0][id] + single[1][id] + single[2][id]) / 3) < 1e-4)
        }
        #expect(together.attachedCount == 5 && together.position == 5 + text.count)
    }

    @Test func goingBackAndReadingAgainGivesTheSame() throws {
        let members = [try prompt(2, 1), try prompt(5, 3)]
        let together = try SessionEnsemble(model: model, prompts: members)
        let first = Array(try together.append(text, logitCount: 1))
        _ = try together.append([5, 6], logitCount: 1)
        let (logits, reused) = try together.replace(with: text)
        #expect(reused == text.count - 1)
        #expect(Array(logits).map(\.bitPattern) == first.map(\.bitPattern))
        #expect(together.reset() == 5)
        #expect(throws: ModelError.self) {
            try together.append([Int](repeating: 1, count: model.shape.contextLength), logitCount: 1)
        }
        #expect(throws: ModelError.self) { try SessionEnsemble(model: model, prompts: []) }
    }

    @Test func aVoteBeatsTheMeanAndTheMeanDecidesBetweenEquals() {
        func combine(_ members: [[Float]], _ rule: SessionEnsemble.Rule) -> [Float] {
            var result = [Float](repeating: .nan, count: members[0].count)
            let buffers = members.map { member in
                let copy = UnsafeMutablePointer<Float>.allocate(capacity: member.count)
                copy.initialize(from: member, count: member.count)
                return copy
            }
            defer { for buffer in buffers { buffer.deallocate() } }
            result.withUnsafeMutableBufferPointer {
                SessionEnsemble.combine(
                    buffers.map { UnsafePointer($0) }, width: members[0].count, rule: rule, into: $0)
            }
            return result
        }
        func order(_ row: [Float]) -> [Int] { row.indices.sorted { row[$0] > row[$1] } }
        // The first is sure of token 1, the others lean to token 0.
        let split: [[Float]] = [[0, 9, 1], [2, 1.5, 1], [2, 1.5, 1]]
        #expect(order(combine(split, .mean)) == [1, 0, 2])
        #expect(order(combine(split, .vote)) == [0, 1, 2])
        #expect(order(combine([[5, 0, 0], [0, 4, 0]], .vote)) == [0, 1, 2])
        #expect(combine([[-.infinity, 1], [-.infinity, 2]], .vote)[0] == -.infinity)
        #expect(combine([[-.infinity, -.infinity]], .vote).allSatisfy { $0 == -.infinity })
    }
}

import Fixtures
import Foundation
import Generation
import Kernels
import LanguageModels
import PromptTuning
import Testing

@testable import Evaluation

@Suite struct PromptEnsembleTests {
    @Test func theMeanIsOfLogProbabilities() {
        // The first is sure of label 1, the others lean to label 0.
        let scores = [[-9.0, -0.1], [-0.6, -0.8], [-0.6, -0.8]]
        #expect(PromptEnsemble(rule: .mean).choose(scores) == 1)
        #expect(PromptEnsemble(rule: .vote).choose(scores) == 0)
    }

    @Test func theMeanDecidesAVoteBetweenEquals() {
        let scores = [[-0.1, -3.0, -9.0], [-9.0, -0.2, -3.0]]
        #expect(PromptEnsemble(rule: .vote).choose(scores) == 1)
    }

    @Test func onePromptAnswersAsItself() {
        for rule in SessionEnsemble.Rule.allCases {
            #expect(PromptEnsemble(rule: rule).choose([[-3, -1, -2]]) == 1)
        }
    }

    @Test(arguments: SessionEnsemble.Rule.allCases) func promptsInOneBatchScoreAsEachAloneDoes(
        rule: SessionEnsemble.Rule
    ) throws {
        let loaded = try ModelLoader.load(
            path: Fixtures.Models.tinyLlamaQ4_1.path, pool: ThreadPool(threadCount: 2))
        let model = loaded.model
        let rows = Array(try Dataset(path: Fixtures.Data.tinyKinds.path)[.test].prefix(12))
        // The last has several tokens, whose scores come from rows behind the first.
        let labels = Array(Set(rows.map(\.target))).sorted() + ["a thing of another kind"]
        let prompts = try [(2, 1), (5, 3), (3, 7)].map { tokens, seed in
            let count = tokens * model.shape.keyValueElementsPerToken
            return try ResidentPrompt(
                PromptAttachment(
                    virtualTokenCount: tokens,
                    entry: .cache((0..<count).map { sin(Float($0 * (seed + 1))) })), model: model)
        }
        func report(_ context: any GenerationContext) throws -> TaskReport {
            try TaskEvaluator(
                session: context, tokenizer: loaded.tokenizer, template: ExampleTemplate(prompt: "{input}\nAnswer:"),
                labels: labels
            ).evaluate(rows, prompt: .none, name: "x", scoring: .labels, measuresTime: false)
        }
        let alone = try prompts.map { try report(Session(model: model, prompt: $0)) }
        let together = try report(
            SessionEnsemble(model: model, prompts: prompts, rule: rule == .vote ? .vote : .mean))
        let scores = try alone.map { try #require($0.labelScores) }
        for index in rows.indices {
            let chosen = PromptEnsemble(rule: rule).choose(scores.map { $0[index] })
            #expect(together.answers[index] == labels[chosen])
            for label in labels.indices {
                let mean = scores.reduce(0) { $0 + $1[index][label] } / 3
                #expect(abs((together.labelScores?[index][label] ?? .nan) - mean) < 1e-9)
            }
        }
        #expect(abs(together.contextTokens - alone.reduce(0) { $0 + $1.contextTokens }) < 1e-9)
    }
}

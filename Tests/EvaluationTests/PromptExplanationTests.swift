import Fixtures
import Foundation
import Kernels
import LanguageModels
import PromptTuning
import SoftPrompts
import Testing

@testable import Evaluation

@Suite struct PromptExplanationTests {
    @Test(arguments: [SoftPrompt.Placement.inputEmbeddings, .keysAndValues])
    func wordsAreTheirOwnNearest(placement: SoftPrompt.Placement) throws {
        let loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 1))
        let graph = try loaded.model.differentiable(weightsMemory: .float)
        let method: any TuningMethod.Type =
            placement == .keysAndValues ? PrefixTuning.self : PromptTuningMethod.self
        let text = "What kind of thing"
        let ids = loaded.tokenizer.encode(text, parseSpecial: true, addSpecial: false)
        let values = try method.initialParameters(
            .text(text), tokens: ids.count, model: loaded.model, tokenizer: loaded.tokenizer)
        let encoder = ExampleEncoder(
            tokenizer: loaded.tokenizer, template: try ExampleTemplate(prompt: "{input}\nAnswer:"), learnsEnd: false)
        let rows = try Dataset(path: Fixtures.Data.tinyKinds.path)[.train].prefix(4).map { try encoder.encode($0) }
        let explanation = try PromptExplanation(
            values: values, count: ids.count, placement: placement, rows: Array(rows), loaded: loaded, graph: graph,
            neighbours: 2)
        #expect(explanation.tokens.count == ids.count)
        for (token, id) in zip(explanation.tokens, ids) {
            let first = try #require(token.nearest.first)
            #expect(first.token == id && first.cosine > 0.99, "\(first) is not \(id)")
            #expect(token.size > 0 && (token.keySize != nil) == (placement == .keysAndValues))
        }
        // Attention to virtual tokens is a share, and some of it.
        let attention = try #require(explanation.attention)
        #expect(attention > 0.01 && attention < 1)
        #expect(explanation.tokens.contains { ($0.ablation ?? 0) != 0 })
        #expect(explanation.loss != explanation.bareLoss)
        let page = explanation.page(title: "<a>")
        #expect(page.contains("&lt;a&gt;") && page.components(separatedBy: "<tr>").count == ids.count + 2)
    }
}

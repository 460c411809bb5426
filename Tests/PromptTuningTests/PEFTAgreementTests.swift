import Fixtures
import Foundation
import Kernels
import LanguageModels
import PromptTuning
import Testing

/// Ten SGD steps of both methods, number by number against Hugging Face PEFT (`Fixtures/Golden/tiny-peft.json`).
@Suite struct PEFTAgreementTests {
    private struct Golden: Decodable {
        struct Row: Decodable {
            var input, target: [Int]
        }
        struct Run: Decodable {
            var columns: Int
            var losses: [Double]
            var initial, firstGradient, final: [Float]
        }
        var examples: [Row]
        var virtualTokens, batch, steps: Int
        var learningRate: Float
        var methods: [String: Run]
    }
    /// Both sides compute in F32, in another order.
    private let tolerance = 1e-3

    @Test(arguments: ["prompt-tuning", "prefix-tuning"]) func tenStepsAgree(name: String) throws {
        let golden = try JSONDecoder().decode(Golden.self, from: Data(contentsOf: Fixtures.Golden.tinyPEFT))
        let run = try #require(golden.methods[name])
        let method = try MethodCatalog.method(named: name)
        let model = try ModelLoader.load(
            path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 2)
        ).model
        let graph = try model.differentiable(weightsMemory: .float)
        let tokens = golden.virtualTokens
        var parameters = method.parameters(fromStored: run.initial, tokens: tokens, shape: model.shape)
        #expect(method.storedValues(parameters, tokens: tokens, shape: model.shape) == run.initial)
        var gradient = [Float](repeating: 0, count: parameters.count)
        for step in 0..<golden.steps {
            let batch = TrainingBatch(
                (0..<golden.batch).map { index in
                    let row = golden.examples[(step * golden.batch + index) % golden.examples.count]
                    return .init(tokens: row.input + row.target, targetStart: row.input.count)
                })
            let found = try parameters.withUnsafeBufferPointer { values in
                try graph.loss(
                    of: batch, prompt: method.view(values.baseAddress!, tokens: tokens), gradient: &gradient)
            }
            #expect(abs(found.loss - run.losses[step]) < tolerance, "step \(step)")
            if step == 0 {
                let stored = method.storedValues(gradient, tokens: tokens, shape: model.shape)
                #expect(largestDifference(stored, run.firstGradient) < tolerance)
            }
            for index in parameters.indices { parameters[index] -= golden.learningRate * gradient[index] }
        }
        let stored = method.storedValues(parameters, tokens: tokens, shape: model.shape)
        #expect(largestDifference(stored, run.final) < tolerance)
    }

    private func largestDifference(_ a: [Float], _ b: [Float]) -> Double {
        a.count == b.count ? zip(a, b).reduce(0) { max($0, Double(abs($1.0 - $1.1))) } : .infinity
    }
}

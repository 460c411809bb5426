import Fixtures
import Foundation
import GGUF
import Testing
import TokenizerFiles

@testable import Generation

/// Random chains of samplers against llama.cpp's, when `INCIPIT_SAMPLER_ORACLE` names what `Tests/Oracles/samplers.py
/// --random N --vocab Fixtures/Models/tiny/tiny-llama.gguf` wrote (`Tests/Oracles/sampling.sh`).
@Suite struct SamplerOracleTests {
    private static let path = ProcessInfo.processInfo.environment["INCIPIT_SAMPLER_ORACLE"]

    /// Steps that cut by a sum of probabilities, which single precision rounds: a token at the very border may fall on
    /// either side. Each such case is counted, none may differ by more than that token.
    @Test(.enabled(if: path != nil)) func `random chains leave what llama.cpp's leave`() throws {
        let golden = try JSONDecoder().decode(
            SamplerGoldenTests.Golden.self, from: Data(contentsOf: URL(filePath: Self.path ?? "")))
        let tokenizer = try GGUFTokenizer.make(from: GGUFFile(path: Fixtures.Models.tinyLlama.path))
        var atBorder = 0
        for (number, item) in golden.cases.enumerated() {
            var sampler = try Sampler(SamplerGoldenTests.settings(item.steps), tokenizer: tokenizer)
            sampler.observe(item.accepted)
            let logits = SamplerGoldenTests.logits(seed: item.seed, count: item.count, scale: item.scale)
            let left = sampler.remaining(logits: logits).list.filter { $0.logit > -.infinity }
            let difference =
                item.ids.isEmpty
                ? abs(left.count - item.left) : Set(left.map { Int($0.id) }).symmetricDifference(item.ids).count
            let best = left.sorted(by: Candidates.Candidate.precedes).prefix(12)
            let isEqual =
                difference == 0
                && zip(best, item.top).allSatisfy { abs(Double($0.logit) - $1[1]) <= 1e-4 * max(1, abs($1[1])) }
            if isEqual { continue }
            atBorder += 1
            let chain = item.steps.map {
                "\($0.name)\($0.arguments.map { $0.strings.isEmpty ? "\($0.float)" : "\($0.strings)" })"
            }
            let label: Comment = """
                case \(number), seed \(item.seed), \(item.count) logits, scale \(item.scale), \(item.accepted.count) accepted: \
                \(chain.joined(separator: " ")): \(left.count) left instead of \(item.left), \
                best \(best.prefix(4).map { "\($0.id) \($0.logit)" }) instead of \(item.top.prefix(4))
                """
            #expect(difference > 0 && difference <= 2 + item.left / 200, label)
        }
        print("\(golden.cases.count) chains, \(atBorder) with another token at the border")
        #expect(atBorder <= golden.cases.count / 200)
    }
}

import Fixtures
import Foundation
import GGUF
import LanguageModels
import Testing
import Tokenization
import TokenizerFiles

@testable import Generation

/// Each sampler, and chains of them, against llama.cpp's on the same logits (`Tests/Oracles/samplers.py`).
@Suite struct SamplerGoldenTests {
    struct Golden: Decodable {
        let source: String
        let vocabulary: Int
        let cases: [Case]
    }

    struct Case: Decodable {
        let seed: UInt64
        let count: Int
        let scale: Double
        let steps: [Step]
        let accepted: [Int]
        let left: Int
        let ids: [Int]
        let sum: Double
        let top: [[Double]]
    }

    struct Step: Decodable {
        let name: String
        let arguments: [Argument]
    }

    enum Argument: Decodable {
        case number(Float)
        case texts([String])

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(Float.self) {
                self = .number(number)
            } else {
                self = .texts(try container.decode([String].self))
            }
        }

        var float: Float { if case .number(let value) = self { value } else { .nan } }
        var int: Int { Int(float) }
        var strings: [String] { if case .texts(let value) = self { value } else { [] } }
    }

    /// `INCIPIT_SAMPLER_GOLDEN` and `INCIPIT_SAMPLER_VOCABULARY` name others than the ones in Fixtures.
    private static func load() throws -> (Golden, any Tokenizer) {
        let environment = ProcessInfo.processInfo.environment
        let golden = environment["INCIPIT_SAMPLER_GOLDEN"] ?? Fixtures.url("Golden/samplers.json").path
        let vocabulary = environment["INCIPIT_SAMPLER_VOCABULARY"] ?? Fixtures.Models.tinyLlama.path
        return (
            try JSONDecoder().decode(Golden.self, from: Data(contentsOf: URL(filePath: golden))),
            try GGUFTokenizer.make(from: GGUFFile(path: vocabulary))
        )
    }

    /// The oracle's logits: a sum of four 16-bit parts of splitmix64's numbers.
    static func logits(seed: UInt64, count: Int, scale: Double) -> [Float] {
        var state = seed
        return (0..<count).map { _ in
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            z ^= z >> 31
            let parts = [0, 16, 32, 48].reduce(0) { $0 + Int(z >> UInt64($1) & 0xFFFF) }
            return Float(Double(parts - 131_070) * scale / 16384)
        }
    }

    static func settings(_ steps: [Step]) -> SamplerSettings {
        var settings = SamplerSettings(temperature: 1, topK: 0, topP: 1, minP: 0, penaltyWindow: 0, seed: 1)
        settings.order = steps.map(\.name).filter { $0 != "logit_bias" }
        for step in steps {
            let a = step.arguments
            switch step.name {
            case "top_k": settings.topK = a[0].int
            case "top_p": settings.topP = a[0].float
            case "min_p": settings.minP = a[0].float
            case "typ_p": settings.typicalP = a[0].float
            case "top_n_sigma": settings.topNSigma = a[0].float
            case "xtc": (settings.xtcProbability, settings.xtcThreshold) = (a[0].float, a[1].float)
            case "temperature":
                settings.temperature = a[0].float
                if a.count > 1 {
                    settings.dynamicTemperatureRange = a[1].float
                    settings.dynamicTemperatureExponent = a[2].float
                }
            case "penalties":
                settings.penaltyWindow = a[0].int
                settings.repetitionPenalty = a[1].float
                (settings.frequencyPenalty, settings.presencePenalty) = (a[2].float, a[3].float)
            case "dry":
                (settings.dryMultiplier, settings.dryBase) = (a[0].float, a[1].float)
                settings.dryAllowedLength = a[2].int
                settings.dryWindow = a[3].int
                settings.drySequenceBreakers = a[4].strings
            case "logit_bias":
                for place in stride(from: 0, to: a.count - 1, by: 2) {
                    settings.logitBias[a[place].int] = a[place + 1].float
                }
            case "mirostat":
                settings.mirostat = a[0].int
                (settings.mirostatTarget, settings.mirostatRate) = (a[1].float, a[2].float)
                settings.order = []
            default: Issue.record("unknown step \(step.name)")
            }
        }
        return settings
    }

    @Test func `samplers leave what llama.cpp's leave`() throws {
        let (golden, tokenizer) = try Self.load()
        #expect(golden.cases.count > 600)
        var atBorder = 0
        for item in golden.cases {
            let label: Comment = "seed \(item.seed): \(item.steps.map(\.name)) of \(item.count)"
            var sampler = try Sampler(Self.settings(item.steps), tokenizer: tokenizer)
            sampler.observe(item.accepted)
            let logits = Self.logits(seed: item.seed, count: item.count, scale: item.scale)
            let left = sampler.remaining(logits: logits).list.filter { $0.logit > -.infinity }
            // Sums in single precision end a hair elsewhere than in double: where thousands are added up, a few tokens
            // at the border may differ. Typical's border runs through the likeliest tokens as well, and its order depends
            // on the last digits of the entropy.
            let allowed = item.left > 400 ? 2 + item.left / 200 : 0
            #expect(abs(left.count - item.left) <= allowed, label)
            if item.count > 10_000, item.steps.map(\.name) == ["typ_p"] { continue }
            if left.count != item.left { atBorder += 1 }
            if !item.ids.isEmpty { #expect(left.map { Int($0.id) }.sorted() == item.ids, label) }
            let best = left.sorted(by: Candidates.Candidate.precedes).prefix(12)
            #expect(best.map { Int($0.id) } == item.top.map { Int($0[0]) }, label)
            // Logits that a step changed: pow, exp and log of two libraries, and an entropy that is summed in another order.
            let tolerance = item.count > 10_000 ? 1e-4 : 2e-5
            #expect(
                zip(best, item.top).allSatisfy { abs(Double($0.logit) - $1[1]) <= tolerance * max(1, abs($1[1])) },
                label)
            if left.count == item.left {
                let sum = left.reduce(0.0) { $0 + Double($1.logit) }
                let size = left.reduce(1.0) { $0 + abs(Double($1.logit)) }
                #expect(abs(sum - item.sum) <= tolerance * size, label)
            }
        }
        #expect(atBorder < golden.cases.count / 50)
    }
}

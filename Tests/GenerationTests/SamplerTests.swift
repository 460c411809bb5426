import Foundation
import Testing

@testable import Generation

@Suite struct SamplerTests {
    private let logits: [Float] = [1, 4, 2, 4, -1, 3]

    /// Which ids ever come up, from settings with a temperature so high that every kept token does.
    private func reachable(_ logits: [Float], _ settings: SamplerSettings) throws -> Set<Int> {
        var settings = settings
        settings.temperature = 1000
        var sampler = try Sampler(settings)
        return Set((0..<2000).map { _ in sampler.next(logits: logits) })
    }

    private func off(seed: UInt64 = 7) -> SamplerSettings {
        SamplerSettings(temperature: 1, topK: 0, topP: 1, minP: 0, penaltyWindow: 0, seed: seed)
    }

    @Test func `greedy takes the highest, of equals the lowest id`() throws {
        var sampler = try Sampler(.greedy)
        #expect(sampler.next(logits: logits) == 1)
        #expect(sampler.next(logits: [.nan, -.infinity, -3, .nan]) == 2)
        #expect(sampler.next(logits: [.nan, .nan]) == 0)
        #expect(sampler.next(logits: [0, .infinity]) == 1)
    }

    @Test func `top-k keeps k tokens`() throws {
        var settings = off()
        for (k, expected) in [(1, [1]), (2, [1, 3]), (3, [1, 3, 5]), (5, [0, 1, 2, 3, 5]), (6, [0, 1, 2, 3, 4, 5])] {
            settings.topK = k
            #expect(try reachable(logits, settings) == Set(expected), "\(k)")
        }
    }

    @Test func `top-p keeps tokens until the probability is reached`() throws {
        let logits = [0.5, 0.25, 0.15, 0.1].map { Float(log($0)) }
        for (topP, count) in [(0, 1), (0.45, 1), (0.55, 2), (0.74, 2), (0.76, 3), (0.95, 4), (1, 4)] as [(Float, Int)] {
            var settings = off()
            settings.topP = topP
            #expect(try reachable(logits, settings) == Set(0..<count), "\(topP)")
            settings.topK = 3
            // Top-k comes first, so top-p sees shares of what it left.
            #expect(try reachable(logits, settings).isSubset(of: Set(0..<min(count, 3))), "\(topP)")
        }
    }

    @Test func `top-p over a large vocabulary agrees with sorting it all`() throws {
        var random = RandomGenerator(seed: 3)
        for scale in [Float(0.5), 3, 30] {
            let logits = (0..<400).map { _ in Float(random.nextUniform() - 0.5) * scale }
            let order = logits.indices.sorted { (-logits[$0], $0) < (-logits[$1], $1) }
            let weights = order.map { exp(Double(logits[$0]) - Double(logits[order[0]])) }
            let goal = 0.3 * weights.reduce(0, +)
            var kept: Set<Int> = []
            var sum = 0.0
            for (id, weight) in zip(order, weights) {
                kept.insert(id)
                sum += weight
                if sum >= goal { break }
            }
            var settings = off()
            settings.topP = 0.3
            let found = try reachable(logits, settings)
            // One token more or less: sums in single and double precision may differ at the border.
            #expect(found.subtracting(kept).count <= 1, "\(scale)")
            if kept.count < 100 { #expect(kept.subtracting(found).count <= 1, "\(scale)") }
        }
    }

    @Test func `min-p keeps what is likely enough beside the best`() throws {
        let logits = [0.5, 0.25, 0.15, 0.1].map { Float(log($0)) }
        for (minP, count) in [(0, 4), (0.19, 4), (0.21, 3), (0.31, 2), (0.51, 1), (1, 1)] as [(Float, Int)] {
            var settings = off()
            settings.minP = minP
            #expect(try reachable(logits, settings) == Set(0..<count), "\(minP)")
        }
    }

    @Test func `draws follow the probabilities`() throws {
        var settings = off(seed: 11)
        settings.temperature = 2
        let shares = [0.6, 0.3, 0.1]
        let logits = shares.map { Float(2 * log($0)) }  // temperature 2 brings the shares back
        var sampler = try Sampler(settings)
        var counts = [0, 0, 0]
        for _ in 0..<20_000 { counts[sampler.next(logits: logits)] += 1 }
        // Four standard deviations of a binomial share.
        for (count, share) in zip(counts, shares) {
            #expect(abs(Double(count) / 20_000 - share) < 4 * (share * (1 - share) / 20_000).squareRoot())
        }
    }

    @Test func `penalties follow the published formulas`() throws {
        var settings = SamplerSettings.greedy
        settings.repetitionPenalty = 2
        var sampler = try Sampler(settings)
        sampler.observe([1, 3])
        #expect(sampler.next(logits: logits) == 5)  // 4/2, 4/2 against 3
        sampler = try Sampler(settings)
        sampler.observe([0])
        #expect(sampler.next(logits: [-1, -1.5]) == 1)  // −1·2 is below −1.5

        settings = .greedy
        settings.frequencyPenalty = 0.3
        settings.presencePenalty = 0.5
        sampler = try Sampler(settings)
        sampler.observe([0, 0, 1])  // 0: 2 − 0.6 − 0.5 = 0.9; 1: 2 − 0.3 − 0.5 = 1.2
        #expect(sampler.next(logits: [2, 2, 1.1]) == 1)
        sampler.observe([1, 1])
        #expect(sampler.next(logits: [2, 2, 1.1]) == 2)
    }

    @Test func `penalties forget what left the window`() throws {
        var settings = SamplerSettings.greedy
        settings.presencePenalty = 10
        settings.penaltyWindow = 2
        var sampler = try Sampler(settings)
        #expect((0..<6).map { _ in sampler.next(logits: [3, 2, 1]) } == [0, 1, 2, 0, 1, 2])
        settings.penaltyWindow = 0
        sampler = try Sampler(settings)
        #expect((0..<3).map { _ in sampler.next(logits: [3, 2, 1]) } == [0, 0, 0])
    }

    @Test func `bias lifts and forbids tokens`() throws {
        var settings = SamplerSettings.greedy
        settings.logitBias = [1: -.infinity, 4: 20, 99: 1]
        var sampler = try Sampler(settings)
        #expect(sampler.next(logits: logits) == 4)
        settings.logitBias = [1: -.infinity]
        sampler = try Sampler(settings)
        #expect(sampler.next(logits: logits) == 3)
    }

    @Test func `the same seed gives the same tokens`() throws {
        func tokens(_ seed: UInt64) throws -> [Int] {
            var sampler = try Sampler(SamplerSettings(temperature: 3, seed: seed))
            return (0..<50).map { _ in sampler.next(logits: logits) }
        }
        #expect(try tokens(1) == tokens(1))
        #expect(try tokens(1) != tokens(2))
    }

    @Test func `the generator gives the numbers of its reference`() {
        var random = RandomGenerator(state: (1, 2, 3, 4))
        #expect((0..<4).map { _ in random.next() } == [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240])
    }

    @Test func `settings out of range are refused by name`() {
        func setting(_ change: (inout SamplerSettings) -> Void) -> String? {
            var settings = SamplerSettings()
            change(&settings)
            do { _ = try Sampler(settings) } catch { return error.setting }
            return nil
        }
        #expect(setting { _ in } == nil)
        #expect(setting { $0.temperature = .nan } == "temperature")
        #expect(setting { $0.temperature = -1 } == "temperature")
        #expect(setting { $0.topK = -1 } == "topK")
        #expect(setting { $0.topP = 1.5 } == "topP")
        #expect(setting { $0.minP = .nan } == "minP")
        #expect(setting { $0.repetitionPenalty = 0 } == "repetitionPenalty")
        #expect(setting { $0.frequencyPenalty = .infinity } == "frequencyPenalty")
        #expect(setting { $0.presencePenalty = .nan } == "presencePenalty")
        #expect(setting { $0.penaltyWindow = -1 } == "penaltyWindow")
        #expect(setting { $0.logitBias = [-1: 0] } == "logitBias")
        #expect(setting { $0.logitBias = [1: .nan] } == "logitBias")
        #expect(setting { $0.dynamicTemperatureRange = -1 } == "dynamicTemperatureRange")
        #expect(setting { $0.typicalP = 2 } == "typicalP")
        #expect(setting { $0.topNSigma = .nan } == "topNSigma")
        #expect(setting { $0.xtcProbability = -0.1 } == "xtcProbability")
        #expect(setting { $0.dryBase = 0.5 } == "dryBase")
        #expect(setting { $0.dryWindow = -2 } == "dryWindow")
        #expect(setting { $0.mirostat = 3 } == "mirostat")
        #expect(setting { $0.order = ["top_k", "nonsense"] } == "order")
    }

    @Test func `the chain's order decides`() throws {
        // Hot before top-p keeps more; cold before it keeps less.
        let logits = [0.5, 0.25, 0.15, 0.1].map { Float(log($0)) }
        var settings = off()
        settings.topP = 0.9
        settings.temperature = 0.25
        func kept(_ order: String) throws -> Int {
            settings.order = try SamplerCatalog.order(order)
            var sampler = try Sampler(settings)
            return sampler.remaining(logits: logits).list.count
        }
        #expect(try kept("top_p;temperature") == 3)
        #expect(try kept("temperature;top_p") == 1)
        #expect(try kept("temperature") == 4 && kept("") == 4)
        #expect(throws: SamplerSettingsError.self) { try SamplerCatalog.order("top_p;top-k;TOP_P") }
        #expect(throws: SamplerSettingsError.self) { try SamplerCatalog.order("top_q") }
        #expect(try SamplerCatalog.order(" typical ; temp") == ["typ_p", "temperature"])
    }

    @Test func `mirostat holds the surprise near its target`() throws {
        for version in [1, 2] {
            for target in [2, 4] as [Float] {
                var settings = off(seed: 3)
                (settings.mirostat, settings.mirostatTarget) = (version, target)
                var sampler = try Sampler(settings)
                var random = RandomGenerator(seed: 8)
                var surprise = 0.0
                let rounds = 600
                for _ in 0..<rounds {
                    // Zipf's law, as text has it, in another order each time.
                    let shift = Int(random.next() % 1000)
                    let logits = (0..<1000).map { Float(-1.1 * log(Double(($0 + shift) % 1000 + 1))) }
                    let left = sampler.remaining(logits: logits)
                    let token = try #require(left.chosen)
                    // Among the tokens drawn from, as the algorithm counts it.
                    let sum = left.list.reduce(0.0) { $0 + exp(Double($1.logit)) }
                    surprise -= log2(exp(Double(logits[token])) / sum)
                }
                // What is left of the error is what the limit moved in all, divided by the rate and the rounds.
                #expect(abs(surprise / Double(rounds) - Double(target)) < 0.25, "version \(version), target \(target)")
            }
        }
    }

    @Test func `XTC acts as often as it is told`() throws {
        var settings = off(seed: 4)
        (settings.xtcProbability, settings.xtcThreshold) = (0.3, 0.15)
        settings.order = ["xtc"]
        let logits = [0.5, 0.3, 0.2].map { Float(log($0)) }
        var sampler = try Sampler(settings)
        let count = (0..<4000).count { _ in sampler.remaining(logits: logits).list.count == 1 }
        // Of three tokens that reach the threshold one is left; four standard deviations.
        #expect(abs(Double(count) / 4000 - 0.3) < 4 * (0.3 * 0.7 / 4000).squareRoot())
    }

    @Test func `a probability is the model's own`() throws {
        let logits = [0.5, 0.25, 0.15, 0.1].map { Float(log($0)) + 3 }
        let choice = logits.withUnsafeBufferPointer { TokenChoice(of: 3, in: $0, top: 2) }
        #expect(abs(exp(choice.chosen.logProbability) - 0.1) < 1e-6 && choice.chosen.token == 3)
        #expect(choice.top.map(\.token) == [0, 1])
        #expect(abs(exp(choice.top[1].logProbability) - 0.25) < 1e-6)
    }

    @Test func `DRY without a tokenizer is refused unless there is no breaker`() throws {
        var settings = off()
        settings.dryMultiplier = 1
        #expect(throws: SamplerSettingsError.self) { try Sampler(settings) }
        settings.drySequenceBreakers = []
        settings.temperature = 0
        var sampler = try Sampler(settings)
        sampler.observe([1, 2, 3, 1, 2])
        #expect(sampler.next(logits: [0, 0, 0, 0.5, 0.4]) == 4)
    }
}

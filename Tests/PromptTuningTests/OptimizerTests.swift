import Testing

@testable import PromptTuning

@Suite struct OptimizerTests {
    private let start: [Float] = [0.5, -1.25, 2, 0]
    /// Single precision, five steps: a few units in the last place.
    private let tolerance: Float = 1e-6

    private func gradient(_ step: Int) -> [Float] {
        [0.1 * Float(step + 1), -0.2, 1e-4 * Float(step), 3 - Float(step)]
    }

    private func run(_ optimizer: inout some Optimizer, _ steps: Range<Int>, _ parameters: inout [Float]) {
        for step in steps {
            optimizer.step(parameters: &parameters, gradients: gradient(step), learningRate: 0.1)
        }
    }

    private func isClose(_ a: [Float], _ b: [Float]) -> Bool {
        a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= tolerance }
    }

    @Test func `AdamW steps as PyTorch 2 does`() throws {
        var optimizer = try AdamW(parameterCount: 4, weightDecay: 0.01)
        var parameters = start
        run(&optimizer, 0..<5, &parameters)
        #expect(isClose(parameters, [0.01339816302061081, -0.74476158618927, 1.6559499502182007, -0.4043128490447998]))
    }

    @Test func `gradient descent with momentum steps as PyTorch 2 does`() throws {
        var optimizer = try StochasticGradientDescent(parameterCount: 4, momentum: 0.9, weightDecay: 0.01)
        var parameters = start
        run(&optimizer, 0..<5, &parameters)
        #expect(
            isClose(parameters, [0.17691843211650848, -0.9713461995124817, 1.9735883474349976, -2.079998016357422]))
    }

    @Test func `a restored state continues bit for bit`() throws {
        func check<O: Optimizer>(_ make: () throws -> O) throws {
            var whole = try make()
            var expected = start
            run(&whole, 0..<9, &expected)
            var first = try make()
            var parameters = start
            run(&first, 0..<4, &parameters)
            var second = try make()
            try second.restore(first.state)
            run(&second, 4..<9, &parameters)
            #expect(parameters == expected && second.state == whole.state)
        }
        try check { try AdamW(parameterCount: 4, weightDecay: 0.1) }
        try check { try StochasticGradientDescent(parameterCount: 4, momentum: 0.5) }
        try check { try StochasticGradientDescent(parameterCount: 4) }
    }

    @Test func `a foreign state is refused`() throws {
        var optimizer = try AdamW(parameterCount: 2)
        let state = optimizer.state
        #expect(throws: TuningError.self) { try optimizer.restore(StochasticGradientDescent(parameterCount: 2).state) }
        #expect(throws: TuningError.self) { try optimizer.restore(AdamW(parameterCount: 3).state) }
        #expect(throws: TuningError.self) {
            try optimizer.restore(OptimizerState(optimizer: "adamw", step: -1, moments: state.moments))
        }
        #expect(throws: TuningError.self) { try AdamW(parameterCount: 1, beta1: 1) }
        #expect(throws: TuningError.self) { try AdamW(parameterCount: 1, weightDecay: .nan) }
    }

    @Test func `clipping scales to the norm as PyTorch does and never up`() {
        var gradients: [Float] = [3, 4, 12]
        #expect(gradients.withUnsafeMutableBufferPointer { GradientClipping.clip($0, toNorm: 6.5) } == 13)
        #expect(isClose(gradients, [1.4999998807907104, 1.9999998807907104, 5.999999523162842]))
        gradients = [3, 4]
        #expect(gradients.withUnsafeMutableBufferPointer { GradientClipping.clip($0, toNorm: 6) } == 5)
        #expect(gradients == [3, 4])
        gradients = [.nan, 1]
        #expect(gradients.withUnsafeMutableBufferPointer { GradientClipping.clip($0, toNorm: 1) }.isNaN)
        #expect(gradients[1] == 1)
    }
}

@Suite struct LearningRateScheduleTests {
    @Test func `the rate climbs to the peak and falls to the floor`() throws {
        let cosine = try LearningRateSchedule(peak: 2, warmUpSteps: 4, totalSteps: 12, floorFraction: 0.1)
        #expect((0..<4).map(cosine.rate(at:)) == [0.5, 1, 1.5, 2])
        #expect(cosine.rate(at: 4) == 2)
        #expect(abs(cosine.rate(at: 8) - 1.1) < 1e-12)
        #expect(abs(cosine.rate(at: 12) - 0.2) < 1e-12 && cosine.rate(at: 12) == cosine.rate(at: 1000))
        let linear = try LearningRateSchedule(decay: .linear, peak: 1, warmUpSteps: 0, totalSteps: 4)
        #expect((0...4).map(linear.rate(at:)) == [1, 0.75, 0.5, 0.25, 0])
        let constant = try LearningRateSchedule(decay: .constant, peak: 1, warmUpSteps: 1, totalSteps: 1)
        #expect((0..<3).map(constant.rate(at:)) == [1, 1, 1])
    }

    @Test func `settings out of range are refused`() {
        #expect(throws: TuningError.self) { try LearningRateSchedule(peak: .nan, warmUpSteps: 0, totalSteps: 1) }
        #expect(throws: TuningError.self) { try LearningRateSchedule(peak: 1, warmUpSteps: 2, totalSteps: 1) }
        #expect(throws: TuningError.self) { try LearningRateSchedule(peak: 1, warmUpSteps: 0, totalSteps: 0) }
        #expect(throws: TuningError.self) {
            try LearningRateSchedule(peak: 1, warmUpSteps: 0, totalSteps: 1, floorFraction: 2)
        }
        #expect(LearningRateSchedule.Decay(name: "cosine")?.name == "cosine")
        #expect(LearningRateSchedule.Decay(name: "cosinus") == nil)
    }
}

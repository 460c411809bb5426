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
        for rule in PromptEnsemble.Rule.allCases {
            #expect(PromptEnsemble(rule: rule).choose([[-3, -1, -2]]) == 1)
        }
    }
}

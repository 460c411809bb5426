import Testing

@testable import Evaluation

@Suite struct ContinuationGateTests {
    private func scores(_ right: Int, of count: Int) -> [Double] { (0..<count).map { $0 < right ? 1 : 0 } }

    @Test func betterAtTheNewAndNoWorseAtTheOldIsAccepted() {
        let verdict = ContinuationGate().judge(
            canary: .init(parent: scores(80, of: 100), child: scores(79, of: 100)),
            new: .init(parent: scores(20, of: 60), child: scores(50, of: 60)))
        #expect(verdict.accepted)
    }

    @Test func aFallOnTheCanariesIsRejectedHoweverGoodTheNew() {
        let verdict = ContinuationGate().judge(
            canary: .init(parent: scores(80, of: 100), child: scores(70, of: 100)),
            new: .init(parent: scores(0, of: 60), child: scores(60, of: 60)))
        #expect(!verdict.accepted && verdict.reason.contains("canary"))
    }

    @Test func aSmallButCertainFallIsRejectedToo() {
        let verdict = ContinuationGate(margin: 0.05).judge(
            canary: .init(parent: scores(1000, of: 1000), child: scores(980, of: 1000)),
            new: .init(parent: scores(0, of: 60), child: scores(60, of: 60)))
        #expect(!verdict.accepted && verdict.reason.contains("chance"))
    }

    @Test func noBetterThanChanceIsRejected() {
        let verdict = ContinuationGate().judge(
            canary: .init(parent: scores(80, of: 100), child: scores(90, of: 100)),
            new: .init(parent: scores(30, of: 60), child: scores(31, of: 60)))
        #expect(!verdict.accepted)
    }

    @Test func withoutCanariesTheReasonSaysSo() {
        let verdict = ContinuationGate().judge(
            canary: nil, new: .init(parent: scores(20, of: 60), child: scores(50, of: 60)))
        #expect(verdict.accepted && verdict.reason.contains("no canary"))
    }
}

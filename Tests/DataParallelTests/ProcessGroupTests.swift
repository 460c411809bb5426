import PromptTuning
import Testing

@testable import DataParallel

/// What is known of other processes before anyone talks to them. The exchange itself: `GradientExchangeTests`, and
/// `Tests/Oracles/mpi.sh` over MPI.
@Suite struct ProcessGroupTests {
    @Test(
        arguments: [
            ([:], 1), (["OMPI_COMM_WORLD_SIZE": "4"], 4), (["PMI_SIZE": "3"], 3), (["OMPI_COMM_WORLD_SIZE": "1"], 1),
            (["OMPI_COMM_WORLD_SIZE": "-2"], 1), (["OMPI_COMM_WORLD_SIZE": "many"], 1),
        ] as [([String: String], Int)])
    func theLauncherSaysHowManyThereAre(environment: [String: String], count: Int) {
        #expect(ProcessGroup.launchedCount(environment) == count)
    }

    @Test func aloneThereIsNobodyToJoin() throws {
        let exchange = try ProcessGroup.join(environment: [:])
        #expect(exchange == nil)
        ProcessGroup.leave()
    }

    #if !MPI
        @Test func aBuildWithoutMPISaysHowToMakeOneThatHasIt() {
            #expect {
                try ProcessGroup.join(environment: ["OMPI_COMM_WORLD_SIZE": "4"])
            } throws: { ($0 as? TuningError)?.message.contains("--traits MPI") ?? false }
        }
    #endif
}

import Foundation
import PromptTuning

/// Training spread over the processes that `mpirun` started.
///
/// The core of it is `PromptTuning.GradientExchange`; MPI is only in builds with the package trait `MPI`
/// (`swift build --traits MPI`), which need libopenmpi-dev.
public enum ProcessGroup {
    /// How many processes `mpirun` says it started; 1 when this was not started by it.
    public static func launchedCount(
        _ environment: [String: String] = ProcessInfo.processInfo.environment
    ) -> Int {
        // Open MPI, and what PMI launchers (MPICH, Slurm) set.
        for name in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] {
            if let count = environment[name].flatMap(Int.init) { return max(1, count) }
        }
        return 1
    }

    /// The exchange with the other processes; nil when there are none.
    ///
    /// - Throws: `TuningError.invalidSetting` when there are others and this build cannot talk to them, or MPI fails.
    public static func join(
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws -> (any GradientExchange)? {
        let count = launchedCount(environment)
        guard count > 1 else { return nil }
        #if MPI
            return try MPIExchange()
        #else
            throw TuningError(
                code: .invalidSetting,
                message: "\(count) processes were started together, but this build has no MPI; build with "
                    + "swift build -c release --traits MPI")
        #endif
    }

    /// Parts from the others, if there are any; call it once, at the end of a run that went well. A process that fails ends
    /// without it, and `mpirun` then ends the others, who would wait for it for ever.
    public static func leave() {
        #if MPI
            if launchedCount() > 1 { MPIExchange.finish() }
        #endif
    }
}

import Foundation
import LanguageModels
import PromptTuning

/// What commands that train have in common: the folder of an unfinished run and what is shown on the way.
struct TuningRun {
    let name: String
    let folder: String
    var checkpoint: String { folder + "/checkpoint.safetensors" }

    /// Finds out whether an unfinished run goes on or is discarded.
    ///
    /// - Throws: `CommandFailure` when there is one and nobody said what becomes of it, or none to resume.
    init(name: String, home: Home, _ unfinished: UnfinishedRunOptions) throws {
        self.name = name
        folder = home.run(name)
        if FileManager.default.fileExists(atPath: folder + "/checkpoint.safetensors") {
            if unfinished.restart {
                try FileManager.default.removeItem(atPath: folder)
            } else if !unfinished.resume {
                throw CommandFailure(
                    .usage,
                    "there is an unfinished run named \(name); add --resume to go on with it or --restart to discard it"
                )
            }
        } else if unfinished.resume {
            throw CommandFailure(.notFound, "there is no unfinished run named \(name) to resume")
        }
        try Home.makeFolder(folder)
    }

    /// Removes the checkpoint: what it led to is durable.
    func finish() { try? FileManager.default.removeItem(atPath: folder) }

    /// Trains, showing progress and every evaluation.
    ///
    /// - Parameters:
    ///   - describe: an evaluation in words.
    ///   - onProgress: called as well, for records.
    /// - Throws: `CommandFailure` of status `interrupted` after Ctrl-C.
    func train(
        _ trainer: Trainer, evaluate: (([Float]) throws -> DevScore)?, describe: (DevScore) -> String,
        onProgress: (Trainer.Progress) -> Void = { _ in }
    ) throws -> Trainer.Outcome {
        let line = ProgressLine()
        defer { line.finish() }
        let outcome = try trainer.run(
            evaluate: evaluate, shouldStop: { Interrupt.isRequested },
            progress: { progress in
                onProgress(progress)
                if let evaluation = progress.evaluation {
                    line.finish()
                    Output.note(
                        "  step \(evaluation.step): \(describe(evaluation.score))"
                            + (progress.best == evaluation ? "  best" : ""))
                    return
                }
                line.update(
                    "\(ProgressLine.bar(Double(progress.step) / Double(progress.steps))) step "
                        + "\(progress.step)/\(progress.steps)  loss " + String(format: "%.3f", progress.smoothedLoss)
                        + String(format: "  %.1f examples/s", progress.examplesPerSecond)
                        + "  \(Output.duration(progress.secondsLeft)) left",
                    force: progress.step == progress.steps)
            })
        if outcome.ending == .interrupted {
            throw CommandFailure(
                .interrupted,
                "stopped at step \(outcome.steps) of \(trainer.configuration.steps); nothing is lost: repeat the "
                    + "command with --resume to go on")
        }
        return outcome
    }
}

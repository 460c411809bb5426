import ByteIO
import Foundation

/// What a run leaves in a folder for people and programs: `metrics.jsonl`, a TensorBoard event file, `loss.svg`.
///
/// A line of metrics: `{"examples_per_second","learning_rate","loss","smoothed_loss","step"}`, or after an evaluation
/// `{"dev_accuracy"?,"dev_loss","step"}`.
public final class TrainingLog {
    private let folder: String
    private let metrics: FileHandle
    private let events: EventFile

    /// - Parameter resumedStep: lines of later steps, of a run that was killed, are dropped; 0 starts anew.
    public init(folder: String, resumedStep: Int) throws {
        self.folder = folder
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let path = folder + "/metrics.jsonl"
        var kept: [UInt8] = []
        if resumedStep > 0, let old = FileManager.default.contents(atPath: path) {
            for line in old.split(separator: 0x0A) {
                guard let value = try? JSONValue.parse(Array(line)), let step = value["step"]?.intValue,
                    step <= resumedStep
                else { continue }
                kept += Array(line) + [0x0A]
            }
        }
        try AtomicFile.write(kept, to: path)
        guard let handle = FileHandle(forWritingAtPath: path) else {
            throw TuningError(code: .unreadableFile, message: "the metrics cannot be written", file: path)
        }
        try handle.seekToEnd()
        metrics = handle
        events = try EventFile(folder: folder)
    }

    deinit { try? metrics.close() }

    public func add(_ progress: Trainer.Progress) throws {
        func number(_ value: Double) -> JSONValue { value.isFinite ? .double(value) : .null }
        var line: [(String, JSONValue)]
        if let evaluation = progress.evaluation {
            line = [("dev_loss", number(evaluation.score.loss)), ("step", JSONValue(evaluation.step))]
            try events.add("dev/loss", evaluation.score.loss, step: evaluation.step)
            if let accuracy = evaluation.score.accuracy {
                line.append(("dev_accuracy", number(accuracy)))
                try events.add("dev/accuracy", accuracy, step: evaluation.step)
            }
        } else {
            line = [
                ("examples_per_second", number(progress.examplesPerSecond)),
                ("learning_rate", number(progress.learningRate)), ("loss", number(progress.loss)),
                ("smoothed_loss", number(progress.smoothedLoss)), ("step", JSONValue(progress.step)),
            ]
            try events.add("train/loss", progress.loss, step: progress.step)
            try events.add("train/learning_rate", progress.learningRate, step: progress.step)
        }
        let object = JSONValue.object(JSONObject(line))
        try metrics.write(contentsOf: Data(object.canonicalBytes() + [0x0A]))
    }

    /// Draws the curve.
    public func finish(_ outcome: Trainer.Outcome, title: String) throws {
        try AtomicFile.write(
            Array(LossCurve.svg(losses: outcome.losses, evaluations: outcome.evaluations, title: title).utf8),
            to: folder + "/loss.svg")
    }
}

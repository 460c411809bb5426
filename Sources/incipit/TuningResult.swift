import ByteIO
import Evaluation
import Foundation
import LanguageModels
import Conversion
import OCIArtifacts
import PromptTuning
import SoftPrompts

/// What a finished run stores and says.
struct TuningResult {
    let command: TuneCommand
    let home: Home
    let loaded: LoadedModel
    let identified: ModelFingerprint
    let method: any TuningMethod.Type
    let start: TuningStart
    let configuration: TuningConfiguration
    let outcome: Trainer.Outcome
    let dataDigest: String

    /// A prompt that was stored.
    struct Stored {
        let name: RepositoryName
        let version: PromptStore.Stored
        let score: DevScore?
    }

    private struct TaskSummary: Encodable {
        let name, version, digest: String
        let devAccuracy, devLoss: Double?
    }

    private struct Summary: Encodable {
        let name, version, digest, base, method, ending: String
        let virtualTokens, parameters, steps: Int
        let bestStep: Int?
        let devAccuracy, devLoss: Double?
        let firstLoss, lastLoss: Double
        let examplesPerSecond, seconds: Double
        let peakMemoryBytes: Int
        /// One for each task, where there are several.
        let tasks: [TaskSummary]?
    }

    /// Stores the prompt, or each task's, with what `continue` needs.
    ///
    /// - Parameter scorers: of each file, for the scores of several tasks.
    func store(
        _ trainer: Trainer, name: RepositoryName, files: [TrainingFile],
        scorers: [(([Float]) throws -> DevScore)?]
    ) async throws -> [Stored] {
        if let tasks = trainer.tasks {
            try command.multitask.export(
                trainer.keptParameters, tasks, baseName: loaded.name, shape: loaded.model.shape)
        }
        let names = try MultitaskOptions.names(name, files: files.map(\.path))
        let size = outcome.parameters.count / files.count
        var result: [Stored] = []
        for (index, own) in names.enumerated() {
            let values = Array(outcome.parameters[index * size..<(index + 1) * size])
            let score = files.count == 1 ? outcome.best?.score : try scorers[index]?(values)
            var task: (index: Int, file: String)?
            if files.count > 1 { task = (index, (files[index].path as NSString).lastPathComponent) }
            let version = try await store(values, name: own, score: score, task: task)
            if case .labelled(let dataset) = files[index].content {
                try writeState(trainer, values, dataset, digest: version.digest)
            }
            result.append(Stored(name: own, version: version, score: score))
        }
        return result
    }

    private func store(
        _ values: [Float], name: RepositoryName, score: DevScore?, task: (index: Int, file: String)?
    ) async throws -> PromptStore.Stored {
        let shape = loaded.model.shape
        var training = try trainingRecord()
        if let task {
            training["task"] = .integer(Int64(task.index))
            training["task_file"] = .string(task.file)
        }
        let prompt = try SoftPrompt(
            placement: method.placement, virtualTokenCount: configuration.tokens,
            values: method.storedValues(values, tokens: configuration.tokens, shape: shape),
            shape: shape.promptShape, base: identified.base, baseName: loaded.name, baseSource: identified.source,
            method: method.name, training: training)
        var metrics: [String: String] = [:]
        if let score {
            metrics["dev-loss"] = String(format: "%.4f", score.loss)
            if let accuracy = score.accuracy { metrics["dev-accuracy"] = String(format: "%.4f", accuracy) }
        }
        return try await PromptStore(home: home).save(prompt, name: name, metrics: metrics)
    }

    /// What `continue` takes up. A task goes on alone, as the plain prompt it was folded to.
    private func writeState(_ trainer: Trainer, _ values: [Float], _ dataset: Dataset, digest: String) throws {
        var replay = Reservoir(capacity: ContinuationState.replayCapacity)
        replay.add(dataset[.train], seed: command.seed)
        var canary = Reservoir(capacity: ContinuationState.canaryCapacity)
        canary.add(dataset[.dev], seed: command.seed)
        try ContinuationState(
            parameters: trainer.tasks == nil ? trainer.keptParameters : values,
            optimizer: trainer.tasks == nil
                ? trainer.optimizerState : OptimizerState(optimizer: "", step: 0, moments: []),
            configuration: configuration.ofPlainPrompt, steps: outcome.steps, replay: replay, canary: canary
        ).write(to: home.state(digest))
    }

    /// What a reader of the stored prompt should know of its making.
    private func trainingRecord() throws -> [String: JSONValue] {
        var record: [String: JSONValue] = [
            "template": .string(configuration.template),
            "configuration": try JSONValue.parse(text: configuration.canonicalText()),
            "data": .string(dataDigest),
            "steps": .integer(Int64(outcome.steps)),
            "precision": .string(command.precision.rawValue),
            "tool": .string("incipit \(IncipitCommand.configuration.version)"),
        ]
        record.merge(start.record) { _, new in new }
        if let best = outcome.best { record["best_step"] = .integer(Int64(best.step)) }
        return record
    }

    func report(_ stored: [Stored]) throws {
        guard let first = stored.first else { return }
        let summary = Summary(
            name: first.name.description, version: first.version.version, digest: first.version.digest,
            base: identified.base.fingerprint, method: configuration.method, ending: outcome.ending.rawValue,
            virtualTokens: configuration.tokens, parameters: outcome.parameters.count, steps: outcome.steps,
            bestStep: outcome.best?.step, devAccuracy: outcome.best?.score.accuracy, devLoss: outcome.best?.score.loss,
            firstLoss: Double(outcome.losses.first ?? .nan), lastLoss: Double(outcome.losses.last ?? .nan),
            examplesPerSecond: outcome.examplesPerSecond, seconds: outcome.seconds,
            peakMemoryBytes: SystemMemory.peakResident,
            tasks: stored.count == 1
                ? nil
                : stored.map {
                    TaskSummary(
                        name: $0.name.description, version: $0.version.version, digest: $0.version.digest,
                        devAccuracy: $0.score?.accuracy, devLoss: $0.score?.loss)
                })
        if command.json { return try Output.json(summary) }
        for prompt in stored {
            let score = stored.count > 1 ? prompt.score.map { ": dev \($0.text)" } ?? "" : ""
            Output.line("stored    \(prompt.name):\(prompt.version.version)  \(prompt.version.digest)\(score)")
        }
        let best = outcome.best.map { "step \($0.step), dev \($0.score.text)" } ?? "the last step (no dev rows)"
        Output.line(
            """
            best      \(best)
            loss      \(String(format: "%.3f → %.3f", summary.firstLoss, summary.lastLoss)) over \(outcome.steps) steps (\(outcome.ending.words))
            curve     \(LossCurve.line(losses: outcome.losses))
            speed     \(String(format: "%.1f", outcome.examplesPerSecond)) examples/s, \(Output.duration(outcome.seconds)) in all, \
            \(Output.bytes(summary.peakMemoryBytes)) of memory at most
            next      incipit run \(command.options.model) --attach \(first.name):\(first.version.version) "…"
            """)
        if let folder = command.multitask.exportTasks { Output.line("tasks     \(folder)") }
    }
}

extension Trainer.Outcome.Ending {
    fileprivate var words: String {
        switch self {
        case .finished: "all done"
        case .stoppedEarly: "stopped early: dev no longer improved"
        case .interrupted: "interrupted"
        }
    }
}

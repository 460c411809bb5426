import Foundation
import LanguageModels
import PromptTuning
import Tokenization

/// Learns a prompt from what a teacher expects: what `distill`, `heal` and `port` have in common.
struct Distiller {
    let loaded: LoadedModel
    let graph: any DifferentiableModel
    let configuration: TuningConfiguration
    let method: any TuningMethod.Type
    /// Sequences to learn from, and those held out, on which the best prompt is chosen.
    let learned, held: [TeacherRecording.Sequence]

    /// - Throws: `CommandFailure` when there are too few sequences to hold any out.
    init(
        loaded: LoadedModel, graph: any DifferentiableModel, configuration: TuningConfiguration,
        recording: TeacherRecording
    ) throws {
        self.loaded = loaded
        self.graph = graph
        self.configuration = configuration
        method = try MethodCatalog.method(named: configuration.method)
        held = recording.sequences.enumerated().filter { $0.offset % 8 == 7 }.map(\.element)
        learned = recording.sequences.enumerated().filter { $0.offset % 8 != 7 }.map(\.element)
        guard !held.isEmpty, !learned.isEmpty else {
            throw CommandFailure(
                .data, "only \(recording.sequences.count) sequences were recorded; at least 8 are needed")
        }
    }

    struct Result {
        let values: [Float]
        let before, after: DistillationObjective.Fidelity
        let outcome: Trainer.Outcome
    }

    /// How near virtual tokens come to the teacher on what is held out.
    func fidelity(_ values: [Float]) throws -> DistillationObjective.Fidelity {
        try values.withUnsafeBufferPointer {
            try DistillationObjective.fidelity(
                held, graph: graph, prompt: method.view($0.baseAddress!, tokens: configuration.tokens))
        }
    }

    /// - Parameters:
    ///   - initial: virtual tokens to begin with.
    ///   - precision: of the products with the weights.
    func run(
        _ run: TuningRun, initial: [Float], identity: [String: String], precision: TrainingPrecision = .int8Forward,
        resume: Bool
    ) throws -> Result {
        let trainer = try Trainer(
            model: loaded.model, graph: graph,
            objectives: ObjectiveMixture([.init(DistillationObjective(learned))], seed: configuration.seed),
            configuration: configuration,
            initial: method.parameters(
                fromVirtualTokens: initial, tokens: configuration.tokens, shape: loaded.model.shape,
                seed: configuration.seed),
            precision: precision, identity: identity, checkpointPath: run.checkpoint, resumes: resume)
        let before = try fidelity(initial)
        if trainer.resumedStep > 0 { Output.note("resumed at step \(trainer.resumedStep)") }
        let outcome = try run.train(
            trainer, evaluate: { DevScore(loss: try fidelity($0).divergence, accuracy: nil) },
            describe: { String(format: "KL %.4f", $0.loss) })
        return Result(
            values: outcome.parameters, before: before, after: try fidelity(outcome.parameters), outcome: outcome)
    }

    /// Records a teacher with progress; on Ctrl-C what was recorded is kept.
    static func record(
        _ jobs: [TeacherRecorder.Job], recorder: TeacherRecorder, teacher: () throws -> Teacher
    ) throws -> TeacherRecording {
        let line = ProgressLine()
        defer { line.finish() }
        do {
            return try recorder.record(
                jobs, teacher: teacher, shouldStop: { Interrupt.isRequested },
                progress: { done in
                    line.update(
                        "\(ProgressLine.bar(Double(done) / Double(max(jobs.count, 1)))) recording the teacher: "
                            + "\(done)/\(jobs.count) sequences")
                })
        } catch is CancellationError {
            throw CommandFailure(
                .interrupted, "stopped; what the teacher said so far is kept: repeat the command to go on")
        }
    }
}

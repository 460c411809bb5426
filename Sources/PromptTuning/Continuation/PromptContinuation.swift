import LanguageModels
import Tokenization

/// How a prompt learns something new without losing the old: replay of old rows and an anchor to its parent.
///
/// Of every batch, `replay` of the places go to old rows with their targets; as many again go to the anchor, the parent's own
/// expectations on old inputs (Kullback-Leibler divergence, `anchorWeight` times).
public struct PromptContinuation: Sendable {
    /// Share of old rows among labelled ones; 0 learns the new alone.
    public var replay: Double
    /// Weight of the divergence from the parent; 0 leaves it out.
    public var anchorWeight: Double
    /// Old inputs on which the parent is asked, at most.
    public var anchorRows = 256

    /// - Throws: `TuningError.invalidSetting` for shares out of range.
    public init(replay: Double = 0.3, anchorWeight: Double = 0.5) throws {
        guard (0..<1).contains(replay) else {
            throw TuningError(code: .invalidSetting, message: "the share of replay must lie in 0..<1, not \(replay)")
        }
        guard anchorWeight >= 0, anchorWeight.isFinite else {
            throw TuningError(code: .invalidSetting, message: "the anchor's weight cannot be \(anchorWeight)")
        }
        self.replay = replay
        self.anchorWeight = anchorWeight
    }

    /// - Parameters:
    ///   - new: rows to learn.
    ///   - old: rows learned before; may be empty only when neither replay nor anchor is wanted.
    ///   - parent: the prompt as a teacher's context.
    public func objectives(
        new: [Example], old: [Example], parent: Teacher.Context, model: any LanguageModel, tokenizer: any Tokenizer,
        configuration: TuningConfiguration
    ) throws -> ObjectiveMixture {
        let template = try ExampleTemplate(prompt: configuration.template)
        let encoder = ExampleEncoder(tokenizer: tokenizer, template: template, learnsEnd: configuration.learnsEnd)
        func supervised(_ rows: [Example]) throws -> SupervisedObjective {
            try SupervisedObjective(
                rows: rows, encoder: encoder, tokenDropout: configuration.tokenDropout, seed: configuration.seed)
        }
        var parts = [ObjectiveMixture.Part(try supervised(new), weight: 1 - replay)]
        if replay > 0 || anchorWeight > 0, old.isEmpty {
            throw TuningError(
                code: .invalidData, message: "there are no old rows to replay, so nothing would keep what was learned")
        }
        if replay > 0 { parts.append(.init(try supervised(old), weight: replay)) }
        if anchorWeight > 0 {
            let teacher = try Teacher(model: model, tokenizer: tokenizer, context: parent)
            var recorder = TeacherRecorder(folder: nil, identity: "")
            recorder.inputWeight = 0
            let jobs = old.prefix(anchorRows).map { row in
                TeacherRecorder.Job(
                    input: tokenizer.encode(template.prompt(for: row), parseSpecial: false, addSpecial: false),
                    continuation: .init(tokens: 8, endsAtLine: true))
            }
            let recording = try recorder.record(Array(jobs), teacher: { teacher })
            parts.append(
                .init(
                    DistillationObjective(recording.sequences), weight: max(replay, 0.1),
                    scale: anchorWeight))
        }
        return try ObjectiveMixture(parts, seed: configuration.seed)
    }

    /// Least share of old rows that a run replays unless told otherwise.
    public static let leastReplay = 0.3

    /// Share of old rows for a run that meets `new` labels beside `old` ones: as large as the share of their labels, so
    /// that none is asked for more often than another, and never below `leastReplay`.
    public static func replay(oldLabels old: Int, newLabels new: Int) -> Double {
        new > 0 ? max(leastReplay, Double(old) / Double(old + new)) : leastReplay
    }

    /// Settings of the new run: the old method, with fewer steps and a lower rate where it only refines what is known, and
    /// with as many and as high where new labels have to be learned.
    public static func configuration(
        from parent: TuningConfiguration, learnsNewLabels: Bool = false, steps: Int? = nil, learningRate: Double? = nil,
        seed: UInt64 = 0
    ) -> TuningConfiguration {
        var result = parent
        result.steps = steps ?? (learnsNewLabels ? parent.steps : max(20, parent.steps * 3 / 10))
        result.learningRate = learningRate ?? parent.learningRate * (learnsNewLabels ? 1 : 0.3)
        result.evaluateEvery = min(parent.evaluateEvery, max(10, result.steps / 6))
        result.seed = seed
        return result
    }
}

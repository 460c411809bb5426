import LanguageModels

/// A teacher's expectations at every position of interest: Kullback-Leibler divergence of the prompt's from them.
///
/// The teacher is the same base reading a hand-written text (context distillation), the parent of a prompt that is tuned
/// on, or the unquantized model. Its likeliest tokens are recorded once (`TeacherRecording`).
public struct DistillationObjective: Objective {
    public static let name = "distillation"
    public static let summary = "no labels: learns to say what the base says when it reads a text"

    private let examples: [TrainingBatch.Example]
    public let longestSequence: Int

    public var itemCount: Int { examples.count }

    public init(_ recordings: [TeacherRecording.Sequence]) {
        examples = recordings.map(\.example)
        longestSequence = examples.map(\.tokens.count).max() ?? 0
    }

    public func batch(_ items: [Int], step: Int) -> TrainingBatch { TrainingBatch(items.map { examples[$0] }) }

    /// Divergence from the teacher and agreement of the likeliest token, over some sequences.
    public struct Fidelity: Sendable, Codable {
        /// Mean Kullback-Leibler divergence a position, nats.
        public var divergence: Double
        /// Share of positions at which both find the same token likeliest.
        public var agreement: Double
        public var positions: Int
    }

    /// Compares a prompt with the teacher on sequences it need not have seen.
    public static func fidelity(
        _ recordings: [TeacherRecording.Sequence], graph: any DifferentiableModel, prompt: PromptView,
        batchSize: Int = 16
    ) throws -> Fidelity {
        var divergence = 0.0
        var agreeing = 0
        var positions = 0
        for start in stride(from: 0, to: recordings.count, by: batchSize) {
            let part = recordings[start..<min(start + batchSize, recordings.count)]
            let result = try graph.loss(of: TrainingBatch(part.map(\.example)), prompt: prompt, gradient: nil)
            divergence += result.losses.reduce(0) { $0 + Double($1) }
            positions += result.targetCount
            let wanted = part.flatMap { $0.distributions.map { Int($0.tokens[0]) } }
            agreeing += zip(result.predictions, wanted).count { $0 == $1 }
        }
        return Fidelity(
            divergence: divergence / Double(max(positions, 1)), agreement: Double(agreeing) / Double(max(positions, 1)),
            positions: positions)
    }
}

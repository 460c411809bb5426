import Generation
import LanguageModels
import PromptTuning
import Tokenization

/// Scores a prompt in training on the dev split, on the integer engine that will serve it.
///
/// Classification tasks get accuracy and the loss of the right label; free answers are generated greedily and compared.
public final class DevScoring {
    private let model: any LanguageModel
    private let tokenizer: any Tokenizer
    private let examples: [Example]
    private let labels: [String]
    private let template: ExampleTemplate
    private let workspace = InferenceWorkspace()

    public init(
        model: any LanguageModel, tokenizer: any Tokenizer, examples: [Example], labels: [String],
        template: ExampleTemplate
    ) {
        self.model = model
        self.tokenizer = tokenizer
        self.examples = examples
        self.labels = labels
        self.template = template
    }

    public func score(_ attachment: PromptAttachment) throws -> DevScore {
        let report = try report(attachment)
        return DevScore(loss: report.loss ?? 1 - report.accuracy, accuracy: report.accuracy)
    }

    /// 1 for every row answered right, 0 for the others.
    public func outcomes(_ attachment: PromptAttachment) throws -> [Double] {
        zip(try report(attachment).answers, examples).map { $0 == $1.target ? 1 : 0 }
    }

    private func report(_ attachment: PromptAttachment) throws -> TaskReport {
        let session = try Session(model: model, attachment: attachment, workspace: workspace)
        let evaluator = TaskEvaluator(session: session, tokenizer: tokenizer, template: template, labels: labels)
        return try evaluator.evaluate(
            examples, prompt: .none, name: "dev", scoring: labels.isEmpty ? .generate : .labels, measuresTime: false)
    }
}

extension Dataset {
    /// Targets of a classification task in alphabetical order; empty when there are too many different ones for the
    /// targets to be labels (more than 64, or more than a quarter of the training rows).
    public var labels: [String] {
        let rows = self[.train].isEmpty ? self[.test] : self[.train]
        let distinct = Set(rows.map(\.target))
        guard distinct.count <= 64, distinct.count * 4 <= rows.count else { return [] }
        return distinct.sorted()
    }
}

import LanguageModels
import Tokenization

/// Turns rows into token sequences with the place where the loss begins.
///
/// The context is the template around the input; the target follows behind a blank. Both are encoded apart, so that
/// the same tokens are learned that scoring asks for.
public struct ExampleEncoder: Sendable {
    private let tokenizer: any Tokenizer
    private let template: ExampleTemplate
    private let learnsEnd: Bool

    /// - Parameter learnsEnd: append the end-of-text token to the target.
    public init(tokenizer: any Tokenizer, template: ExampleTemplate, learnsEnd: Bool) {
        self.tokenizer = tokenizer
        self.template = template
        self.learnsEnd = learnsEnd
    }

    /// - Throws: `TuningError.invalidData` naming the row when its context or target has no tokens.
    public func encode(_ example: Example) throws -> TrainingBatch.Example {
        let context = tokenizer.encode(template.prompt(for: example), parseSpecial: false, addSpecial: true)
        var target = tokenizer.encode(template.target(for: example), parseSpecial: false, addSpecial: false)
        guard !context.isEmpty, !target.isEmpty else {
            throw TuningError(
                code: .invalidData, message: "the example “\(example.input.prefix(60))” has no text to learn from")
        }
        if learnsEnd, let end = tokenizer.special.endOfSequence { target.append(end) }
        return TrainingBatch.Example(tokens: context + target, targetStart: context.count)
    }

    /// The first token of each label, as a target begins.
    ///
    /// - Throws: `TuningError.invalidSetting` when two labels begin with the same token.
    public func firstTokens(ofLabels labels: [String]) throws -> [Int] {
        var seen: [Int: String] = [:]
        return try labels.map { label in
            let text = template.target(for: Example(input: "", target: label))
            guard let first = tokenizer.encode(text, parseSpecial: false, addSpecial: false).first else {
                throw TuningError(code: .invalidSetting, message: "the label “\(label)” has no tokens")
            }
            if let other = seen.updateValue(label, forKey: first) {
                throw TuningError(
                    code: .invalidSetting,
                    message:
                        "the labels “\(other)” and “\(label)” begin with the same token, so answers cannot be learned "
                        + "among labels only; leave out --restrict-labels")
            }
            return first
        }
    }
}

import PromptTuning

/// The text that stands before a row: what teams write by hand and a soft prompt replaces.
public enum HandWrittenPrompt: Sendable {
    /// Nothing: the row alone.
    case none
    /// An instruction.
    case zeroShot(instruction: String)
    /// An instruction and solved examples.
    case fewShot(instruction: String, examples: [Example])

    /// Text that stands before a row exactly as it is.
    case verbatim(String)

    /// The word for it in tables and on the command line.
    public var name: String {
        switch self {
        case .none: "no prompt"
        case .zeroShot: "zero-shot"
        case .fewShot: "few-shot"
        case .verbatim: "text"
        }
    }

    /// The text before the row's own, ending in a blank line.
    public func text(template: ExampleTemplate) -> String {
        switch self {
        case .none: return ""
        case .verbatim(let text): return text
        case .zeroShot(let instruction): return instruction.isEmpty ? "" : instruction + "\n\n"
        case .fewShot(let instruction, let examples):
            let solved = examples.map { template.prompt(for: $0) + template.target(for: $0) + "\n\n" }.joined()
            return (instruction.isEmpty ? "" : instruction + "\n\n") + solved
        }
    }

    /// An instruction for a classification task whose author wrote none.
    public static func defaultInstruction(labels: [String]) -> String {
        labels.isEmpty
            ? "Answer each question." : "Classify each text as one of: " + labels.joined(separator: ", ") + "."
    }

    /// The first `perLabel` rows of each label, in the labels' order: the usual strong hand-written prompt.
    public static func examples(from rows: [Example], labels: [String], perLabel: Int) -> [Example] {
        if labels.isEmpty { return Array(rows.prefix(perLabel)) }
        return labels.flatMap { label in rows.filter { $0.target == label }.prefix(perLabel) }
    }
}

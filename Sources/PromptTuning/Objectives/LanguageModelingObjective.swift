import LanguageModels
import Tokenization

/// Raw text: the next token at every position, without labels.
///
/// Text is cut into stretches of equal length. Each starts with the token that begins sequences, where the model wants
/// one. It teaches style and vocabulary; facts are learned by heart rather than understood (Cartridges, arXiv 2506.06266), and
/// distillation from the text itself serves better.
public struct LanguageModelingObjective: Objective {
    public static let name = "language-modelling"
    public static let summary = "raw text, no labels: learns to continue it"

    private let stretches: [TrainingBatch.Example]
    public let longestSequence: Int

    public var itemCount: Int { stretches.count }

    /// - Parameters:
    ///   - texts: documents; a stretch never reaches from one into the next.
    ///   - stretchLength: tokens of a stretch, at least 2.
    /// - Throws: `TuningError` when there is no stretch of two tokens.
    public init(texts: [String], tokenizer: any Tokenizer, stretchLength: Int) throws {
        guard stretchLength >= 2 else {
            throw TuningError(
                code: .invalidSetting, message: "a stretch of text must have at least 2 tokens, not \(stretchLength)")
        }
        let first = tokenizer.addsBeginning ? tokenizer.special.beginningOfSequence : nil
        let own = stretchLength - (first == nil ? 0 : 1)
        var stretches: [TrainingBatch.Example] = []
        for text in texts {
            let ids = tokenizer.encode(text, parseSpecial: false, addSpecial: false)
            for start in stride(from: 0, to: ids.count, by: max(own, 1)) {
                let tokens = (first.map { [$0] } ?? []) + ids[start..<min(start + own, ids.count)]
                // The first token behind a prefix follows nothing and is not predicted.
                if tokens.count >= 2 { stretches.append(.init(tokens: tokens, targetStart: 1)) }
            }
        }
        guard !stretches.isEmpty else {
            throw TuningError(code: .invalidData, message: "the text is too short to learn from")
        }
        self.stretches = stretches
        longestSequence = stretches.map(\.tokens.count).max() ?? 0
    }

    public func batch(_ items: [Int], step: Int) -> TrainingBatch { TrainingBatch(items.map { stretches[$0] }) }
}

/// One token that a grammar names, where text would not do: `<think>`, `<[1000]>`, or any other than it, `!<think>`.
///
/// Tokens are how control tokens come into a grammar: text never stands for one. What a name means is known only with a
/// vocabulary (`GrammarConstraint.init`).
struct GrammarToken: Hashable, Sendable, CustomStringConvertible {
    enum Name: Hashable, Sendable {
        /// The token's text, angle brackets included: `<|im_start|>`.
        case text(String)
        case id(Int)
    }

    let name: Name
    /// Whether every other token is meant, control tokens included, except those that end an answer.
    let isNegated: Bool

    /// As in GBNF.
    var description: String {
        let name =
            switch name {
            case .text(let text): text
            case .id(let id): "<[\(id)]>"
            }
        return (isNegated ? "!" : "") + name
    }

    /// The token in a vocabulary.
    struct Resolved: Sendable {
        let id: Int
        let isNegated: Bool

        func matches(_ token: Int) -> Bool { (token == id) != isNegated }
    }

    /// - Throws: `GrammarError.rules` when the vocabulary has no such token, or the token ends an answer.
    func resolved(in vocabulary: GrammarVocabulary) throws(GrammarError) -> Resolved {
        let id: Int
        switch name {
        case .id(let number):
            guard number < vocabulary.count else {
                throw GrammarError(
                    .rules,
                    "the grammar names the token \(self), but this vocabulary's ids end at \(vocabulary.count - 1)")
            }
            id = number
        case .text(let text):
            guard let number = vocabulary.id(ofToken: text) else {
                throw GrammarError(
                    .rules,
                    "the grammar names the token \(self), which is no single token of this vocabulary; write text in "
                        + "quotation marks, or an id as <[ID]>")
            }
            id = number
        }
        guard isNegated || !vocabulary.endOfGeneration.contains(id) else {
            throw GrammarError(
                .rules,
                "the grammar names the token \(self), which ends the answer; leave it out: an answer ends by itself where "
                    + "the grammar lets it")
        }
        return Resolved(id: id, isNegated: isNegated)
    }
}

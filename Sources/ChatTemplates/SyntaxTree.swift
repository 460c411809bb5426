/// An expression, with its place in the template.
final class Expression: Sendable {
    indirect enum Kind: Sendable {
        case constant(TemplateValue)
        case name(String)
        case list([Expression])
        case tuple([Expression])
        case dictionary([(key: Expression, value: Expression)])
        /// `not`, `-`, `+`
        case not(Expression)
        case negative(Expression)
        case positive(Expression)
        /// Operators of equal precedence, from left to right.
        case chain(Expression, [(operation: BinaryOperator, operand: Expression)])
        case concatenation([Expression])
        case and([Expression])
        case or([Expression])
        case comparison(Expression, [(operation: Comparison, operand: Expression)])
        case conditional(test: Expression, then: Expression, otherwise: Expression?)
        case attribute(Expression, TemplateText)
        case item(Expression, Expression)
        case slice(Expression, from: Expression?, to: Expression?, step: Expression?)
        case call(Expression, CallArguments)
        /// A filter; without operand inside a filter block.
        case filter(Expression?, name: String, CallArguments)
        case test(Expression, name: String, CallArguments)
    }

    let kind: Kind
    /// In scalars from the start of the template.
    let offset: Int
    /// Levels of expressions below and including this one.
    let height: Int

    init(_ kind: Kind, _ offset: Int, over operands: [Expression]) {
        self.kind = kind
        self.offset = offset
        height = 1 + (operands.lazy.map(\.height).max() ?? 0)
    }
}

enum BinaryOperator: String, Sendable {
    case add = "+", subtract = "-", multiply = "*", divide = "/", floorDivide = "//", remainder = "%", power = "**"
}

enum Comparison: String, Sendable {
    case equal = "==", unequal = "!=", less = "<", lessOrEqual = "<=", greater = ">", greaterOrEqual = ">="
    case isIn = "in", isNotIn = "not in"
}

/// Arguments as written, with `*list` and `**dictionary`.
struct CallArguments: Sendable {
    var positional: [Expression] = []
    var keywords: [(name: String, value: Expression)] = []
    var positionalRest: Expression?
    var keywordRest: Expression?

    var expressions: [Expression] {
        positional + keywords.map(\.value) + [positionalRest, keywordRest].compactMap { $0 }
    }
}

/// What is assigned to.
indirect enum Target: Sendable {
    case name(String)
    case attribute(namespace: String, TemplateText)
    case tuple([Target])

    /// The variables that are assigned to.
    var names: [String] {
        switch self {
        case .name(let name): [name]
        case .attribute: []
        case .tuple(let targets): targets.flatMap(\.names)
        }
    }
}

struct Parameter: Sendable {
    let name: String
    let fallback: Expression?
}

/// A macro, or the body of a call block.
struct Macro: Sendable {
    let name: String?
    let parameters: [Parameter]
    let body: [Statement]
    let usesCaller: Bool
    let usesFurtherArguments: Bool
    let usesKeywordArguments: Bool
}

struct ForLoop: Sendable {
    let target: Target
    let iterated: Expression
    let condition: Expression?
    let isRecursive: Bool
    let body: [Statement]
    let otherwise: [Statement]
}

/// A tag with what belongs to it, or text.
final class Statement: Sendable {
    enum Kind: Sendable {
        case text(TemplateText)
        case output(Expression)
        case condition([(test: Expression, body: [Statement])], otherwise: [Statement])
        case loop(ForLoop)
        case assign(Target, Expression)
        case assignBlock(Target, filter: Expression?, body: [Statement])
        case macro(Macro)
        case callBlock(call: Expression, caller: Macro)
        case filterBlock(Expression, body: [Statement])
        case with([(target: Target, value: Expression)], body: [Statement])
        case breakLoop
        case continueLoop
        /// A body with variables of its own: `generation`, `block`.
        case scope([Statement])
    }

    let kind: Kind
    let offset: Int

    init(_ kind: Kind, _ offset: Int) {
        self.kind = kind
        self.offset = offset
    }
}

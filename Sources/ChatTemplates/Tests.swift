/// The tests (`is …`), by name.
enum Tests {
    typealias Body = @Sendable (Evaluator, TemplateValue, inout Arguments) throws(TemplateError) -> Bool

    static func unknown(_ name: String) -> TemplateError {
        TemplateError(.unknownTest, "There is no test '\(name)'.")
    }

    /// Every test that exists: the one place where a test is added.
    static let all: [String: Body] = [
        "defined": { _, value, _ in !value.isUndefined },
        "undefined": { _, value, _ in value.isUndefined },
        "none": { _, value, _ in if case .none = value { true } else { false } },
        "boolean": { _, value, _ in if case .bool = value { true } else { false } },
        "true": { _, value, _ in if case .bool(true) = value { true } else { false } },
        "false": { _, value, _ in if case .bool(false) = value { true } else { false } },
        "integer": { _, value, _ in if case .int = value { true } else { false } },
        "float": { _, value, _ in if case .double = value { true } else { false } },
        "number": { _, value, _ in value.number != nil },
        "string": { _, value, _ in value.text != nil },
        "mapping": { _, value, _ in if case .dictionary = value { true } else { false } },
        "sequence": { _, value, _ in
            switch value {
            case .string, .list, .tuple, .dictionary, .undefined: true
            case .object(let object): (object as? TemplateSequence)?.isRange ?? false
            default: false
            }
        },
        "iterable": { _, value, _ in
            switch value {
            case .string, .list, .tuple, .dictionary, .undefined: true
            case .object(let object): object is TemplateSequence || object is TemplateLoop
            default: false
            }
        },
        "callable": { _, value, _ in if case .object(let object) = value { object.isCallable } else { false } },
        "escaped": { _, value, _ in value.text?.isMarkup ?? false },
        "lower": { evaluator, value, _ throws(TemplateError) in try evaluator.text(value).isCase(upper: false) },
        "upper": { evaluator, value, _ throws(TemplateError) in try evaluator.text(value).isCase(upper: true) },
        "odd": { evaluator, value, _ throws(TemplateError) in
            try evaluator.equal(try evaluator.binary(.remainder, value, 2), 1)
        },
        "even": { evaluator, value, _ throws(TemplateError) in
            try evaluator.equal(try evaluator.binary(.remainder, value, 2), 0)
        },
        "divisibleby": { evaluator, value, arguments throws(TemplateError) in
            try evaluator.equal(try evaluator.binary(.remainder, value, try arguments.require("num")), 0)
        },
        "sameas": { evaluator, value, arguments throws(TemplateError) in
            let other = try arguments.require("other")
            return value.typeName == other.typeName ? try evaluator.equal(value, other) : false
        },
        "filter": { _, value, _ in value.text.map { Filters.all[$0.string] != nil } ?? false },
        "test": { _, value, _ in value.text.map { all[$0.string] != nil } ?? false },
        "in": { evaluator, value, arguments throws(TemplateError) in
            try evaluator.contains(try arguments.require("seq"), value)
        },
        "eq": compares(.equal), "equalto": compares(.equal), "==": compares(.equal),
        "ne": compares(.unequal), "!=": compares(.unequal),
        "lt": compares(.less), "lessthan": compares(.less), "<": compares(.less),
        "le": compares(.lessOrEqual), "<=": compares(.lessOrEqual),
        "gt": compares(.greater), "greaterthan": compares(.greater), ">": compares(.greater),
        "ge": compares(.greaterOrEqual), ">=": compares(.greaterOrEqual),
    ]

    private static func compares(_ comparison: Comparison) -> Body {
        { evaluator, value, arguments throws(TemplateError) in
            try evaluator.compare(comparison, value, try arguments.require("other"))
        }
    }
}

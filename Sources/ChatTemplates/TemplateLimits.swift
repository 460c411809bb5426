/// What rendering one template may cost at most. Templates come out of model files, so they are not trusted.
public struct TemplateLimits: Sendable {
    /// Statements, iterations and calls. Expressions and the text and items they handle count in fractions of a step.
    public var steps = 1_000_000
    /// Length of any text, in Unicode scalars; also that of the result.
    public var textLength = 16 << 20
    /// Items of a `range`.
    public var rangeLength = 100_000
    /// Nesting of the template's blocks and expressions, and of values.
    public var nesting = 100

    public init() {}
    public static let standard = TemplateLimits()

    /// Levels of the tree of an expression: a chain of filters or subscripts counts here, not as nesting.
    static let treeHeight = 200
    /// Statements and expressions under evaluation within each other, through all macro calls.
    static let evaluationDepth = 400
    /// Scalars of a template's source.
    static let sourceLength = 4 << 20
}

/// Counts what a rendering costs, and ends it when that is too much.
final class Budget {
    let limits: TemplateLimits
    private var left: Int

    /// Units of work in one step.
    static let step = 16

    init(_ limits: TemplateLimits) {
        self.limits = limits
        left = max(0, limits.steps).multipliedReportingOverflow(by: Budget.step).partialValue
        if left < 0 { left = .max }
    }

    /// Takes `units` of work.
    func charge(_ units: Int) throws(TemplateError) {
        guard units <= left else {
            throw TemplateError(.limit, "The template takes more than \(limits.steps) steps.")
        }
        left -= max(units, 0)
    }

    /// Takes the work of handling text of so many scalars, and checks that this is allowed.
    func chargeText(_ count: Int) throws(TemplateError) {
        guard count <= limits.textLength else {
            throw TemplateError(.limit, "The template makes text of more than \(limits.textLength) characters.")
        }
        try charge(1 + count / 8)
    }

    /// Takes the work of looking up so many scalars in Unicode's tables, which is slower than copying them.
    func chargeMapping(_ count: Int) throws(TemplateError) {
        try charge(count / 2)
        try chargeText(count)
    }

    /// Takes the work of handling so many items.
    func chargeItems(_ count: Int) throws(TemplateError) {
        let (units, overflow) = count.multipliedReportingOverflow(by: 2)
        try charge(overflow ? .max : units + 1)
    }

    /// Checks how deep a value is nested.
    func check(depth: Int) throws(TemplateError) {
        guard depth <= limits.nesting else {
            throw TemplateError(.limit, "A value is nested more than \(limits.nesting) levels deep.")
        }
    }
}

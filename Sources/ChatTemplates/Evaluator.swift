/// Renders the tree of a template, once.
final class Evaluator {
    let budget: Budget
    /// Seconds since 1970, for `strftime_now`.
    let now: @Sendable () -> Double
    /// The place of what is being done, for errors.
    var offset = 0
    private(set) var output = TemplateText(scalars: [])
    private var depth = 0
    private let root: Scope
    /// What cuts references in circles when the rendering has ended.
    private var releases: [() -> Void] = []

    enum Flow { case onward, breakLoop, continueLoop }

    init(variables: [String: TemplateValue], budget: Budget, now: @escaping @Sendable () -> Double) {
        self.budget = budget
        self.now = now
        let globals = Scope(parent: nil)
        globals.variables = Globals.all
        let given = Scope(parent: globals)
        given.variables = variables
        root = Scope(parent: given)
    }

    /// Renders the statements.
    func render(_ statements: [Statement]) throws(TemplateError) -> TemplateText {
        defer {
            root.variables = [:]
            for release in releases { release() }
        }
        _ = try execute(statements, in: root)
        return output
    }

    /// Has something forgotten when the rendering has ended: values may refer to each other in circles.
    func release(_ release: @escaping () -> Void) { releases.append(release) }

    /// Runs `body` one level deeper; bounds recursion.
    @inline(__always)
    private func descend() throws(TemplateError) {
        depth += 1
        guard depth <= TemplateLimits.evaluationDepth else {
            throw TemplateError(.limit, "The template's macros call each other too deeply.")
        }
    }

    func enterExpression() throws(TemplateError) {
        try descend()
        try budget.charge(1)
    }

    func leave() { depth -= 1 }

    // MARK: - Statements

    func execute(_ statements: [Statement], in scope: Scope) throws(TemplateError) -> Flow {
        try descend()
        defer { depth -= 1 }
        for statement in statements {
            try budget.charge(Budget.step)
            offset = statement.offset
            let flow = try execute(statement, in: scope)
            if flow != .onward { return flow }
        }
        return .onward
    }

    private func execute(_ statement: Statement, in scope: Scope) throws(TemplateError) -> Flow {
        switch statement.kind {
        case .text(let text): try write(text)
        case .output(let expression): try write(try text(evaluate(expression, scope)))
        case .condition(let branches, let otherwise):
            for branch in branches where try evaluate(branch.test, scope).isTrue {
                return try execute(branch.body, in: scope)
            }
            return try execute(otherwise, in: scope)
        case .loop(let loop): try run(loop, statement, scope)
        case .assign(let target, let expression): try assign(try evaluate(expression, scope), to: target, scope)
        case .assignBlock(let target, let filter, let body):
            let (text, flow) = try capture(body, in: Scope(parent: scope))
            guard flow == .onward else { return flow }
            var value = TemplateValue.string(text)
            if let filter { value = try apply(filter, to: value, scope) }
            try assign(value, to: target, scope)
        case .macro(let macro): scope.variables[macro.name ?? ""] = .object(close(macro, over: scope))
        case .callBlock(let call, let caller):
            try write(try text(evaluateCall(call, scope, caller: .object(close(caller, over: scope)))))
        case .filterBlock(let filter, let body):
            let (text, flow) = try capture(body, in: Scope(parent: scope))
            guard flow == .onward else { return flow }
            try write(try self.text(apply(filter, to: .string(text), scope)))
        case .with(let assignments, let body):
            let inner = Scope(parent: scope)
            var values: [TemplateValue] = []
            for assignment in assignments { values.append(try evaluate(assignment.value, scope)) }
            for (assignment, value) in zip(assignments, values) { try assign(value, to: assignment.target, inner) }
            return try execute(body, in: inner)
        case .breakLoop: return .breakLoop
        case .continueLoop: return .continueLoop
        case .scope(let body): _ = try execute(body, in: Scope(parent: scope))
        }
        return .onward
    }

    func write(_ text: TemplateText) throws(TemplateError) {
        try budget.chargeText(text.count)
        guard output.count + text.count <= budget.limits.textLength else {
            throw TemplateError(.limit, "The template writes more than \(budget.limits.textLength) characters.")
        }
        output.append(text)
    }

    /// What the statements write, instead of writing it.
    func capture(_ body: [Statement], in scope: Scope) throws(TemplateError) -> (TemplateText, Flow) {
        try captured { () throws(TemplateError) in try self.execute(body, in: scope) }
    }

    func captured(_ body: () throws(TemplateError) -> Flow) throws(TemplateError) -> (TemplateText, Flow) {
        var outer = TemplateText(scalars: [])
        swap(&outer, &output)
        let flow = try body()
        swap(&outer, &output)
        return (outer, flow)
    }

    /// A macro that sees the variables of `scope`; the two refer to each other, which is undone in the end.
    private func close(_ macro: Macro, over scope: Scope) -> TemplateMacro {
        release { scope.variables = [:] }
        return TemplateMacro(macro, scope: scope)
    }

    // MARK: - Assignment

    func assign(_ value: TemplateValue, to target: Target, _ scope: Scope) throws(TemplateError) {
        switch target {
        case .name(let name): scope.variables[name] = value
        case .attribute(let name, let attribute):
            guard case .object(let object) = scope.lookup(name), let namespace = object as? TemplateNamespace else {
                throw TemplateError(
                    .type, "'\(name)' is not a namespace, so its attribute '\(attribute)' cannot be set.")
            }
            try namespace.set(attribute, value)
        case .tuple(let targets):
            let items = try iterate(value)
            guard items.count == targets.count else {
                throw TemplateError(
                    .value, "\(targets.count) values are expected to be assigned, there are \(items.count).")
            }
            for (target, item) in zip(targets, items) { try assign(item, to: target, scope) }
        }
    }

    // MARK: - Loops

    private func run(_ loop: ForLoop, _ statement: Statement, _ scope: Scope) throws(TemplateError) {
        let iterated = try evaluate(loop.iterated, scope)
        offset = loop.iterated.offset
        try run(loop, over: iterated, level: 0, scope)
    }

    /// One loop, or one level of a recursive one.
    func run(_ loop: ForLoop, over iterated: TemplateValue, level: Int, _ scope: Scope) throws(TemplateError) {
        var items = try iterate(iterated)
        if let condition = loop.condition {
            var kept: [TemplateValue] = []
            for item in items {
                try budget.charge(Budget.step)
                let inner = Scope(parent: scope)
                try assign(item, to: loop.target, inner)
                if try evaluate(condition, inner).isTrue { kept.append(item) }
            }
            items = kept
        }
        let state = try TemplateLoop(
            items: items, level: level, recursion: loop.isRecursive ? (loop, scope) : nil, budget: budget)
        for index in items.indices {
            try budget.charge(Budget.step)
            state.index = index
            let inner = Scope(parent: scope)
            inner.variables["loop"] = .object(state)
            try assign(items[index], to: loop.target, inner)
            if try execute(loop.body, in: inner) == .breakLoop { break }
        }
        if items.isEmpty { _ = try execute(loop.otherwise, in: Scope(parent: scope)) }
    }

    /// The items of a value, in order.
    func iterate(_ value: TemplateValue) throws(TemplateError) -> [TemplateValue] {
        let items: [TemplateValue]
        switch value {
        case .list(let list), .tuple(let list): items = list.items
        case .dictionary(let dictionary): items = dictionary.keys
        case .undefined: return []
        case .string(let text):
            try budget.chargeItems(text.count)
            return text.scalars.map { .string(TemplateText(scalars: [$0])) }
        case .object(let object):
            if let sequence = object as? TemplateSequence {
                items = sequence.take()
            } else if let loop = object as? TemplateLoop {
                items = Array(loop.items[min(loop.index + 1, loop.items.count)...])
            } else {
                throw TemplateError(.type, "One cannot go through the items of a value of type \(value.typeName).")
            }
        default: throw TemplateError(.type, "One cannot go through the items of a value of type \(value.typeName).")
        }
        try budget.chargeItems(items.count)
        return items
    }
}

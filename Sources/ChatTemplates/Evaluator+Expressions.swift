// The value of an expression. Each kind has a function of its own, so that recursion takes little stack.

extension Evaluator {
    func evaluate(_ expression: Expression, _ scope: Scope) throws(TemplateError) -> TemplateValue {
        try enterExpression()
        defer { leave() }
        switch expression.kind {
        case .constant(let value): return value
        case .name(let name):
            return scope.lookup(name) ?? .undefined(TemplateUndefined("'\(name)' is undefined"))
        case .list(let items): return .list(try container(items, scope))
        case .tuple(let items): return .tuple(try container(items, scope))
        case .dictionary(let pairs): return try dictionary(pairs, scope)
        case .not(let operand): return .bool(!(try evaluate(operand, scope).isTrue))
        case .negative(let operand): return try sign(operand, negative: true, expression, scope)
        case .positive(let operand): return try sign(operand, negative: false, expression, scope)
        case .chain(let first, let rest): return try chain(first, rest, expression, scope)
        case .concatenation(let operands): return try concatenation(operands, scope)
        case .and(let operands): return try connect(operands, until: false, scope)
        case .or(let operands): return try connect(operands, until: true, scope)
        case .comparison(let first, let rest): return try comparison(first, rest, expression, scope)
        case .conditional(let test, let then, let otherwise):
            return try conditional(test, then, otherwise, expression, scope)
        case .attribute(let base, let name): return try attribute(base, name, expression, scope)
        case .item(let base, let index): return try item(base, index, expression, scope)
        case .slice(let base, let from, let to, let step):
            return try slice(base, from, to, step, expression, scope)
        case .call: return try evaluateCall(expression, scope, caller: nil)
        case .filter: return try apply(expression, to: nil, scope)
        case .test(let operand, let name, let arguments):
            return try test(operand, name, arguments, expression, scope)
        }
    }

    private func container(_ items: [Expression], _ scope: Scope) throws(TemplateError) -> TemplateList {
        var values: [TemplateValue] = []
        values.reserveCapacity(items.count)
        for item in items { values.append(try evaluate(item, scope)) }
        return try list(values)
    }

    /// A list, checked for its depth.
    func list(_ items: [TemplateValue]) throws(TemplateError) -> TemplateList {
        try budget.chargeItems(items.count)
        let list = TemplateList(items)
        try budget.check(depth: Int(list.depth))
        return list
    }

    private func dictionary(
        _ pairs: [(key: Expression, value: Expression)], _ scope: Scope
    ) throws(TemplateError) -> TemplateValue {
        var values: [(TemplateValue, TemplateValue)] = []
        for (key, value) in pairs {
            let keyValue = try evaluate(key, scope)
            try checkHashable(keyValue)
            values.append((keyValue, try evaluate(value, scope)))
        }
        return try dictionary(values)
    }

    /// A dictionary, checked for its depth; its keys are hashable.
    func dictionary(_ pairs: [(TemplateValue, TemplateValue)]) throws(TemplateError) -> TemplateValue {
        try budget.chargeItems(2 * pairs.count)
        let dictionary = TemplateDictionary(pairs: pairs)
        try budget.check(depth: Int(dictionary.depth))
        return .dictionary(dictionary)
    }

    private func sign(
        _ operand: Expression, negative: Bool, _ expression: Expression, _ scope: Scope
    ) throws(TemplateError) -> TemplateValue {
        let value = try evaluate(operand, scope)
        offset = expression.offset
        if case .undefined(let undefined) = value { throw undefined.error }
        if case .double(let number) = value { return .double(negative ? -number : number) }
        guard let integer = value.integer else {
            throw TemplateError(.type, "A value of type \(value.typeName) has no sign.")
        }
        if !negative { return .int(integer) }
        let (result, overflow) = (0).subtractingReportingOverflow(integer)
        if overflow { throw Operators.tooLarge }
        return .int(result)
    }

    private func chain(
        _ first: Expression, _ rest: [(operation: BinaryOperator, operand: Expression)], _ expression: Expression,
        _ scope: Scope
    ) throws(TemplateError) -> TemplateValue {
        var value = try evaluate(first, scope)
        for (operation, operand) in rest {
            let right = try evaluate(operand, scope)
            offset = operand.offset
            value = try binary(operation, value, right)
        }
        return value
    }

    private func concatenation(_ operands: [Expression], _ scope: Scope) throws(TemplateError) -> TemplateValue {
        var result = TemplateText(scalars: [])
        for operand in operands {
            let part = try text(evaluate(operand, scope))
            try budget.chargeText(result.count + part.count)
            result.append(part)
        }
        return .string(result)
    }

    private func connect(_ operands: [Expression], until end: Bool, _ scope: Scope) throws(TemplateError)
        -> TemplateValue
    {
        var value = TemplateValue.none
        for operand in operands {
            value = try evaluate(operand, scope)
            if value.isTrue == end { break }
        }
        return value
    }

    private func comparison(
        _ first: Expression, _ rest: [(operation: Comparison, operand: Expression)], _ expression: Expression,
        _ scope: Scope
    ) throws(TemplateError) -> TemplateValue {
        var left = try evaluate(first, scope)
        for (operation, operand) in rest {
            let right = try evaluate(operand, scope)
            offset = operand.offset
            if !(try compare(operation, left, right)) { return false }
            left = right
        }
        return true
    }

    private func conditional(
        _ test: Expression, _ then: Expression, _ otherwise: Expression?, _ expression: Expression, _ scope: Scope
    ) throws(TemplateError) -> TemplateValue {
        if try evaluate(test, scope).isTrue { return try evaluate(then, scope) }
        if let otherwise { return try evaluate(otherwise, scope) }
        return .undefined(
            TemplateUndefined("the condition of an inline 'if' without 'else' was false, and its value is used"))
    }

    // MARK: - Attributes and items

    private func attribute(
        _ base: Expression, _ name: TemplateText, _ expression: Expression, _ scope: Scope
    ) throws(TemplateError) -> TemplateValue {
        let value = try evaluate(base, scope)
        offset = expression.offset
        return try attribute(name, of: value)
    }

    private func item(
        _ base: Expression, _ index: Expression, _ expression: Expression, _ scope: Scope
    ) throws(TemplateError) -> TemplateValue {
        let value = try evaluate(base, scope)
        let key = try evaluate(index, scope)
        offset = expression.offset
        return try item(key, of: value)
    }

    private func slice(
        _ base: Expression, _ from: Expression?, _ to: Expression?, _ step: Expression?, _ expression: Expression,
        _ scope: Scope
    ) throws(TemplateError) -> TemplateValue {
        let value = try evaluate(base, scope)
        var bounds: [Int?] = []
        for part in [from, to, step] {
            guard let part, case let bound = try evaluate(part, scope) else {
                bounds.append(nil)
                continue
            }
            offset = part.offset
            if case .none = bound {
                bounds.append(nil)
            } else if let integer = bound.integer {
                bounds.append(integer)
            } else if case .undefined(let undefined) = bound {
                throw undefined.error
            } else {
                throw TemplateError(.type, "A slice is made of integers, not of \(bound.typeName).")
            }
        }
        offset = expression.offset
        return try slice(value, from: bounds[0], to: bounds[1], step: bounds[2])
    }

    private func test(
        _ operand: Expression, _ name: String, _ arguments: CallArguments, _ expression: Expression, _ scope: Scope
    ) throws(TemplateError) -> TemplateValue {
        let value = try evaluate(operand, scope)
        var bound = try bind(arguments, "The test '\(name)'", scope)
        offset = expression.offset
        return .bool(try test(value, name, &bound))
    }

    /// Whether a test holds.
    func test(_ value: TemplateValue, _ name: String, _ arguments: inout Arguments) throws(TemplateError) -> Bool {
        guard let test = Tests.all[name] else { throw Tests.unknown(name) }
        let result = try test(self, value, &arguments)
        try arguments.finish()
        return result
    }
}

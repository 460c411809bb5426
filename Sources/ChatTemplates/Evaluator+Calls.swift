// Calls of functions, macros and filters.

extension Evaluator {
    /// The arguments' values.
    func bind(_ arguments: CallArguments, _ callee: String, _ scope: Scope) throws(TemplateError) -> Arguments {
        var positional: [TemplateValue] = []
        var keywords: [(name: String, value: TemplateValue)] = []
        for argument in arguments.positional { positional.append(try evaluate(argument, scope)) }
        for (name, argument) in arguments.keywords { keywords.append((name, try evaluate(argument, scope))) }
        if let rest = arguments.positionalRest { positional += try iterate(try evaluate(rest, scope)) }
        if let rest = arguments.keywordRest {
            guard case .dictionary(let dictionary) = try evaluate(rest, scope) else {
                throw TemplateError(.type, "A dictionary is expected behind '**'.")
            }
            try budget.chargeItems(dictionary.count)
            for (key, value) in dictionary.pairs {
                guard let name = key.text else { throw TemplateError(.type, "Names of arguments are text.") }
                keywords.append((name.string, value))
            }
        }
        return Arguments(callee, positional, keywords)
    }

    func evaluateCall(
        _ expression: Expression, _ scope: Scope, caller: TemplateValue?
    ) throws(TemplateError) -> TemplateValue {
        guard case .call(let calleeExpression, let written) = expression.kind else {
            throw TemplateError(.syntax, "A call is expected behind 'call'.")
        }
        let callee = try evaluate(calleeExpression, scope)
        var name = "The function"
        if case .name(let written) = calleeExpression.kind { name = "'\(written)'" }
        if case .attribute(_, let written) = calleeExpression.kind { name = "'\(written)'" }
        var arguments = try bind(written, name, scope)
        if let caller {
            arguments = Arguments(name, arguments.takeAll(), arguments.takeKeywords() + [("caller", caller)])
        }
        offset = expression.offset
        return try call(callee, &arguments)
    }

    /// Calls a value.
    func call(_ callee: TemplateValue, _ arguments: inout Arguments) throws(TemplateError) -> TemplateValue {
        try budget.charge(Budget.step)
        switch callee {
        case .undefined(let undefined): throw undefined.error
        case .object(let object):
            if let function = object as? TemplateFunction {
                let result = try function.call(self, &arguments)
                try arguments.finish()
                return result
            }
            if let macro = object as? TemplateMacro { return try call(macro, &arguments) }
            if let loop = object as? TemplateLoop, let recursion = loop.recursion {
                let iterated = try arguments.require("iterable")
                try arguments.finish()
                return .string(try recur(recursion.node, over: iterated, level: loop.level + 1, recursion.scope))
            }
            if object is TemplateLoop {
                throw TemplateError(.type, "'loop' can be called in loops that are marked 'recursive' only.")
            }
        default: break
        }
        throw TemplateError(.type, "\(arguments.callee) is a value of type \(callee.typeName) and cannot be called.")
    }

    private func recur(
        _ loop: ForLoop, over iterated: TemplateValue, level: Int, _ scope: Scope
    ) throws(TemplateError) -> TemplateText {
        try enterExpression()
        defer { leave() }
        let (text, _) = try captured { () throws(TemplateError) in
            try self.run(loop, over: iterated, level: level, scope)
            return .onward
        }
        return text
    }

    private func call(_ macro: TemplateMacro, _ arguments: inout Arguments) throws(TemplateError) -> TemplateValue {
        let definition = macro.definition
        let scope = Scope(parent: macro.scope)
        for parameter in definition.parameters {
            if let value = try arguments.take(parameter.name) {
                scope.variables[parameter.name] = value
            } else if let fallback = parameter.fallback {
                scope.variables[parameter.name] = try evaluate(fallback, scope)
            } else {
                let message = "the parameter '\(parameter.name)' of \(arguments.callee) was not given"
                scope.variables[parameter.name] = .undefined(TemplateUndefined(message))
            }
        }
        if definition.usesCaller {
            scope.variables["caller"] =
                arguments.takeKeyword("caller") ?? .undefined(TemplateUndefined("there is no caller"))
        }
        if definition.usesKeywordArguments {
            scope.variables["kwargs"] = try dictionary(arguments.takeKeywords().map { (.string($0.name), $0.value) })
        }
        if definition.usesFurtherArguments {
            scope.variables["varargs"] = .tuple(try list(arguments.takeAll()))
        }
        try arguments.finish()
        return .string(try capture(definition.body, in: scope).0)
    }

    // MARK: - Filters

    /// Applies a filter expression, whose innermost operand is `block` where it has none itself.
    func apply(_ expression: Expression, to block: TemplateValue?, _ scope: Scope) throws(TemplateError)
        -> TemplateValue
    {
        guard case .filter(let operand, let name, let written) = expression.kind else {
            throw TemplateError(.syntax, "A filter is expected.")
        }
        let value: TemplateValue
        if let operand {
            if block != nil {
                try enterExpression()
                value = try apply(operand, to: block, scope)
                leave()
            } else {
                value = try evaluate(operand, scope)
            }
        } else {
            value = block ?? .none
        }
        var arguments = try bind(written, "The filter '\(name)'", scope)
        offset = expression.offset
        return try filter(value, name, &arguments)
    }

    /// Applies the filter of this name.
    func filter(
        _ value: TemplateValue, _ name: String, _ arguments: inout Arguments
    ) throws(TemplateError) -> TemplateValue {
        guard let filter = Filters.all[name] else { throw Filters.unknown(name) }
        try budget.charge(Budget.step)
        let result = try filter(self, value, &arguments)
        try arguments.finish()
        return result
    }
}

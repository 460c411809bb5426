// What follows an expression: attributes, subscripts, calls, filters, tests.

extension Parser {
    mutating func parsePostfix(_ start: Expression) throws(TemplateError) -> Expression {
        var expression = start
        while token.kind == .symbol {
            let offset = token.offset
            if skip(symbol: ".") {
                let attribute = token
                advance()
                switch attribute.kind {
                case .name:
                    expression = try node(
                        .attribute(expression, TemplateText(attribute.name)), offset, over: [expression])
                case .integer:
                    let index = try node(.constant(attribute.value), attribute.offset, over: [])
                    expression = try node(.item(expression, index), offset, over: [expression])
                default: throw fail("A name or number is expected behind the dot.", at: attribute.offset)
                }
            } else if skip(symbol: "[") {
                expression = try parseSubscript(expression, offset)
            } else if token.isSymbol("(") {
                expression = try parseCall(expression)
            } else {
                break
            }
        }
        return expression
    }

    private mutating func parseSubscript(_ base: Expression, _ offset: Int) throws(TemplateError) -> Expression {
        var parts: [Expression?] = [nil]
        var isSlice = false
        var items: [Expression] = []
        while !token.isSymbol("]") {
            if skip(symbol: ":") {
                isSlice = true
                parts.append(nil)
                guard parts.count <= 3 else { throw fail("A slice has at most three parts.", at: offset) }
            } else if !isSlice && skip(symbol: ",") {
                guard let item = parts[0] else { throw fail("An index is expected before the comma.") }
                items.append(item)
                parts = [nil]
            } else if parts[parts.count - 1] == nil {
                parts[parts.count - 1] = try parseExpression()
            } else {
                throw fail("']' is expected, not \(token.description).")
            }
        }
        try expect(symbol: "]")
        if isSlice {
            guard items.isEmpty else { throw fail("A slice stands alone in its brackets.", at: offset) }
            let step = parts.count > 2 ? parts[2] : nil
            return try node(
                .slice(base, from: parts[0], to: parts[1], step: step), offset,
                over: [base] + [parts[0], parts[1], step].compactMap { $0 })
        }
        if let last = parts[0] { items.append(last) }
        guard let first = items.first else { throw fail("An index is expected in the brackets.", at: offset) }
        let index = items.count == 1 ? first : try node(.tuple(items), offset, over: items)
        return try node(.item(base, index), offset, over: [base, index])
    }

    // MARK: - Calls

    mutating func parseCall(_ callee: Expression) throws(TemplateError) -> Expression {
        let offset = token.offset
        let arguments = try parseArguments()
        return try node(.call(callee, arguments), offset, over: [callee] + arguments.expressions)
    }

    private mutating func parseArguments() throws(TemplateError) -> CallArguments {
        var arguments = CallArguments()
        let offset = token.offset
        try expect(symbol: "(")
        var isFirst = true
        while !token.isSymbol(")") {
            if !isFirst {
                try expect(symbol: ",")
                if token.isSymbol(")") { break }
            }
            isFirst = false
            let isPlain = arguments.positionalRest == nil && arguments.keywordRest == nil
            if skip(symbol: "*") {
                guard isPlain else { throw fail("'*' stands once, and before '**'.", at: offset) }
                arguments.positionalRest = try parseExpression()
            } else if skip(symbol: "**") {
                guard arguments.keywordRest == nil else { throw fail("'**' stands once.", at: offset) }
                arguments.keywordRest = try parseExpression()
            } else if token.kind == .name && next.isSymbol("=") {
                guard arguments.keywordRest == nil else { throw fail("'**' stands last.", at: offset) }
                let name = token.name
                advance()
                advance()
                if arguments.keywords.contains(where: { $0.name == name }) {
                    throw fail("The argument '\(name)' is given twice.", at: offset)
                }
                arguments.keywords.append((name, try parseExpression()))
            } else {
                guard isPlain && arguments.keywords.isEmpty else {
                    throw fail("An argument without a name follows one with a name.")
                }
                arguments.positional.append(try parseExpression())
            }
        }
        try expect(symbol: ")")
        return arguments
    }

    // MARK: - Filters and tests

    /// Filters, each applied to what stands before it.
    ///
    /// - Parameters:
    ///   - operand: `nil` in filter blocks, where the first filter takes the block.
    ///   - first: whether the first one stands without `|`.
    mutating func parseFilters(_ operand: Expression?, first: Bool = false) throws(TemplateError) -> Expression {
        var expression = operand
        var needsBar = !first
        while !needsBar || token.isSymbol("|") {
            if needsBar { advance() }
            needsBar = true
            let offset = token.offset
            let name = try parseDottedName()
            let arguments = token.isSymbol("(") ? try parseArguments() : CallArguments()
            if Filters.all[name] == nil {
                noteUnknown(fail(Filters.unknown(name).message, at: offset, Filters.unknown(name).code))
            }
            expression = try node(
                .filter(expression, name: name, arguments), offset,
                over: [expression].compactMap { $0 } + arguments.expressions)
        }
        guard let expression else { throw fail("A filter is expected, not \(token.description).") }
        return expression
    }

    private mutating func parseDottedName() throws(TemplateError) -> String {
        var name = try expectName()
        while skip(symbol: ".") { name += "." + (try expectName()) }
        return name
    }

    mutating func parseTest(_ operand: Expression) throws(TemplateError) -> Expression {
        advance()
        let isNegated = skip(name: "not")
        let offset = token.offset
        let name = try parseDottedName()
        var arguments = CallArguments()
        if token.isSymbol("(") {
            arguments = try parseArguments()
        } else if takesOperand(token) {
            if token.isName("is") { throw fail("Tests cannot be chained with 'is'.") }
            arguments.positional = [try parseTestOperand()]
        }
        if Tests.all[name] == nil { noteUnknown(fail(Tests.unknown(name).message, at: offset, .unknownTest)) }
        let test = try node(.test(operand, name: name, arguments), offset, over: [operand] + arguments.expressions)
        return isNegated ? try node(.not(test), offset, over: [test]) : test
    }

    private func takesOperand(_ token: Token) -> Bool {
        switch token.kind {
        case .name: !["else", "or", "and"].contains(token.name)
        case .string, .integer, .double: true
        case .symbol: token.name == "[" || token.name == "{"
        default: false
        }
    }

    private mutating func parseTestOperand() throws(TemplateError) -> Expression {
        try enter()
        defer { leave() }
        return try parsePostfix(try parsePrimary())
    }
}

// Expressions, from the loosest binding to the tightest.

extension Parser {
    /// An expression, or several with commas between them.
    mutating func parseTuple(
        conditional: Bool = true, until end: String? = nil, inParentheses: Bool = false
    ) throws(TemplateError) -> Expression {
        let offset = token.offset
        var items: [Expression] = []
        var isTuple = false
        while true {
            if token.kind == .variableEnd || token.kind == .blockEnd || token.isSymbol(")")
                || end.map({ token.isName($0) }) == true
            {
                break
            }
            items.append(try parseExpression(conditional: conditional))
            guard skip(symbol: ",") else { break }
            isTuple = true
        }
        if !isTuple {
            if let first = items.first { return first }
            guard inParentheses else { throw fail("An expression is expected, not \(token.description).") }
        }
        return try node(.tuple(items), offset, over: items)
    }

    mutating func parseExpression(conditional: Bool = true) throws(TemplateError) -> Expression {
        try enter()
        defer { leave() }
        let mark = unguarded.count
        let offset = token.offset
        var expression = try parseOr()
        while conditional && skip(name: "if") {
            let test = try parseOr()
            let otherwise = skip(name: "else") ? try parseExpression() : nil
            expression = try node(
                .conditional(test: test, then: expression, otherwise: otherwise), offset,
                over: [test, expression, otherwise ?? test])
            forgetUnguarded(since: mark)
        }
        return expression
    }

    private mutating func parseOr() throws(TemplateError) -> Expression {
        let offset = token.offset
        var operands = [try parseAnd()]
        while skip(name: "or") { operands.append(try parseAnd()) }
        return operands.count == 1 ? operands[0] : try node(.or(operands), offset, over: operands)
    }

    private mutating func parseAnd() throws(TemplateError) -> Expression {
        let offset = token.offset
        var operands = [try parseNot()]
        while skip(name: "and") { operands.append(try parseNot()) }
        return operands.count == 1 ? operands[0] : try node(.and(operands), offset, over: operands)
    }

    private mutating func parseNot() throws(TemplateError) -> Expression {
        let offset = token.offset
        guard skip(name: "not") else { return try parseComparison() }
        try enter()
        defer { leave() }
        let operand = try parseNot()
        return try node(.not(operand), offset, over: [operand])
    }

    private mutating func parseComparison() throws(TemplateError) -> Expression {
        let offset = token.offset
        let first = try parseSum()
        var rest: [(operation: Comparison, operand: Expression)] = []
        while true {
            if token.kind == .symbol, let operation = Comparison(rawValue: token.name) {
                advance()
                rest.append((operation, try parseSum()))
            } else if skip(name: "in") {
                rest.append((.isIn, try parseSum()))
            } else if token.isName("not") && next.isName("in") {
                advance()
                advance()
                rest.append((.isNotIn, try parseSum()))
            } else {
                break
            }
        }
        return rest.isEmpty ? first : try node(.comparison(first, rest), offset, over: [first] + rest.map(\.operand))
    }

    // MARK: - Arithmetic

    private func binaryOperator(_ allowed: [BinaryOperator]) -> BinaryOperator? {
        guard token.kind == .symbol, let found = BinaryOperator(rawValue: token.name) else { return nil }
        return allowed.contains(found) ? found : nil
    }

    private func chain(
        _ first: Expression, _ rest: [(operation: BinaryOperator, operand: Expression)], _ offset: Int
    ) throws(TemplateError) -> Expression {
        rest.isEmpty ? first : try node(.chain(first, rest), offset, over: [first] + rest.map(\.operand))
    }

    private mutating func parseSum() throws(TemplateError) -> Expression {
        let offset = token.offset
        let first = try parseConcatenation()
        var rest: [(operation: BinaryOperator, operand: Expression)] = []
        while let operation = binaryOperator([.add, .subtract]) {
            advance()
            rest.append((operation, try parseConcatenation()))
        }
        return try chain(first, rest, offset)
    }

    private mutating func parseConcatenation() throws(TemplateError) -> Expression {
        let offset = token.offset
        var operands = [try parseProduct()]
        while skip(symbol: "~") { operands.append(try parseProduct()) }
        return operands.count == 1 ? operands[0] : try node(.concatenation(operands), offset, over: operands)
    }

    private mutating func parseProduct() throws(TemplateError) -> Expression {
        let offset = token.offset
        let first = try parsePower()
        var rest: [(operation: BinaryOperator, operand: Expression)] = []
        while let operation = binaryOperator([.multiply, .divide, .floorDivide, .remainder]) {
            advance()
            rest.append((operation, try parsePower()))
        }
        return try chain(first, rest, offset)
    }

    private mutating func parsePower() throws(TemplateError) -> Expression {
        let offset = token.offset
        let first = try parseUnary()
        var rest: [(operation: BinaryOperator, operand: Expression)] = []
        while skip(symbol: "**") { rest.append((.power, try parseUnary())) }
        return try chain(first, rest, offset)
    }

    private mutating func parseUnary(withFilters: Bool = true) throws(TemplateError) -> Expression {
        let offset = token.offset
        var expression: Expression
        if token.isSymbol("-") || token.isSymbol("+") {
            let isNegative = token.isSymbol("-")
            try enter()
            advance()
            let operand = try parseUnary(withFilters: false)
            leave()
            expression = try node(isNegative ? .negative(operand) : .positive(operand), offset, over: [operand])
        } else {
            expression = try parsePrimary()
        }
        expression = try parsePostfix(expression)
        guard withFilters else { return expression }
        while true {
            if token.isSymbol("|") {
                expression = try parseFilters(expression)
            } else if token.isName("is") {
                expression = try parseTest(expression)
            } else if token.isSymbol("(") {
                expression = try parseCall(expression)
            } else {
                return expression
            }
        }
    }

    // MARK: - Primaries

    mutating func parsePrimary() throws(TemplateError) -> Expression {
        let first = token
        switch first.kind {
        case .name:
            advance()
            switch first.name {
            case "true", "True": return try node(.constant(true), first.offset, over: [])
            case "false", "False": return try node(.constant(false), first.offset, over: [])
            case "none", "None": return try node(.constant(.none), first.offset, over: [])
            default:
                if let innermost = usedNames.indices.last { usedNames[innermost].insert(first.name) }
                return try node(.name(first.name), first.offset, over: [])
            }
        case .string:
            var text = TemplateText(scalars: [])
            while token.kind == .string {
                text.append(token.text)
                advance()
            }
            return try node(.constant(.string(text)), first.offset, over: [])
        case .integer, .double:
            advance()
            return try node(.constant(first.value), first.offset, over: [])
        case .symbol where first.name == "(":
            advance()
            try enter()
            let expression = try parseTuple(inParentheses: true)
            leave()
            try expect(symbol: ")")
            return expression
        case .symbol where first.name == "[":
            advance()
            return try parseList(first.offset)
        case .symbol where first.name == "{":
            advance()
            return try parseDictionary(first.offset)
        default: throw fail("An expression is expected, not \(first.description).")
        }
    }

    private mutating func parseList(_ offset: Int) throws(TemplateError) -> Expression {
        var items: [Expression] = []
        while !token.isSymbol("]") {
            if !items.isEmpty { try expect(symbol: ",") }
            if token.isSymbol("]") { break }
            items.append(try parseExpression())
        }
        try expect(symbol: "]")
        return try node(.list(items), offset, over: items)
    }

    private mutating func parseDictionary(_ offset: Int) throws(TemplateError) -> Expression {
        var pairs: [(key: Expression, value: Expression)] = []
        while !token.isSymbol("}") {
            if !pairs.isEmpty { try expect(symbol: ",") }
            if token.isSymbol("}") { break }
            let key = try parseExpression()
            try expect(symbol: ":")
            pairs.append((key, try parseExpression()))
        }
        try expect(symbol: "}")
        return try node(.dictionary(pairs), offset, over: pairs.flatMap { [$0.key, $0.value] })
    }
}

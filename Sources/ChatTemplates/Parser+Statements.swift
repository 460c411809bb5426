// Tags.

extension Parser {
    mutating func parseStatement(_ offset: Int) throws(TemplateError) -> Statement {
        guard token.kind == .name else { throw fail("The name of a tag is expected, not \(token.description).") }
        let tag = token.name
        let place = token.offset
        advance()
        openTags.append(tag)
        let statement = Statement(try parseTag(tag, place), offset)
        openTags.removeLast()
        return statement
    }

    private mutating func parseTag(_ tag: String, _ place: Int) throws(TemplateError) -> Statement.Kind {
        switch tag {
        case "if": return try parseIf()
        case "for": return try parseFor()
        case "set": return try parseSet()
        case "macro": return try parseMacro()
        case "call": return try parseCallBlock()
        case "filter": return try parseFilterBlock()
        case "with": return try parseWith()
        case "print": return .output(try parseTuple())
        case "break", "continue":
            guard loops > 0 else { throw fail("'\(tag)' stands outside of a loop.", at: place) }
            return tag == "break" ? .breakLoop : .continueLoop
        case "generation": return .scope(try parseUnconditional(until: "endgeneration"))
        case "block":
            let name = try expectName()
            _ = skip(name: "scoped")
            let body = try parseUnconditional(until: "endblock")
            _ = skip(name: name)
            return .scope(body)
        case "include", "import", "from", "extends":
            throw fail("A chat template stands alone: '\(tag)' is not supported.", at: place, .unsupported)
        case "autoescape", "do", "trans", "debug":
            throw fail("The tag '\(tag)' is not supported.", at: place, .unsupported)
        default:
            openTags.removeLast()
            let inside = openTags.last.map { " inside the '\($0)' block that is open" } ?? ""
            throw fail("There is no tag '\(tag)'\(inside).", at: place)
        }
    }

    /// A body that always runs when its tag is reached and has variables of its own.
    ///
    /// - Parameter isFunction: whether `break` cannot leave it.
    private mutating func parseUnconditional(
        until end: String, isFunction: Bool = true
    ) throws(TemplateError) -> [Statement] {
        let mark = unguarded.count
        let outer = loops
        if isFunction { loops = 0 }
        let body = try parseBlock(until: [end])
        loops = outer
        try rejectUnguarded(since: mark)
        return body
    }

    private mutating func parseIf() throws(TemplateError) -> Statement.Kind {
        let mark = unguarded.count
        var branches: [(test: Expression, body: [Statement])] = []
        var otherwise: [Statement] = []
        while true {
            let test = try parseTuple(conditional: false)
            branches.append((test, try parseBlock(until: ["elif", "else", "endif"])))
            let end = token.name
            advance()
            if end == "elif" { continue }
            if end == "else" { otherwise = try parseBlock(until: ["endif"]) }
            break
        }
        forgetUnguarded(since: mark)
        return .condition(branches, otherwise: otherwise)
    }

    private mutating func parseFor() throws(TemplateError) -> Statement.Kind {
        let place = token.offset
        let target = try parseTarget(until: "in")
        if target.names.contains("loop") { throw fail("'loop' is the loop itself and cannot be its item.", at: place) }
        try expect(name: "in")
        let iterated = try parseTuple(conditional: false, until: "recursive")
        let mark = unguarded.count
        var condition: Expression?
        if skip(name: "if") { condition = try parseExpression() }
        let isRecursive = skip(name: "recursive")
        loops += 1
        let body = try parseBlock(until: ["endfor", "else"])
        loops -= 1
        let end = token.name
        advance()
        let otherwise = end == "else" ? try parseBlock(until: ["endfor"]) : []
        try rejectUnguarded(since: mark)
        return .loop(
            ForLoop(
                target: target, iterated: iterated, condition: condition, isRecursive: isRecursive, body: body,
                otherwise: otherwise))
    }

    private mutating func parseSet() throws(TemplateError) -> Statement.Kind {
        let target = try parseTarget(until: nil, allowsAttributes: true)
        if skip(symbol: "=") { return .assign(target, try parseTuple()) }
        let mark = unguarded.count
        let filter = token.isSymbol("|") ? try parseFilters(nil) : nil
        let body = try parseUnconditional(until: "endset", isFunction: false)
        try rejectUnguarded(since: mark)
        return .assignBlock(target, filter: filter, body: body)
    }

    private mutating func parseWith() throws(TemplateError) -> Statement.Kind {
        let mark = unguarded.count
        var assignments: [(target: Target, value: Expression)] = []
        while token.kind != .blockEnd {
            if !assignments.isEmpty { try expect(symbol: ",") }
            let target = try parseTarget(until: nil)
            try expect(symbol: "=")
            assignments.append((target, try parseExpression()))
        }
        let body = try parseBlock(until: ["endwith"])
        try rejectUnguarded(since: mark)
        return .with(assignments, body: body)
    }

    private mutating func parseFilterBlock() throws(TemplateError) -> Statement.Kind {
        let mark = unguarded.count
        let filter = try parseFilters(nil, first: true)
        let body = try parseUnconditional(until: "endfilter", isFunction: false)
        try rejectUnguarded(since: mark)
        return .filterBlock(filter, body: body)
    }

    // MARK: - Macros

    private mutating func parseMacro() throws(TemplateError) -> Statement.Kind {
        let name = try expectName()
        let mark = unguarded.count
        usedNames.append([])
        let parameters = try parseParameters()
        return .macro(try parseMacroBody(name, parameters, until: "endmacro", mark))
    }

    private mutating func parseCallBlock() throws(TemplateError) -> Statement.Kind {
        usedNames.append([])
        let mark = unguarded.count
        let parameters = token.isSymbol("(") ? try parseParameters() : []
        // What the call uses, it uses outside of the body.
        let place = token.offset
        let call = try parseExpression()
        guard case .call = call.kind else { throw fail("A call is expected behind 'call'.", at: place) }
        let caller = try parseMacroBody(nil, parameters, until: "endcall", mark)
        return .callBlock(call: call, caller: caller)
    }

    private mutating func parseMacroBody(
        _ name: String?, _ parameters: [Parameter], until end: String, _ mark: Int
    ) throws(TemplateError) -> Macro {
        let body = try parseUnconditional(until: end)
        try rejectUnguarded(since: mark)
        let used = usedNames.removeLast()
        if let outer = usedNames.indices.last { usedNames[outer].formUnion(used) }
        let named = Set(parameters.map(\.name))
        return Macro(
            name: name, parameters: parameters, body: body,
            usesCaller: used.contains("caller") && !named.contains("caller"),
            usesFurtherArguments: used.contains("varargs") && !named.contains("varargs"),
            usesKeywordArguments: used.contains("kwargs") && !named.contains("kwargs"))
    }

    private mutating func parseParameters() throws(TemplateError) -> [Parameter] {
        var parameters: [Parameter] = []
        try expect(symbol: "(")
        while !token.isSymbol(")") {
            if !parameters.isEmpty { try expect(symbol: ",") }
            let place = token.offset
            let name = try expectName()
            try checkAssignable(name, place)
            if skip(symbol: "=") {
                parameters.append(Parameter(name: name, fallback: try parseExpression()))
            } else if parameters.last?.fallback != nil {
                throw fail("The parameter '\(name)' without a value follows one with a value.", at: place)
            } else {
                parameters.append(Parameter(name: name, fallback: nil))
            }
        }
        try expect(symbol: ")")
        return parameters
    }

    // MARK: - Targets

    private func checkAssignable(_ name: String, _ place: Int) throws(TemplateError) {
        if ["true", "false", "none", "True", "False", "None"].contains(name) {
            throw fail("'\(name)' cannot be assigned to.", at: place)
        }
    }

    /// One or more names, separated by commas.
    private mutating func parseTarget(
        until end: String?, allowsAttributes: Bool = false
    ) throws(TemplateError) -> Target {
        try enter()
        defer { leave() }
        var targets: [Target] = []
        var isTuple = false
        while true {
            if token.kind == .blockEnd || token.isSymbol(")") || end.map({ token.isName($0) }) == true { break }
            let place = token.offset
            if skip(symbol: "(") {
                let inner = try parseTarget(until: nil)
                try expect(symbol: ")")
                targets.append(inner)
            } else {
                let name = try expectName()
                if allowsAttributes && skip(symbol: ".") {
                    targets.append(.attribute(namespace: name, TemplateText(try expectName())))
                } else {
                    try checkAssignable(name, place)
                    targets.append(.name(name))
                }
            }
            guard skip(symbol: ",") else { break }
            isTuple = true
        }
        guard let first = targets.first else { throw fail("A name is expected, not \(token.description).") }
        return isTuple ? .tuple(targets) : first
    }
}

/// Makes the tree of a template out of its tokens. Nesting is bounded, so hostile templates cannot exhaust the stack.
struct Parser {
    private let tokens: [Token]
    private let limits: TemplateLimits
    private var position = 0
    private var nesting = 0
    /// Loops round the current place within the current macro: where `break` is allowed.
    var loops = 0
    /// Names used in the macros being parsed, to learn whether they use `caller`, `varargs` or `kwargs`.
    var usedNames: [Set<String>] = []
    /// The tags that are open, for messages.
    var openTags: [String] = []
    /// Unknown filters and tests that no condition guards so far. A template may use what does not exist here in a
    /// branch that is not taken.
    var unguarded: [TemplateError] = []
    private let source: [UInt32]

    /// - Parameter source: see ``Lexer/normalized(_:)``.
    init(_ source: [UInt32], limits: TemplateLimits) throws(TemplateError) {
        guard source.count <= TemplateLimits.sourceLength else {
            throw TemplateError(.limit, "The template is longer than \(TemplateLimits.sourceLength) characters.")
        }
        self.source = source
        self.limits = limits
        var lexer = Lexer(source)
        tokens = try lexer.tokenize()
    }

    mutating func parse() throws(TemplateError) -> [Statement] {
        let statements = try parseBody(until: [])
        try rejectUnguarded(since: 0)
        return statements
    }

    // MARK: - Tokens

    var token: Token { tokens[position] }
    var next: Token { tokens[min(position + 1, tokens.count - 1)] }

    mutating func advance() { if position < tokens.count - 1 { position += 1 } }

    mutating func skip(name: String) -> Bool {
        guard token.isName(name) else { return false }
        advance()
        return true
    }

    mutating func skip(symbol: String) -> Bool {
        guard token.isSymbol(symbol) else { return false }
        advance()
        return true
    }

    mutating func expect(symbol: String) throws(TemplateError) {
        guard skip(symbol: symbol) else { throw fail("'\(symbol)' is expected, not \(token.description).") }
    }

    mutating func expect(name: String) throws(TemplateError) {
        guard skip(name: name) else { throw fail("'\(name)' is expected, not \(token.description).") }
    }

    mutating func expect(_ kind: Token.Kind, _ what: String) throws(TemplateError) {
        guard token.kind == kind else { throw fail("\(what) is expected, not \(token.description).") }
        advance()
    }

    mutating func expectName() throws(TemplateError) -> String {
        guard token.kind == .name else { throw fail("A name is expected, not \(token.description).") }
        defer { advance() }
        return token.name
    }

    func fail(_ message: String, at offset: Int? = nil, _ code: TemplateError.Code = .syntax) -> TemplateError {
        TemplateError(code, message).located(in: source, at: offset ?? token.offset)
    }

    // MARK: - Bounds

    mutating func enter() throws(TemplateError) {
        nesting += 1
        guard nesting <= limits.nesting else {
            throw fail("The template nests more than \(limits.nesting) levels deep.", .limit)
        }
    }

    mutating func leave() { nesting -= 1 }

    /// An expression over others, unless that makes its tree too high.
    func node(
        _ kind: Expression.Kind, _ offset: Int, over operands: [Expression]
    ) throws(TemplateError) -> Expression {
        let node = Expression(kind, offset, over: operands)
        guard node.height <= TemplateLimits.treeHeight else {
            throw fail("The expression has more than \(TemplateLimits.treeHeight) levels.", at: offset, .limit)
        }
        return node
    }

    // MARK: - Filters and tests that do not exist

    mutating func noteUnknown(_ error: TemplateError) { unguarded.append(error) }

    /// Ends a part that runs whenever the template does: what is unknown in it is an error.
    func rejectUnguarded(since mark: Int) throws(TemplateError) {
        if mark < unguarded.count { throw unguarded[mark] }
    }

    /// Ends a part that runs under a condition: what is unknown in it fails when it is reached.
    mutating func forgetUnguarded(since mark: Int) {
        if mark < unguarded.count { unguarded.removeSubrange(mark...) }
    }

    // MARK: - Bodies

    /// Text and tags up to a tag with one of these names, whose name is then the current token.
    mutating func parseBody(until ends: [String]) throws(TemplateError) -> [Statement] {
        try enter()
        defer { leave() }
        var body: [Statement] = []
        while true {
            let offset = token.offset
            switch token.kind {
            case .data:
                body.append(Statement(.text(token.text), offset))
                advance()
            case .variableBegin:
                advance()
                let expression = try parseTuple()
                body.append(Statement(.output(expression), offset))
                try expect(.variableEnd, "'}}'")
            case .blockBegin:
                advance()
                if token.kind == .name && ends.contains(token.name) { return body }
                body.append(try parseStatement(offset))
                try expect(.blockEnd, "'%}'")
            case .end:
                guard let tag = openTags.last else { return body }
                throw fail("The template ends inside a '\(tag)' block: '\(ends.last ?? "end" + tag)' is missing.")
            default:
                throw fail("\(token.description) is not expected.")
            }
        }
    }

    /// The rest of a tag, and the body up to an end tag, past whose name it goes if there is only one.
    mutating func parseBlock(until ends: [String]) throws(TemplateError) -> [Statement] {
        _ = skip(symbol: ":")
        try expect(.blockEnd, "'%}'")
        let body = try parseBody(until: ends)
        if ends.count == 1 { advance() }
        return body
    }
}

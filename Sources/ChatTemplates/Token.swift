/// A piece of a template.
struct Token {
    enum Kind: Equatable {
        /// Text between tags.
        case data
        case blockBegin, blockEnd, variableBegin, variableEnd
        case name, string, integer, double
        case symbol
        case end
    }

    let kind: Kind
    /// The name or symbol.
    var name = ""
    /// The text of `data` and `string`.
    var text = TemplateText(scalars: [])
    var value = TemplateValue.none
    /// Where it begins, in scalars.
    let offset: Int

    func isName(_ name: String) -> Bool { kind == .name && self.name == name }
    func isSymbol(_ symbol: String) -> Bool { kind == .symbol && name == symbol }

    /// For messages.
    var description: String {
        switch kind {
        case .data: "text"
        case .blockBegin: "'{%'"
        case .blockEnd: "'%}'"
        case .variableBegin: "'{{'"
        case .variableEnd: "'}}'"
        case .name, .symbol: "'\(name)'"
        case .string: "a string"
        case .integer, .double: "a number"
        case .end: "the end of the template"
        }
    }
}

import Foundation

/// Why a chat template was refused or could not be rendered: what is wrong, and where in the template.
public struct TemplateError: Error, Sendable, CustomStringConvertible, LocalizedError {
    /// What kind of failure this is. New codes may be added; match with `==` and keep a default.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        init(_ description: String) { self.description = description }

        /// The text is not a template.
        public static let syntax = Code("syntax")
        /// A tag, filter or function of Jinja that is not offered here (`include`, `import`, `lipsum`, …).
        public static let unsupported = Code("unsupported")
        /// A filter that does not exist.
        public static let unknownFilter = Code("unknown filter")
        /// A test (`is …`) that does not exist.
        public static let unknownTest = Code("unknown test")
        /// A variable or attribute that is not there is used.
        public static let undefined = Code("undefined")
        /// An operation on values of the wrong type, or wrong arguments.
        public static let type = Code("type")
        /// A value that an operation cannot take: a division by zero, a number too large, text that is no number.
        public static let value = Code("value")
        /// The template called `raise_exception`; the message is the template's own.
        public static let raised = Code("raised by the template")
        /// Access to something that templates may not touch.
        public static let security = Code("security")
        /// Nesting, steps or sizes beyond ``TemplateLimits``.
        public static let limit = Code("limit")
        /// JSON given as a value is malformed.
        public static let badJSON = Code("bad JSON")
    }

    public var code: Code
    /// A sentence without place.
    public var message: String
    /// From 1, in the template.
    public var line: Int?
    /// From 1, in Unicode scalars.
    public var column: Int?
    /// The line of the template, shortened.
    public var snippet: String?

    public init(_ code: Code, _ message: String, line: Int? = nil, column: Int? = nil, snippet: String? = nil) {
        self.code = code
        self.message = message
        self.line = line
        self.column = column
        self.snippet = snippet
    }

    public var description: String {
        guard let line else { return message }
        var text = "\(message) (template line \(line)"
        if let column { text += ", column \(column)" }
        text += ")"
        if let snippet, !snippet.isEmpty { text += ": \(snippet)" }
        return text
    }

    public var errorDescription: String? { description }

    /// The same error with the place that `offset` (in scalars) has in `source`; one that has a place keeps it.
    func located(in source: [UInt32], at offset: Int) -> TemplateError {
        guard line == nil else { return self }
        let offset = min(max(offset, 0), source.count)
        var start = 0
        var number = 1
        for index in 0..<offset where source[index] == 10 {
            number += 1
            start = index + 1
        }
        let end = source[start...].firstIndex(of: 10) ?? source.count
        var located = self
        located.line = number
        located.column = offset - start + 1
        // A window round the place: lines of templates can be thousands of characters long.
        let from = max(start, min(offset - 30, end - 72))
        let to = min(end, max(offset, from) + 72)
        let shown = TemplateText(scalars: Array(source[from..<to]))
        located.snippet =
            (from > start ? "…" : "") + shown.string.trimmingCharacters(in: .whitespaces) + (to < end ? "…" : "")
        return located
    }
}

/// What a template made, and which of it the template wrote itself.
public struct RenderedText: Sendable, CustomStringConvertible {
    /// A run of text of one origin.
    public struct Segment: Sendable, Equatable {
        public let text: String
        /// Whether the template wrote it; otherwise it came in with the conversation, and is to be tokenized as plain
        /// text, without control tokens.
        public let isTemplateText: Bool

        public init(text: String, isTemplateText: Bool) {
            self.text = text
            self.isTemplateText = isTemplateText
        }
    }

    /// The whole text in order; neighbours differ in origin.
    public let segments: [Segment]

    init(_ text: TemplateText) {
        var segments: [Segment] = []
        var start = 0
        while start < text.count {
            let mark = text.scalars[start] & TemplateText.inputMark
            var end = start + 1
            while end < text.count && text.scalars[end] & TemplateText.inputMark == mark { end += 1 }
            segments.append(Segment(text: text.slice(start, end).string, isTemplateText: mark == 0))
            start = end
        }
        self.segments = segments
    }

    /// The text of all segments.
    public var text: String { segments.map(\.text).joined() }
    public var description: String { text }
}

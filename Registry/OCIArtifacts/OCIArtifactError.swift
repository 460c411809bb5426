/// What is wrong with an OCI value: a digest, a name, a reference, a descriptor or a manifest.
///
/// Callers match on ``code``; people read ``message``, which quotes the offending text (shortened) and says what a
/// right one looks like.
public struct OCIArtifactError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of mistake. Extensible: new kinds may appear, so a `switch` needs a default.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        public let description: String

        public static let digestInvalid = Code(description: "digest invalid")
        public static let nameInvalid = Code(description: "name invalid")
        public static let tagInvalid = Code(description: "tag invalid")
        public static let referenceInvalid = Code(description: "reference invalid")
        public static let descriptorInvalid = Code(description: "descriptor invalid")
        public static let manifestInvalid = Code(description: "manifest invalid")
        public static let jsonInvalid = Code(description: "JSON invalid")
        public static let keyInvalid = Code(description: "key invalid")
        public static let signatureInvalid = Code(description: "signature invalid")
        public static let tooLarge = Code(description: "too large")
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }

    /// `text` in quotes, cut at 80 characters and with control characters made visible.
    static func quoted(_ text: some StringProtocol) -> String {
        var shown = "\""
        for scalar in text.unicodeScalars.prefix(80) {
            let isControl = scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value)
            shown += isControl ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
        }
        return shown + (text.unicodeScalars.count > 80 ? "…\"" : "\"")
    }
}

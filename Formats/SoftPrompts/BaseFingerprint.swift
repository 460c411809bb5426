import ByteIO

/// What identifies a base model: the same numbers give the same fingerprint, whatever the container.
///
/// Each part is a SHA-256 written `sha256:` and 64 lower-case hex digits. How they are computed is the matter of the
/// `Conversion` module; this is the value that prompts carry.
public struct BaseFingerprint: Hashable, Sendable, Codable {
    /// The digest of the four parts together.
    public var fingerprint: String
    /// All tensors but those derived from others.
    public var weights: String
    /// The token embedding alone: the space that a prompt at the input lives in.
    public var embedding: String
    /// What decides which ids a text becomes.
    public var tokenizer: String
    /// The hyperparameters that change the computation.
    public var architecture: String

    public init(fingerprint: String, weights: String, embedding: String, tokenizer: String, architecture: String) {
        self.fingerprint = fingerprint
        self.weights = weights
        self.embedding = embedding
        self.tokenizer = tokenizer
        self.architecture = architecture
    }

    /// The first 12 hex digits, for people.
    public var short: String {
        let hex = fingerprint.hasPrefix("sha256:") ? fingerprint.dropFirst(7) : fingerprint[...]
        return String(hex.prefix(12))
    }

    /// - Throws: ``SoftPromptError`` of code `invalidDigest` that names the first part that is no SHA-256 digest.
    public func validate() throws(SoftPromptError) {
        for (name, value) in parts where !Self.isDigest(value) {
            throw SoftPromptError(
                .invalidDigest,
                "the base's \(name) is \(value.quotedForMessage); \"sha256:\" and 64 lower-case hex digits are expected"
            )
        }
    }

    /// The names of the parts in which two bases differ, in the order people care: weights, tokenizer, architecture.
    public func differences(from other: BaseFingerprint) -> [String] {
        var names: [String] = []
        if weights != other.weights {
            names.append(embedding == other.embedding ? "weights (though not the token embedding)" : "weights")
        }
        if tokenizer != other.tokenizer { names.append("tokenizer") }
        if architecture != other.architecture { names.append("architecture") }
        return names
    }

    private var parts: [(String, String)] {
        [
            ("architecture", architecture), ("embedding", embedding), ("fingerprint", fingerprint),
            ("tokenizer", tokenizer), ("weights", weights),
        ]
    }

    /// Whether a text is `sha256:` and 64 lower-case hex digits.
    public static func isDigest(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return bytes.count == 71 && bytes.starts(with: Array("sha256:".utf8))
            && bytes.dropFirst(7).allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    // MARK: - JSON

    /// An object with one member a part.
    public var json: JSONValue {
        .object(JSONObject(parts.map { ($0.0, JSONValue.string($0.1)) }))
    }

    /// Reads and validates what ``json`` wrote; other members are ignored.
    public init(json: JSONValue) throws(SoftPromptError) {
        func part(_ name: String) throws(SoftPromptError) -> String {
            guard let text = json[name]?.stringValue else {
                throw SoftPromptError(.invalidConfiguration, "the base has no \"\(name)\" that is a string")
            }
            return text
        }
        self.init(
            fingerprint: try part("fingerprint"), weights: try part("weights"), embedding: try part("embedding"),
            tokenizer: try part("tokenizer"), architecture: try part("architecture"))
        try validate()
    }
}

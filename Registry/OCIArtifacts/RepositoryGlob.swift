/// A pattern of repository names, as access rules, trust policies and protected tags use it.
///
/// `*` stands for any characters within one path component, `**` for any characters at all; everything else is literal:
/// `team/*` matches `team/gloss` and not `team/a/b`, `team/**` matches both, `**` matches every repository.
public struct RepositoryGlob: Hashable, Sendable, Codable, CustomStringConvertible {
    public static let maximumLength = 255
    public let description: String
    private let pieces: [Piece]

    private enum Piece: Hashable, Sendable {
        case literal(UInt8)
        /// Any bytes but `/`.
        case component
        /// Any bytes.
        case anything
    }

    /// Every repository.
    public static let all = RepositoryGlob(description: "**", pieces: [.anything])

    private init(description: String, pieces: [Piece]) {
        self.description = description
        self.pieces = pieces
    }

    /// - Throws: `.nameInvalid` when the pattern is empty, too long, or has letters that no repository name has.
    public init(_ text: String) throws(OCIArtifactError) {
        var pieces: [Piece] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "*"):
                if rest.first == UInt8(ascii: "*") {
                    rest.removeFirst()
                    pieces.append(.anything)
                } else {
                    pieces.append(.component)
                }
            case 48...57, 97...122, UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "/"):
                pieces.append(.literal(byte))
            default:
                throw Self.invalid(text)
            }
        }
        guard !pieces.isEmpty, text.utf8.count <= Self.maximumLength else { throw Self.invalid(text) }
        self.init(description: text, pieces: pieces)
    }

    private static func invalid(_ text: String) -> OCIArtifactError {
        OCIArtifactError(
            .nameInvalid,
            "\(OCIArtifactError.quoted(text)) is no pattern of repository names; write team/name, team/* or team/**")
    }

    /// Whether the pattern covers the name. Takes time proportional to pattern times name, whatever the stars.
    public func matches(_ name: RepositoryName) -> Bool {
        let bytes = Array(name.description.utf8)
        // reached[i]: the pieces so far can consume exactly the first i bytes.
        var reached = [Bool](repeating: false, count: bytes.count + 1)
        reached[0] = true
        for piece in pieces {
            var next = [Bool](repeating: false, count: bytes.count + 1)
            switch piece {
            case .literal(let byte):
                for index in bytes.indices where reached[index] && bytes[index] == byte { next[index + 1] = true }
            case .component, .anything:
                var isOpen = false
                for index in 0...bytes.count {
                    if index > 0, piece == .component, bytes[index - 1] == UInt8(ascii: "/") { isOpen = false }
                    if reached[index] { isOpen = true }
                    next[index] = isOpen
                }
            }
            reached = next
        }
        return reached[bytes.count]
    }

    public init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

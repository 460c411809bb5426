/// A repository's name: lower-case path components, at most 255 bytes, as the distribution spec draws it:
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`.
public struct RepositoryName: Hashable, Sendable, Codable, CustomStringConvertible, Comparable {
    public static let maximumLength = 255
    public let description: String

    public init(_ text: String) throws(OCIArtifactError) {
        guard !text.isEmpty else { throw OCIArtifactError(.nameInvalid, "the repository name is empty") }
        guard text.utf8.count <= Self.maximumLength else {
            throw OCIArtifactError(
                .nameInvalid,
                "repository name \(OCIArtifactError.quoted(text)) is longer than \(Self.maximumLength) bytes")
        }
        for component in text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        where !Self.isComponent(component) {
            throw OCIArtifactError(
                .nameInvalid,
                "repository name \(OCIArtifactError.quoted(text)) must be lower-case letters and digits, joined by "
                    + "'.', '_', '__' or '-' inside a component and by '/' between components")
        }
        description = text
    }

    public static func < (a: RepositoryName, b: RepositoryName) -> Bool {
        a.description.utf8.lexicographicallyPrecedes(b.description.utf8)
    }

    public init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
    }

    private static func isComponent(_ bytes: some Collection<UInt8>) -> Bool {
        var separator: [UInt8] = []
        var seenAlphanumeric = false
        for byte in bytes {
            if isAlphanumeric(byte) {
                if !separator.isEmpty {
                    guard seenAlphanumeric, isSeparator(separator) else { return false }
                    separator = []
                }
                seenAlphanumeric = true
            } else {
                separator.append(byte)
            }
        }
        return seenAlphanumeric && separator.isEmpty
    }

    private static func isSeparator(_ bytes: [UInt8]) -> Bool {
        bytes == [UInt8(ascii: ".")] || bytes == [UInt8(ascii: "_")]
            || bytes == [UInt8(ascii: "_"), UInt8(ascii: "_")] || bytes.allSatisfy { $0 == UInt8(ascii: "-") }
    }
}

/// A manifest's human name: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
///
/// Tags `v1`, `v2`, … are versions: a store never lets them move (see ``versionNumber``).
public struct Tag: Hashable, Sendable, Codable, CustomStringConvertible, Comparable {
    public static let maximumLength = 128
    public let description: String

    public init(_ text: String) throws(OCIArtifactError) {
        let isValid =
            (1...Self.maximumLength).contains(text.utf8.count)
            && text.utf8.enumerated().allSatisfy { Self.isAllowed($0.element, first: $0.offset == 0) }
        guard isValid else {
            throw OCIArtifactError(
                .tagInvalid,
                "tag \(OCIArtifactError.quoted(text)) must be 1 to \(Self.maximumLength) letters, digits, '_', '.' "
                    + "and '-', and not begin with '.' or '-'")
        }
        description = text
    }

    private init(unchecked text: String) { description = text }

    /// The tag that moves to the newest version by itself.
    public static let latest = Tag(unchecked: "latest")

    /// The immutable tag `v<number>` of a version; `number` ≥ 1.
    public static func version(_ number: Int) -> Tag {
        precondition(number >= 1, "versions are counted from 1")
        return Tag(unchecked: "v\(number)")
    }

    /// N of a version tag `v<N>` (N ≥ 1, no leading zero), nil of every other tag.
    public var versionNumber: Int? {
        guard description.utf8.first == UInt8(ascii: "v") else { return nil }
        let digits = description.utf8.dropFirst()
        guard let first = digits.first, first != UInt8(ascii: "0"),
            digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return Int(String(description.dropFirst()))
    }

    /// The tag under which clients keep an index of the referrers of `subject` on registries without the referrers
    /// API: `<algorithm>-<hex>`, the hex cut at 64 digits.
    public static func referrersFallback(for subject: Digest) -> Tag {
        Tag(unchecked: "\(subject.algorithm.rawValue)-\(subject.hex.prefix(64))")
    }

    /// Whether the tag has the form that ``referrersFallback(for:)`` makes. Listings meant for people hide these.
    public var isReferrersFallback: Bool {
        let parts = description.split(separator: "-", omittingEmptySubsequences: false)
        return parts.count == 2 && Digest.Algorithm(rawValue: String(parts[0])) != nil
            && parts[1].utf8.count == 64 && parts[1].utf8.allSatisfy(Digest.isLowerHex)
    }

    /// Whether the tag names a base anchor: `base-<12 hex digits>`. Listings meant for people hide these too.
    public var isBaseAnchor: Bool {
        description.hasPrefix("base-") && description.utf8.count == 17
            && description.utf8.dropFirst(5).allSatisfy(Digest.isLowerHex)
    }

    /// ASCII order, the order of tag lists in the distribution spec.
    public static func < (a: Tag, b: Tag) -> Bool {
        a.description.utf8.lexicographicallyPrecedes(b.description.utf8)
    }

    public init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    private static func isAllowed(_ byte: UInt8, first: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        case UInt8(ascii: "."), UInt8(ascii: "-"): !first
        default: false
        }
    }
}

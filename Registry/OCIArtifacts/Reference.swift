/// What names one manifest inside a repository: a tag or a digest.
public enum ManifestReference: Hashable, Sendable, CustomStringConvertible {
    case tag(Tag)
    case digest(Digest)

    /// Parses a tag, or a digest when the text has a colon (a tag cannot).
    public init(_ text: String) throws(OCIArtifactError) {
        self = text.utf8.contains(UInt8(ascii: ":")) ? .digest(try Digest(text)) : .tag(try Tag(text))
    }

    public var description: String {
        switch self {
        case .tag(let tag): tag.description
        case .digest(let digest): digest.description
        }
    }
}

/// A full name as people type it: `demo/gloss:v1`, `127.0.0.1:5000/demo/gloss:v1`, `host/demo/gloss@sha256:…`.
///
/// The first component is a host when a `/` follows it and it has a `.` or a `:`, or is `localhost`: the same rule as
/// Docker's, without Docker's default host.
public struct Reference: Hashable, Sendable, CustomStringConvertible {
    /// `name` or `name:port`; nil for the local registry.
    public let host: String?
    public let repository: RepositoryName
    /// The digest when both a tag and a digest were written; nil when neither was.
    public let reference: ManifestReference?
    /// The tag as written, also beside a digest.
    public let tag: Tag?

    public init(host: String?, repository: RepositoryName, reference: ManifestReference?) {
        self.host = host
        self.repository = repository
        self.reference = reference
        if case .tag(let tag) = reference { self.tag = tag } else { self.tag = nil }
    }

    public init(_ text: String) throws(OCIArtifactError) {
        let shown = OCIArtifactError.quoted(text)
        if let scheme = text.range(ofText: "://") {
            throw OCIArtifactError(
                .referenceInvalid, "reference \(shown) must be written without \"\(text[..<scheme.upperBound])\"")
        }
        var rest = text[...]
        var host: String?
        if let slash = rest.firstIndex(of: "/") {
            let first = rest[..<slash]
            if first.contains(".") || first.contains(":") || first == "localhost" {
                guard Self.isHost(first) else {
                    throw OCIArtifactError(
                        .referenceInvalid, "reference \(shown) has no valid host before its first '/'")
                }
                host = String(first)
                rest = rest[rest.index(after: slash)...]
            }
        }
        var digest: Digest?
        if let at = rest.firstIndex(of: "@") {
            digest = try Digest(String(rest[rest.index(after: at)...]))
            rest = rest[..<at]
        }
        var tag: Tag?
        let nameStart = rest.lastIndex(of: "/").map { rest.index(after: $0) } ?? rest.startIndex
        if let colon = rest[nameStart...].firstIndex(of: ":") {
            tag = try Tag(String(rest[rest.index(after: colon)...]))
            rest = rest[..<colon]
        }
        repository = try RepositoryName(String(rest))
        if (host?.utf8.count ?? 0) + rest.utf8.count > RepositoryName.maximumLength {
            throw OCIArtifactError(
                .nameInvalid, "host and repository of \(shown) together exceed \(RepositoryName.maximumLength) bytes")
        }
        self.host = host
        self.tag = tag
        reference = digest.map { .digest($0) } ?? tag.map { .tag($0) }
    }

    public var description: String {
        var text = host.map { $0 + "/" } ?? ""
        text += repository.description
        if let tag { text += ":\(tag)" }
        if case .digest(let digest) = reference { text += "@\(digest)" }
        return text
    }

    /// `name`, `name:port`, `[v6]` or `[v6]:port`.
    private static func isHost(_ text: Substring) -> Bool {
        var name = text
        var port: Substring?
        if text.first == "[" {
            guard let close = text.firstIndex(of: "]") else { return false }
            let address = text[text.index(after: text.startIndex)..<close]
            guard !address.isEmpty, address.utf8.allSatisfy({ isHexOr($0, ":.") }) else { return false }
            let tail = text[text.index(after: close)...]
            if tail.isEmpty { return true }
            guard tail.first == ":" else { return false }
            port = tail.dropFirst()
        } else {
            if let colon = text.firstIndex(of: ":") {
                name = text[..<colon]
                port = text[text.index(after: colon)...]
            }
            let labels = name.split(separator: ".", omittingEmptySubsequences: false)
            let isName = labels.allSatisfy { label in
                !label.isEmpty && label.first != "-" && label.last != "-"
                    && label.utf8.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: "-") }
            }
            guard isName else { return false }
        }
        guard let port else { return true }
        guard port.utf8.count <= 5, port.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(port) else {
            return false
        }
        return (1...65535).contains(number)
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
    }

    private static func isHexOr(_ byte: UInt8, _ others: String) -> Bool {
        (48...57).contains(byte) || (65...70).contains(byte) || (97...102).contains(byte) || others.utf8.contains(byte)
    }
}

extension String {
    fileprivate func range(ofText needle: String) -> Range<String.Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(needle) { return start..<index(start, offsetBy: needle.count) }
            start = index(after: start)
        }
        return nil
    }
}

import OCIArtifacts

/// What a path under `/v2/` names. Repository names have slashes themselves, so a path is read from its right end.
///
///     /v2/                          base             /v2/<name>/blobs/uploads/       uploads
///     /v2/_catalog                  catalog          /v2/<name>/blobs/uploads/<id>   upload
///     /v2/<name>/blobs/<digest>     blob             /v2/<name>/tags/list            tags
///     /v2/<name>/manifests/<ref>    manifest         /v2/<name>/referrers/<digest>   referrers
enum Endpoint: Hashable, Sendable {
    case base
    case catalog
    case blob(RepositoryName, String)
    case uploads(RepositoryName)
    case upload(RepositoryName, String)
    case manifest(RepositoryName, String)
    case tags(RepositoryName)
    case referrers(RepositoryName, String)

    /// Reads a path as it came in the request, without its query.
    ///
    /// No name, tag, digest or upload id needs percent-encoding, so a path that has any is refused (two spellings of
    /// one name are how checks get bypassed), apart from the `:` of a digest, which some clients escape.
    init(path: String) throws(OCIError) {
        var parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 2, parts[0].isEmpty, parts[1] == "v2" else { throw .noSuchPath }
        parts.removeFirst(2)
        if parts.isEmpty || parts == [""] {
            self = .base
            return
        }
        if parts == ["_catalog"] {
            self = .catalog
            return
        }
        if let last = parts.popLast() {
            parts.append(last.replacing("%3A", with: ":").replacing("%3a", with: ":"))
        }
        guard !parts.contains(where: { $0.utf8.contains(UInt8(ascii: "%")) }) else {
            throw OCIError(
                .badRequest, .nameInvalid, "the path has percent-encoded characters; names, tags and digests need none")
        }
        let count = parts.count
        let last = parts[count - 1]
        if count >= 3, parts[count - 2] == "tags", last == "list" {
            self = .tags(try Self.name(parts.dropLast(2)))
        } else if count >= 4, parts[count - 3] == "blobs", parts[count - 2] == "uploads" {
            let name = try Self.name(parts.dropLast(3))
            self = last.isEmpty ? .uploads(name) : .upload(name, last)
        } else if count >= 3, parts[count - 2] == "blobs" {
            let name = try Self.name(parts.dropLast(2))
            self = last == "uploads" ? .uploads(name) : .blob(name, last)
        } else if count >= 3, parts[count - 2] == "manifests" {
            self = .manifest(try Self.name(parts.dropLast(2)), last)
        } else if count >= 3, parts[count - 2] == "referrers" {
            self = .referrers(try Self.name(parts.dropLast(2)), last)
        } else {
            throw .noSuchPath
        }
    }

    /// The repository that the path names; nil for the base and the catalogue.
    var repository: RepositoryName? {
        switch self {
        case .base, .catalog: nil
        case .blob(let name, _), .uploads(let name), .upload(let name, _), .manifest(let name, _), .tags(let name),
            .referrers(let name, _):
            name
        }
    }

    /// A word for metrics.
    var kind: String {
        switch self {
        case .base: "base"
        case .catalog: "catalog"
        case .blob: "blob"
        case .uploads, .upload: "upload"
        case .manifest: "manifest"
        case .tags: "tags"
        case .referrers: "referrers"
        }
    }

    private static func name(_ parts: ArraySlice<String>) throws(OCIError) -> RepositoryName {
        do {
            return try RepositoryName(parts.joined(separator: "/"))
        } catch {
            throw OCIError(.badRequest, .nameInvalid, error.message)
        }
    }
}

/// The decoded parameters of a query, in order; a name may come several times.
struct QueryParameters: Hashable, Sendable {
    private let items: [(name: String, value: String)]

    /// `+` stays a plus: media types are full of them, and nothing in this protocol has a space.
    init(_ query: String?) {
        items = (query ?? "").split(separator: "&").map { item in
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (Self.decoded(parts[0]), parts.count > 1 ? Self.decoded(parts[1]) : "")
        }
    }

    subscript(name: String) -> String? { items.first { $0.name == name }?.value }

    func all(_ name: String) -> [String] { items.filter { $0.name == name }.map(\.value) }

    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            let pair = rest.prefix(2)
            if byte == UInt8(ascii: "%"), pair.count == 2,
                let value = UInt8(String(decoding: pair, as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Escapes everything that is not an unreserved character of RFC 3986.
    static func encoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var out: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 48...57, 65...90, 97...122, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                out.append(byte)
            default:
                out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    static func == (a: QueryParameters, b: QueryParameters) -> Bool {
        a.items.elementsEqual(b.items) { $0 == $1 }
    }

    func hash(into hasher: inout Swift.Hasher) {
        for item in items {
            hasher.combine(item.name)
            hasher.combine(item.value)
        }
    }
}

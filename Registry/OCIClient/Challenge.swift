/// One challenge of a `WWW-Authenticate` header (RFC 9110, section 11.6.1): a scheme and its parameters.
struct Challenge: Hashable, Sendable {
    /// Lower case.
    let scheme: String
    /// Names in lower case.
    let parameters: [String: String]

    /// Reads a header, which may hold several challenges: `Basic realm="a", Bearer realm="b",scope="x,y"`.
    static func parse(_ header: String) -> [Challenge] {
        var result: [Challenge] = []
        var scheme: String?
        var parameters: [String: String] = [:]
        var rest = header[...]
        func flush() {
            if let scheme { result.append(Challenge(scheme: scheme, parameters: parameters)) }
        }
        while true {
            rest = rest.drop { $0 == " " || $0 == "," || $0 == "\t" }
            if rest.isEmpty { break }
            let word = rest.prefix { $0.isLetter || $0.isNumber || "-_.~+/".contains($0) }
            guard !word.isEmpty else {
                rest = rest.dropFirst()
                continue
            }
            rest = rest.dropFirst(word.count)
            guard rest.first == "=" else {
                flush()
                scheme = word.lowercased()
                parameters = [:]
                continue
            }
            rest = rest.dropFirst()
            var value = ""
            if rest.first == "\"" {
                rest = rest.dropFirst()
                while let character = rest.popFirst(), character != "\"" {
                    if character == "\\", let escaped = rest.popFirst() {
                        value.append(escaped)
                    } else {
                        value.append(character)
                    }
                }
            } else {
                value = String(rest.prefix { $0 != "," && $0 != " " })
                rest = rest.dropFirst(value.count)
            }
            parameters[word.lowercased()] = value
        }
        flush()
        return result
    }
}

/// The target of `rel="next"` in a `Link` header (RFC 8288): `</v2/a/tags/list?last=b>; rel="next"`.
func nextLink(_ headers: [String]) -> String? {
    for header in headers {
        var rest = header[...]
        while let open = rest.firstIndex(of: "<"), let close = rest[open...].firstIndex(of: ">") {
            let target = String(rest[rest.index(after: open)..<close])
            let end = rest[close...].firstIndex(of: "<") ?? rest.endIndex
            let parameters = rest[close..<end].lowercased().filter { $0 != " " && $0 != "\"" }
            if parameters.contains("rel=next") { return target }
            rest = rest[end...]
        }
    }
    return nil
}

/// The `Content-Range` of an upload's chunk: first and last byte, inclusive.
///
/// The distribution spec writes `0-1023`, without the unit of RFC 9110; `bytes 0-1023/*` is understood too.
public struct ContentRange: Hashable, Sendable {
    public let first: Int
    public let last: Int

    /// Bytes in the chunk, at least 1.
    public var count: Int { last - first + 1 }

    public init?(_ text: String) {
        var rest = text.utf8[...]
        if text.hasPrefix("bytes ") {
            rest = rest.dropFirst(6)
            if let slash = rest.firstIndex(of: UInt8(ascii: "/")) { rest = rest[..<slash] }
        }
        guard let dash = rest.firstIndex(of: UInt8(ascii: "-")), let first = parseOffset(rest[..<dash]),
            let last = parseOffset(rest[rest.index(after: dash)...]), first <= last
        else { return nil }
        self.first = first
        self.last = last
    }
}

/// What a `Range` request header asks of content with a known size (RFC 9110, section 14).
public enum RequestedRange: Hashable, Sendable {
    /// No range, or one that a server may ignore: another unit, several ranges, no numbers.
    case whole
    case part(Range<Int>)
    /// Begins past the end, or ends before it begins: status 416.
    case unsatisfiable

    public init(_ header: String?, size: Int) {
        guard let header, header.hasPrefix("bytes=") else {
            self = .whole
            return
        }
        let spec = header.utf8.dropFirst(6)
        guard !spec.contains(UInt8(ascii: ",")), let dash = spec.firstIndex(of: UInt8(ascii: "-")) else {
            self = .whole
            return
        }
        let head = spec[..<dash]
        let tail = spec[spec.index(after: dash)...]
        if head.isEmpty {
            guard let suffix = parseOffset(tail) else {
                self = .whole
                return
            }
            self = suffix == 0 || size == 0 ? .unsatisfiable : .part(max(0, size - suffix)..<size)
            return
        }
        guard let first = parseOffset(head), let last = tail.isEmpty ? Int.max - 1 : parseOffset(tail) else {
            self = .whole
            return
        }
        self = first >= size || last < first ? .unsatisfiable : .part(first..<min(size, last + 1))
    }
}

/// A decimal byte offset: 1 to 18 digits and nothing else, so that sums of a few never overflow.
public func parseOffset(_ digits: some Collection<UInt8>) -> Int? {
    guard (1...18).contains(digits.count) else { return nil }
    var value = 0
    for digit in digits {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
        value = value * 10 + Int(digit - UInt8(ascii: "0"))
    }
    return value
}

/// The `Range` header by which an upload tells how far it is. One without bytes says `0-0`, as registries have always
/// done: the header has no way to say "nothing".
public func uploadRange(offset: Int) -> String { "0-\(max(0, offset - 1))" }

import Crypto
import Foundation

/// A content address: `sha256:<64 hex>` or `sha512:<128 hex>`, always lower case.
public struct Digest: Hashable, Sendable, Codable, CustomStringConvertible, Comparable {
    /// The hash functions that OCI registers for digests.
    public enum Algorithm: String, Sendable, Hashable, CaseIterable {
        case sha256, sha512

        /// The number of hexadecimal digits of a digest.
        public var hexLength: Int { self == .sha256 ? 64 : 128 }
    }

    public let algorithm: Algorithm
    /// Lower-case hexadecimal, ``Algorithm/hexLength`` digits.
    public let hex: String

    /// Parses `<algorithm>:<hex>`; strict about algorithm, length and case.
    public init(_ text: String) throws(OCIArtifactError) {
        let shown = OCIArtifactError.quoted(text)
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) else {
            throw OCIArtifactError(.digestInvalid, "\(shown) is not a digest: expected sha256:<64 hex digits>")
        }
        guard let algorithm = Algorithm(rawValue: String(text[..<colon])) else {
            throw OCIArtifactError(.digestInvalid, "digest \(shown) names an algorithm other than sha256 and sha512")
        }
        let hex = text[text.index(after: colon)...]
        guard hex.utf8.count == algorithm.hexLength, hex.utf8.allSatisfy(Self.isLowerHex) else {
            throw OCIArtifactError(
                .digestInvalid,
                "digest \(shown) must have exactly \(algorithm.hexLength) lower-case hex digits after the colon")
        }
        self.algorithm = algorithm
        self.hex = String(hex)
    }

    init(algorithm: Algorithm, bytes: some Sequence<UInt8>) {
        let digits = Array("0123456789abcdef".utf8)
        var hex: [UInt8] = []
        hex.reserveCapacity(algorithm.hexLength)
        for byte in bytes {
            hex.append(digits[Int(byte >> 4)])
            hex.append(digits[Int(byte & 15)])
        }
        self.algorithm = algorithm
        self.hex = String(decoding: hex, as: UTF8.self)
    }

    /// The SHA-256 digest of `bytes`.
    public static func sha256(of bytes: some ContiguousBytes) -> Digest {
        of(bytes, algorithm: .sha256)
    }

    /// The digest of `bytes` by `algorithm`.
    public static func of(_ bytes: some ContiguousBytes, algorithm: Algorithm) -> Digest {
        var hasher = DigestHasher(algorithm: algorithm)
        bytes.withUnsafeBytes { hasher.update($0) }
        return hasher.finalize()
    }

    public var description: String { "\(algorithm.rawValue):\(hex)" }

    /// The first 12 hex digits: for people, never for lookup.
    public var short: String { String(hex.prefix(12)) }

    public static func < (a: Digest, b: Digest) -> Bool { a.description < b.description }

    public init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    static func isLowerHex(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }
}

/// Computes a ``Digest`` piece by piece, in constant memory.
public struct DigestHasher: Sendable {
    private enum State: Sendable {
        case sha256(SHA256)
        case sha512(SHA512)
    }

    private var state: State
    /// The number of bytes hashed so far.
    public private(set) var byteCount = 0

    public init(algorithm: Digest.Algorithm = .sha256) {
        state = algorithm == .sha256 ? .sha256(SHA256()) : .sha512(SHA512())
    }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        byteCount += bytes.count
        switch state {
        case .sha256(var hash):
            hash.update(bufferPointer: bytes)
            state = .sha256(hash)
        case .sha512(var hash):
            hash.update(bufferPointer: bytes)
            state = .sha512(hash)
        }
    }

    public mutating func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { update($0) }
    }

    /// The digest of everything so far; the hasher may go on.
    public func finalize() -> Digest {
        switch state {
        case .sha256(let hash): Digest(algorithm: .sha256, bytes: hash.finalize())
        case .sha512(let hash): Digest(algorithm: .sha512, bytes: hash.finalize())
        }
    }
}

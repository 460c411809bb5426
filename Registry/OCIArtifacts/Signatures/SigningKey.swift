import Crypto
import Foundation

/// A private key that signs: ECDSA P-256 in PEM, or ed25519 as OpenSSH keeps it.
///
/// P-256 signs DSSE envelopes, which cosign, model_signing and openssl verify; ed25519 signs SSHSIG, which `ssh-keygen -Y
/// verify` does. Other curves and RSA are refused: each more would be one more thing to get wrong.
public enum SigningKey: Sendable {
    case p256(P256.Signing.PrivateKey)
    case ed25519(Curve25519.Signing.PrivateKey)

    /// Reads a key file's text.
    ///
    /// - Throws: `.keyInvalid` for what is no such key, or one that a passphrase protects.
    public init(_ text: String) throws(OCIArtifactError) {
        if text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
            self = .ed25519(try OpenSSHKey.privateKey(text))
            return
        }
        if text.contains("ENCRYPTED") {
            throw OCIArtifactError(.keyInvalid, "the private key is protected by a passphrase; write one without first")
        }
        do { self = .p256(try P256.Signing.PrivateKey(pemRepresentation: text)) } catch {
            throw OCIArtifactError(
                .keyInvalid, "this is no private key that can sign: expected ECDSA P-256 in PEM, or ed25519 of OpenSSH")
        }
    }

    /// A new P-256 key.
    public static func generateP256() -> SigningKey { .p256(P256.Signing.PrivateKey()) }

    /// A new ed25519 key.
    public static func generateEd25519() -> SigningKey { .ed25519(Curve25519.Signing.PrivateKey()) }

    public var verificationKey: VerificationKey {
        switch self {
        case .p256(let key): .p256(key.publicKey)
        case .ed25519(let key): .ed25519(key.publicKey)
        }
    }

    /// The key file's text, without a passphrase: write it for its owner only.
    public func text(comment: String = "incipit") -> String {
        switch self {
        case .p256(let key): key.pemRepresentation.trimmingLines + "\n"
        case .ed25519(let key): OpenSSHKey.text(key, comment: comment)
        }
    }
}

/// The public half of a key.
public enum VerificationKey: Sendable {
    case p256(P256.Signing.PublicKey)
    case ed25519(Curve25519.Signing.PublicKey)

    /// Reads PEM (`BEGIN PUBLIC KEY`) or a line `ssh-ed25519 AAAA… comment`.
    public init(_ text: String) throws(OCIArtifactError) {
        let trimmed = text.trimmingLines
        if trimmed.hasPrefix("ssh-ed25519 ") {
            self = .ed25519(try OpenSSHKey.publicKey(trimmed))
            return
        }
        do { self = .p256(try P256.Signing.PublicKey(pemRepresentation: trimmed)) } catch {
            throw OCIArtifactError(
                .keyInvalid,
                "this is no public key that can verify: expected ECDSA P-256 in PEM, or a line “ssh-ed25519 AAAA…”")
        }
    }

    /// The file's text, as other tools read it.
    public var text: String {
        switch self {
        case .p256(let key): key.pemRepresentation.trimmingLines + "\n"
        case .ed25519(let key): OpenSSHKey.line(key) + "\n"
        }
    }

    /// SHA-256 of ``text`` in hexadecimal digits: what a Sigstore bundle hints at its key with.
    public var hint: String { Digest.sha256(of: Array(text.utf8)).hex }
}

/// The wire formats of OpenSSH for ed25519 (PROTOCOL.key, RFC 8709): length-prefixed strings.
enum OpenSSHKey {
    static let type = Array("ssh-ed25519".utf8)
    private static let magic = Array("openssh-key-v1\0".utf8)
    private static let begin = "-----BEGIN OPENSSH PRIVATE KEY-----"
    private static let end = "-----END OPENSSH PRIVATE KEY-----"

    static func blob(_ key: Curve25519.Signing.PublicKey) -> [UInt8] {
        SSHWire.string(type) + SSHWire.string(Array(key.rawRepresentation))
    }

    static func line(_ key: Curve25519.Signing.PublicKey) -> String {
        "ssh-ed25519 " + Data(blob(key)).base64EncodedString()
    }

    static func publicKey(_ line: String) throws(OCIArtifactError) -> Curve25519.Signing.PublicKey {
        let parts = line.split(separator: " ")
        guard parts.count >= 2, let data = Data(base64Encoded: String(parts[1])) else { throw invalid() }
        return try publicKey(blob: Array(data))
    }

    static func publicKey(blob: [UInt8]) throws(OCIArtifactError) -> Curve25519.Signing.PublicKey {
        var reader = SSHWire(blob)
        guard reader.next() == type, let raw = reader.next(), reader.isAtEnd,
            let key = try? Curve25519.Signing.PublicKey(rawRepresentation: raw)
        else { throw invalid() }
        return key
    }

    static func privateKey(_ text: String) throws(OCIArtifactError) -> Curve25519.Signing.PrivateKey {
        guard let body = body(text, begin, end), body.starts(with: magic) else { throw invalid() }
        var reader = SSHWire(Array(body.dropFirst(magic.count)))
        guard let cipher = reader.next(), let kdf = reader.next(), reader.next() != nil, reader.number() == 1,
            let publicBlob = reader.next(), let secret = reader.next()
        else { throw invalid() }
        guard cipher == Array("none".utf8), kdf == Array("none".utf8) else {
            throw OCIArtifactError(
                .keyInvalid, "the private key is protected by a passphrase; write one without first (ssh-keygen -p)")
        }
        var inner = SSHWire(secret)
        guard let first = inner.number(), inner.number() == first, inner.next() == type, inner.next() != nil,
            let pair = inner.next(), pair.count == 64,
            let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: pair[0..<32]),
            blob(key.publicKey) == publicBlob
        else { throw invalid() }
        return key
    }

    static func text(_ key: Curve25519.Signing.PrivateKey, comment: String) -> String {
        let check: [UInt8] = SymmetricKey(size: .init(bitCount: 32)).withUnsafeBytes { Array($0) }
        let raw = Array(key.publicKey.rawRepresentation)
        var secret = check + check + SSHWire.string(type) + SSHWire.string(raw)
        secret += SSHWire.string(Array(key.rawRepresentation) + raw) + SSHWire.string(Array(comment.utf8))
        var pad: UInt8 = 1
        while secret.count % 8 != 0 {
            secret.append(pad)
            pad += 1
        }
        let none = SSHWire.string(Array("none".utf8))
        let body = magic + none + none + SSHWire.string([]) + SSHWire.number(1) + SSHWire.string(blob(key.publicKey))
        return armored(body + SSHWire.string(secret), begin, end)
    }

    static func body(_ text: String, _ begin: String, _ end: String) -> [UInt8]? {
        let lines = text.split(whereSeparator: \.isNewline).map { $0.filter { $0 != " " && $0 != "\t" } }
        let marks = [begin, end].map { $0.filter { $0 != " " } }
        guard let first = lines.firstIndex(of: marks[0]), let last = lines.firstIndex(of: marks[1]), first < last else {
            return nil
        }
        return Data(base64Encoded: lines[(first + 1)..<last].joined()).map { Array($0) }
    }

    static func armored(_ bytes: [UInt8], _ begin: String, _ end: String) -> String {
        var rest = Data(bytes).base64EncodedString()[...]
        var lines = [begin]
        while !rest.isEmpty {
            lines.append(String(rest.prefix(70)))
            rest = rest.dropFirst(70)
        }
        return (lines + [end]).joined(separator: "\n") + "\n"
    }

    private static func invalid() -> OCIArtifactError {
        OCIArtifactError(.keyInvalid, "this is no ed25519 key of OpenSSH, or it is damaged")
    }
}

/// SSH's length-prefixed strings and 32-bit numbers.
struct SSHWire {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func number() -> Int? {
        guard rest.count >= 4 else { return nil }
        defer { rest = rest.dropFirst(4) }
        return rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
    }

    mutating func next() -> [UInt8]? {
        guard let count = number(), count <= rest.count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    mutating func take(_ expected: [UInt8]) -> Bool {
        guard rest.starts(with: expected) else { return false }
        rest = rest.dropFirst(expected.count)
        return true
    }

    static func number(_ value: Int) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    static func string(_ bytes: [UInt8]) -> [UInt8] { number(bytes.count) + bytes }
}

extension String {
    /// Without white space at both ends.
    var trimmingLines: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}

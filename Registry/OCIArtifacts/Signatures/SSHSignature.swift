import Crypto
import Foundation

/// A signature in OpenSSH's format (PROTOCOL.sshsig), by an ed25519 key over the SHA-512 of a message.
///
///     "SSHSIG"  version(1)  public key  namespace  reserved  "sha512"  signature
public enum SSHSignature {
    /// What our signatures are for: `ssh-keygen -Y verify -n incipit`.
    public static let namespace = "incipit"
    private static let magic = Array("SSHSIG".utf8)
    private static let begin = "-----BEGIN SSH SIGNATURE-----"
    private static let end = "-----END SSH SIGNATURE-----"

    /// Signs a message; the answer is the armored text that `ssh-keygen -Y verify -s` reads.
    public static func sign(
        _ message: [UInt8], key: Curve25519.Signing.PrivateKey, namespace: String = namespace
    ) throws -> String {
        let signature = try key.signature(for: signed(message, namespace))
        let blob =
            magic + SSHWire.number(1) + SSHWire.string(OpenSSHKey.blob(key.publicKey))
            + SSHWire.string(Array(namespace.utf8)) + SSHWire.string([]) + SSHWire.string(Array("sha512".utf8))
            + SSHWire.string(SSHWire.string(OpenSSHKey.type) + SSHWire.string(Array(signature)))
        return OpenSSHKey.armored(blob, begin, end)
    }

    /// Whether `text` is a signature of the message by exactly this key.
    public static func isValid(
        _ text: String, of message: [UInt8], key: Curve25519.Signing.PublicKey, namespace: String = namespace
    ) -> Bool {
        guard let blob = OpenSSHKey.body(text, begin, end) else { return false }
        var reader = SSHWire(blob)
        guard reader.take(magic), reader.number() == 1, reader.next() == OpenSSHKey.blob(key),
            reader.next() == Array(namespace.utf8), reader.next() != nil, reader.next() == Array("sha512".utf8),
            let last = reader.next(), reader.isAtEnd
        else { return false }
        var inner = SSHWire(last)
        guard inner.next() == OpenSSHKey.type, let signature = inner.next(), inner.isAtEnd else { return false }
        return key.isValidSignature(signature, for: signed(message, namespace))
    }

    private static func signed(_ message: [UInt8], _ namespace: String) -> [UInt8] {
        magic + SSHWire.string(Array(namespace.utf8)) + SSHWire.string([]) + SSHWire.string(Array("sha512".utf8))
            + SSHWire.string(Array(SHA512.hash(data: message)))
    }
}

import Crypto
import Foundation

/// A Sigstore bundle v0.3 with a DSSE envelope over an in-toto statement, signed by a P-256 key: what `cosign
/// verify --key` and `model_signing verify key` read. There is neither a certificate nor an entry in a transparency log.
///
/// What is signed is the envelope's pre-authentication encoding: `DSSEv1 <length> <type> <length> <payload>`.
public struct SigstoreBundle: Hashable, Sendable {
    public static let mediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
    public static let payloadType = "application/vnd.in-toto+json"
    /// Larger ones are no honest ones.
    public static let maximumSize = 8 << 20

    public let payload: [UInt8]
    /// DER.
    public let signature: [UInt8]
    /// ``VerificationKey/hint`` of the key; may be empty in bundles of others.
    public let keyHint: String

    /// Signs a statement.
    public init(signing statement: Statement, key: P256.Signing.PrivateKey) throws {
        payload = statement.bytes
        signature = Array(try key.signature(for: Data(Self.encoding(payload))).derRepresentation)
        keyHint = VerificationKey.p256(key.publicKey).hint
    }

    /// Reads a bundle. Nothing is verified yet.
    ///
    /// - Throws: `.signatureInvalid` for what is no bundle with exactly one signature over an in-toto payload.
    public init(_ bytes: [UInt8]) throws(OCIArtifactError) {
        guard bytes.count <= Self.maximumSize else { throw Self.invalid("it has more than 8 MiB") }
        let root = try JSONNode.parse(bytes)
        guard let type = root["mediaType"]?.string, type.hasPrefix("application/vnd.dev.sigstore.bundle") else {
            throw Self.invalid("its mediaType is not a Sigstore bundle's")
        }
        guard let envelope = root["dsseEnvelope"] else { throw Self.invalid("it has no DSSE envelope") }
        guard envelope["payloadType"]?.string == Self.payloadType else {
            throw Self.invalid("its payload is not an in-toto statement")
        }
        guard let text = envelope["payload"]?.string, let payload = Data(base64Encoded: text) else {
            throw Self.invalid("its payload is not base64")
        }
        guard let signatures = envelope["signatures"]?.array, signatures.count == 1,
            let encoded = signatures[0]["sig"]?.string, let signature = Data(base64Encoded: encoded)
        else { throw Self.invalid("it must have exactly one signature") }
        self.payload = Array(payload)
        self.signature = Array(signature)
        keyHint = root["verificationMaterial"]?["publicKey"]?["hint"]?.string ?? ""
    }

    /// The file's bytes.
    public var bytes: [UInt8] {
        JSONNode.object([
            "mediaType": .string(Self.mediaType),
            "verificationMaterial": .object([
                "publicKey": .object(["hint": .string(keyHint)]), "tlogEntries": .array([]),
            ]),
            "dsseEnvelope": .object([
                "payload": .string(Data(payload).base64EncodedString()), "payloadType": .string(Self.payloadType),
                "signatures": .array([
                    .object(["sig": .string(Data(signature).base64EncodedString()), "keyid": .string("")])
                ]),
            ]),
        ]).canonical
    }

    /// The signed statement, if `key` signed it.
    ///
    /// - Throws: `.signatureInvalid` when the signature is another key's or the payload was changed.
    public func verified(by key: P256.Signing.PublicKey) throws(OCIArtifactError) -> Statement {
        guard keyHint.isEmpty || keyHint == VerificationKey.p256(key).hint else {
            throw Self.invalid("it was signed by another key")
        }
        guard let parsed = try? P256.Signing.ECDSASignature(derRepresentation: signature),
            key.isValidSignature(parsed, for: Data(Self.encoding(payload)))
        else { throw Self.invalid("the signature does not fit the payload and this key") }
        return try Statement(payload)
    }

    /// DSSE's pre-authentication encoding.
    static func encoding(_ payload: [UInt8]) -> [UInt8] {
        Array("DSSEv1 \(payloadType.utf8.count) \(payloadType) \(payload.count) ".utf8) + payload
    }

    private static func invalid(_ why: String) -> OCIArtifactError {
        OCIArtifactError(.signatureInvalid, "the signature is not valid: \(why)")
    }
}

/// An in-toto statement v1: something (the predicate) is said of some artifacts (the subjects).
public struct Statement: Hashable, Sendable {
    public static let type = "https://in-toto.io/Statement/v1"

    public struct Subject: Hashable, Sendable {
        public let name: String
        public let digest: Digest

        public init(name: String, digest: Digest) {
            self.name = name
            self.digest = digest
        }
    }

    public let subjects: [Subject]
    public let predicateType: String
    public let predicate: JSONNode

    public init(subjects: [Subject], predicateType: String, predicate: JSONNode) {
        self.subjects = subjects
        self.predicateType = predicateType
        self.predicate = predicate
    }

    public init(_ bytes: [UInt8]) throws(OCIArtifactError) {
        let root = try JSONNode.parse(bytes)
        guard root["_type"]?.string == Self.type, let predicateType = root["predicateType"]?.string,
            let items = root["subject"]?.array
        else { throw OCIArtifactError(.signatureInvalid, "what was signed is no in-toto statement v1") }
        var subjects: [Subject] = []
        for item in items {
            guard
                let (algorithm, hex) = item["digest"]?.object?.first(where: { $0.key == "sha256" })
                    ?? item["digest"]?.object?.first, let value = hex.string
            else { throw OCIArtifactError(.signatureInvalid, "a subject of the signed statement has no digest") }
            subjects.append(Subject(name: item["name"]?.string ?? "", digest: try Digest("\(algorithm):\(value)")))
        }
        self.subjects = subjects
        self.predicateType = predicateType
        predicate = root["predicate"] ?? .object([:])
    }

    /// The canonical bytes.
    public var bytes: [UInt8] {
        JSONNode.object([
            "_type": .string(Self.type),
            "subject": .array(
                subjects.map {
                    .object([
                        "name": .string($0.name),
                        "digest": .object([$0.digest.algorithm.rawValue: .string($0.digest.hex)]),
                    ])
                }),
            "predicateType": .string(predicateType), "predicate": predicate,
        ]).canonical
    }
}

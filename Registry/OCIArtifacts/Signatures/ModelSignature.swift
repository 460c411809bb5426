import Foundation

/// The statement of OpenSSF Model Signing v1.0 over the files of a folder: what `model_signing verify key` checks.
///
/// The subject's digest is the SHA-256 of all files' digests (raw, in the order of their names); the predicate lists
/// them, so that a changed, missing or additional file can be named.
public enum ModelSignature {
    public static let predicateType = "https://model_signing/signature/v1.0"
    /// The name that such a signature has beside the files it covers.
    public static let fileName = "model.sig"

    /// - Parameters:
    ///   - name: the model's name; for people.
    ///   - files: names relative to the folder, and the digests (SHA-256) of their contents.
    public static func statement(name: String, files: [String: Digest]) -> Statement {
        let sorted = sorted(files)
        let resources = sorted.map { file in
            JSONNode.object([
                "name": .string(file.name), "algorithm": .string("sha256"), "digest": .string(file.digest.hex),
            ])
        }
        let predicate = JSONNode.object([
            "serialization": .object([
                "method": .string("files"), "hash_type": .string("sha256"), "allow_symlinks": .bool(false),
                "ignore_paths": .array([]),
            ]), "resources": .array(resources),
        ])
        return Statement(
            subjects: [.init(name: name, digest: root(sorted))], predicateType: predicateType, predicate: predicate)
    }

    /// Compares a signed statement with the files that are there.
    ///
    /// - Throws: `.signatureInvalid` naming the first file that was changed, is missing, or was added.
    public static func check(_ statement: Statement, files: [String: Digest]) throws(OCIArtifactError) {
        guard statement.predicateType == predicateType, statement.subjects.count == 1 else {
            throw invalid("it is not about a model's files")
        }
        var signed: [String: Digest] = [:]
        for resource in statement.predicate["resources"]?.array ?? [] {
            guard let name = resource["name"]?.string, resource["algorithm"]?.string == "sha256",
                let hex = resource["digest"]?.string
            else { throw invalid("it lists files by another algorithm than sha256") }
            guard signed.updateValue(try Digest("sha256:\(hex)"), forKey: name) == nil else {
                throw invalid("it lists \(OCIArtifactError.quoted(name)) twice")
            }
        }
        guard root(sorted(signed)) == statement.subjects[0].digest else {
            throw invalid("its list of files does not have the digest it states")
        }
        for (name, digest) in sorted(signed) {
            guard let found = files[name] else { throw invalid("the file \(OCIArtifactError.quoted(name)) is missing") }
            guard found == digest else { throw invalid("the file \(OCIArtifactError.quoted(name)) was changed") }
        }
        if let extra = files.keys.filter({ signed[$0] == nil }).min() {
            throw invalid("the file \(OCIArtifactError.quoted(extra)) is not covered by it")
        }
    }

    private static func sorted(_ files: [String: Digest]) -> [(name: String, digest: Digest)] {
        files.map { (name: $0.key, digest: $0.value) }
            .sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    private static func root(_ sorted: [(name: String, digest: Digest)]) -> Digest {
        var bytes: [UInt8] = []
        for file in sorted {
            var rest = file.digest.hex[...]
            while let pair = rest.isEmpty ? nil : rest.prefix(2), let byte = UInt8(pair, radix: 16) {
                bytes.append(byte)
                rest = rest.dropFirst(2)
            }
        }
        return .sha256(of: bytes)
    }

    private static func invalid(_ why: String) -> OCIArtifactError {
        OCIArtifactError(.signatureInvalid, "the signature does not hold: \(why)")
    }
}

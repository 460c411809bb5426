import Crypto
import Foundation
import Testing

@testable import OCIArtifacts

@Suite struct SignatureTests {
    private static let statement = Statement(
        subjects: [.init(name: "team/a", digest: .sha256(of: [1, 2, 3]))], predicateType: "https://example.com/p",
        predicate: .object(["k": .string("v")]))

    @Test func aBundleHoldsForItsKeyAndContentAlone() throws {
        let key = P256.Signing.PrivateKey()
        let bundle = try SigstoreBundle(signing: Self.statement, key: key)
        let read = try SigstoreBundle(bundle.bytes)
        #expect(try read.verified(by: key.publicKey) == Self.statement)
        #expect(throws: OCIArtifactError.self) { try read.verified(by: P256.Signing.PrivateKey().publicKey) }
        let text = String(decoding: bundle.bytes, as: UTF8.self)
        // Another payload under the same signature; the hint of another key; no signature, and two.
        let other = Statement(subjects: [], predicateType: "x", predicate: .null)
        let payload = Data(Self.statement.bytes).base64EncodedString()
        let forged = text.replacing(payload, with: Data(other.bytes).base64EncodedString())
        #expect(throws: OCIArtifactError.self) { try SigstoreBundle(Array(forged.utf8)).verified(by: key.publicKey) }
        let hint = text.replacing(bundle.keyHint, with: String(repeating: "0", count: 64))
        #expect(throws: OCIArtifactError.self) { try SigstoreBundle(Array(hint.utf8)).verified(by: key.publicKey) }
        for bad in [
            "", "{}", text.replacing("in-toto", with: "other"),
            text.replacing("\"signatures\":[", with: "\"signatures\":[{},"),
            text.replacing("sigstore.bundle", with: "x"),
        ] {
            #expect(throws: OCIArtifactError.self) { try SigstoreBundle(Array(bad.utf8)) }
        }
    }

    @Test func theEncodingIsDSSEs() {
        let payload = Array("hello world".utf8)
        #expect(
            String(decoding: SigstoreBundle.encoding(payload), as: UTF8.self)
                == "DSSEv1 28 application/vnd.in-toto+json 11 hello world")
    }

    @Test func keysComeBackFromTheirFiles() throws {
        for key in [SigningKey.generateP256(), .generateEd25519()] {
            let read = try SigningKey(key.text())
            #expect(read.verificationKey.text == key.verificationKey.text)
            #expect(try VerificationKey(key.verificationKey.text).hint == key.verificationKey.hint)
            // A damaged one is refused, not misread.
            for position in stride(from: 60, to: key.text().count - 60, by: 37) {
                var characters = Array(key.text())
                characters[position] = characters[position] == "A" ? "B" : "A"
                if let other = try? SigningKey(String(characters)) {
                    #expect(other.verificationKey.text.isEmpty == false)
                }
            }
        }
        for bad in [
            "", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        ] {
            #expect(throws: OCIArtifactError.self) { try SigningKey(bad) }
        }
        for bad in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAAB3NzaC1yc2E="] {
            #expect(throws: OCIArtifactError.self) { try VerificationKey(bad) }
        }
    }

    @Test func aFilesStatementNamesWhatChanged() throws {
        let files: [String: OCIArtifacts.Digest] = ["b.txt": .sha256(of: [1]), "a.bin": .sha256(of: [2])]
        let statement = ModelSignature.statement(name: "model", files: files)
        try ModelSignature.check(statement, files: files)
        func message(_ files: [String: OCIArtifacts.Digest]) -> String {
            do { try ModelSignature.check(statement, files: files) } catch { return "\(error)" }
            return ""
        }
        #expect(message(["b.txt": .sha256(of: [1]), "a.bin": .sha256(of: [3])]).contains("\"a.bin\" was changed"))
        #expect(message(["b.txt": .sha256(of: [1])]).contains("\"a.bin\" is missing"))
        #expect(message(files.merging(["c": .sha256(of: [4])]) { $1 }).contains("\"c\" is not covered"))
    }

    // MARK: - Beside the tools that others verify with

    private static func run(_ tool: String, _ arguments: [String], input: String? = nil) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: tool)
        process.arguments = arguments
        process.standardInput = input.flatMap { FileHandle(forReadingAtPath: $0) } ?? FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }

    private static func withFolder(_ body: (String) throws -> Void) throws {
        let folder = NSTemporaryDirectory() + "signatures-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/openssl")))
    func opensslVerifiesABundle() throws {
        try Self.withFolder { folder in
            let key = SigningKey.generateP256()
            guard case .p256(let secret) = key else { return }
            let bundle = try SigstoreBundle(signing: Self.statement, key: secret)
            try Data(key.verificationKey.text.utf8).write(to: URL(fileURLWithPath: folder + "/key.pub"))
            try Data(bundle.signature).write(to: URL(fileURLWithPath: folder + "/sig.der"))
            try Data(SigstoreBundle.encoding(bundle.payload)).write(to: URL(fileURLWithPath: folder + "/pae"))
            let arguments = ["dgst", "-sha256", "-verify", folder + "/key.pub", "-signature", folder + "/sig.der"]
            #expect(try Self.run("/usr/bin/openssl", arguments + [folder + "/pae"]) == 0)
            try Data("tampered".utf8).write(to: URL(fileURLWithPath: folder + "/pae"))
            #expect(try Self.run("/usr/bin/openssl", arguments + [folder + "/pae"]) != 0)
            // And keys that openssl makes sign here.
            for form in [
                ["ecparam", "-name", "prime256v1", "-genkey", "-noout"],
                ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            ] {
                #expect(try Self.run("/usr/bin/openssl", form + ["-out", folder + "/made.key"]) == 0)
                let text = try String(contentsOfFile: folder + "/made.key", encoding: .utf8)
                #expect(throws: Never.self) { try SigningKey(text) }
            }
        }
    }

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/ssh-keygen")))
    func sshKeygenVerifiesOursAndWeVerifyItsOwn() throws {
        try Self.withFolder { folder in
            let message = Array("the manifest's bytes".utf8)
            let file = folder + "/message"
            try Data(message).write(to: URL(fileURLWithPath: file))
            let key = SigningKey.generateEd25519()
            guard case .ed25519(let secret) = key else { return }
            let signature = try SSHSignature.sign(message, key: secret)
            try Data(signature.utf8).write(to: URL(fileURLWithPath: folder + "/sig"))
            try Data(("me " + key.verificationKey.text).utf8).write(to: URL(fileURLWithPath: folder + "/allowed"))
            let verify = [
                "-Y", "verify", "-f", folder + "/allowed", "-I", "me", "-n", "incipit", "-s", folder + "/sig",
            ]
            #expect(try Self.run("/usr/bin/ssh-keygen", verify, input: file) == 0)
            try Data(message + [0]).write(to: URL(fileURLWithPath: folder + "/other"))
            #expect(try Self.run("/usr/bin/ssh-keygen", verify, input: folder + "/other") != 0)
            #expect(SSHSignature.isValid(signature, of: message, key: secret.publicKey))
            #expect(!SSHSignature.isValid(signature, of: message + [0], key: secret.publicKey))
            #expect(!SSHSignature.isValid(signature, of: message, key: secret.publicKey, namespace: "file"))
            #expect(!SSHSignature.isValid(signature, of: message, key: Curve25519.Signing.PrivateKey().publicKey))
            // Its key, its signature; and our key file in its hands.
            let made = folder + "/made"
            #expect(try Self.run("/usr/bin/ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", made]) == 0)
            #expect(try Self.run("/usr/bin/ssh-keygen", ["-q", "-Y", "sign", "-f", made, "-n", "incipit", file]) == 0)
            let theirs = try VerificationKey(String(contentsOfFile: made + ".pub", encoding: .utf8))
            guard case .ed25519(let theirKey) = theirs else { return }
            #expect(
                SSHSignature.isValid(
                    try String(contentsOfFile: file + ".sig", encoding: .utf8), of: message, key: theirKey))
            #expect(try SigningKey(String(contentsOfFile: made, encoding: .utf8)).verificationKey.text == theirs.text)
            #expect(
                FileManager.default.createFile(
                    atPath: folder + "/ours", contents: Data(key.text().utf8), attributes: [.posixPermissions: 0o600]))
            unlink(file + ".sig")
            #expect(
                try Self.run(
                    "/usr/bin/ssh-keygen", ["-q", "-Y", "sign", "-f", folder + "/ours", "-n", "incipit", file]) == 0)
        }
    }
}

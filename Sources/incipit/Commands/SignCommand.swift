import ArgumentParser
import Foundation
import OCIArtifacts
import PromptRegistry
import SoftPrompts

struct KeygenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen", abstract: "Make a key pair to sign prompts with.",
        discussion: """
            ECDSA P-256 in PEM, as cosign, model_signing and openssl read it; with --ssh an ed25519 key of OpenSSH. The \
            private key has no passphrase and is readable by you alone: keep it where only the signer can reach it.

              incipit keygen team          writes team.key and team.pub
            """)

    @Argument(help: "Where to write: NAME.key and NAME.pub. Files that exist are not replaced.") var name: String
    @Flag(help: "An ed25519 key of OpenSSH instead.") var ssh = false

    func run() async throws {
        let key = ssh ? SigningKey.generateEd25519() : .generateP256()
        for path in [name + ".key", name + ".pub"] where FileManager.default.fileExists(atPath: path) {
            throw CommandFailure(.usage, "\(path) exists, and a key is never overwritten; choose another name")
        }
        try Self.create(name + ".key", key.text(), mode: 0o600)
        try Self.create(name + ".pub", key.verificationKey.text, mode: 0o644)
        Output.line("wrote \(name).key (private) and \(name).pub")
    }

    private static func create(_ path: String, _ text: String, mode: mode_t) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else {
            throw CommandFailure(.unavailable, "cannot write \(path): \(String(cString: strerror(errno)))")
        }
        try FileHandle(fileDescriptor: descriptor, closeOnDealloc: true).write(contentsOf: Data(text.utf8))
    }
}

/// Keys in files.
enum KeyFiles {
    static func signingKey(_ path: String) throws -> SigningKey {
        do { return try SigningKey(try text(path)) } catch let error as OCIArtifactError {
            throw CommandFailure(.data, "\(path): \(error)")
        }
    }

    static func verificationKey(_ path: String) throws -> VerificationKey {
        do { return try VerificationKey(try text(path)) } catch let error as OCIArtifactError {
            throw CommandFailure(.data, "\(path): \(error)")
        }
    }

    private static func text(_ path: String) throws -> String {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw CommandFailure(.notFound, "there is no key file \(path)")
        }
        guard data.count <= 1 << 16 else {
            throw CommandFailure(.data, "\(path) is no key: it has \(data.count) bytes")
        }
        return String(decoding: data, as: UTF8.self)
    }

    /// The digests of all plain files below a folder, by relative name; `signature` is left out.
    static func digests(in folder: String, without signature: String?) throws -> [String: Digest] {
        guard let names = FileManager.default.enumerator(atPath: folder) else {
            throw CommandFailure(.notFound, "there is no folder \(folder)")
        }
        let own = signature.map { URL(fileURLWithPath: $0).standardizedFileURL.path }
        var result: [String: Digest] = [:]
        for case let name as String in names {
            let path = folder + "/" + name
            if URL(fileURLWithPath: path).standardizedFileURL.path == own { continue }
            var info = stat()
            guard lstat(path, &info) == 0 else { continue }
            switch info.st_mode & S_IFMT {
            case S_IFDIR: continue
            case S_IFREG: break
            default: throw CommandFailure(.data, "\(path) is a link or device; only plain files can be signed")
            }
            guard let handle = FileHandle(forReadingAtPath: path) else {
                throw CommandFailure(.unavailable, "cannot read \(path)")
            }
            var hasher = DigestHasher()
            while let chunk = try handle.read(upToCount: 1 << 20), !chunk.isEmpty { hasher.update(Array(chunk)) }
            result[name] = hasher.finalize()
        }
        return result
    }
}

struct SignCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sign", abstract: "Sign a stored prompt, or the files of a folder.",
        discussion: """
            A stored prompt gets three signatures beside it, which `push --referrers` takes along: cosign's over the manifest, \
            OpenSSF model signing's over the files, and SLSA provenance (base, data, settings). An ed25519 key of OpenSSH \
            makes an SSHSIG over the manifest instead. A folder gets one file, model.sig, that `model_signing verify key` \
            reads as well.

              incipit sign team/task:v3 --key team.key
              incipit sign exported-folder --key team.key
            """)

    @Argument(help: "NAME:TAG, NAME@DIGEST, or a folder.") var target: String
    @Option(help: "The private key: P-256 in PEM, or ed25519 of OpenSSH.", completion: .file()) var key: String
    @Option(help: "Where to write a folder's signature (default: FOLDER/model.sig).", completion: .file())
    var output: String?

    func run() async throws {
        let signer = try KeyFiles.signingKey(key)
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: target, isDirectory: &isFolder), isFolder.boolValue {
            guard case .p256(let privateKey) = signer else {
                throw CommandFailure(.usage, "folders are signed with a P-256 key; incipit keygen makes one")
            }
            let place = output ?? target + "/" + ModelSignature.fileName
            let files = try KeyFiles.digests(in: target, without: place)
            guard !files.isEmpty else { throw CommandFailure(.data, "there are no files in \(target) to sign") }
            let name = URL(fileURLWithPath: target).standardizedFileURL.lastPathComponent
            let bundle = try SigstoreBundle(
                signing: ModelSignature.statement(name: name, files: files), key: privateKey)
            do { try Data(bundle.bytes).write(to: URL(fileURLWithPath: place), options: .atomic) } catch {
                throw CommandFailure(.unavailable, "cannot write \(place): \(error.localizedDescription)")
            }
            return Output.line("signed \(files.count) files: \(place)")
        }
        let reference = try PromptStore.localReference(target)
        let registry = try PromptStore().registry
        let made = try await registry.sign(
            reference.reference ?? .tag(.latest), of: reference.repository, key: signer,
            tool: "incipit-\(IncipitCommand.configuration.version)")
        for digest in made { Output.line("\(reference.repository)@\(digest)") }
    }
}

struct PromptVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Check the signatures of a stored prompt, or of a folder.",
        discussion: """
            With --key: somebody who has that key signed exactly this. Without: what the trust policy asks for. For a folder \
            the signature is read from model.sig in it (or --signature), and a changed, missing or additional file is named.

              incipit prompt verify team/task:v3 --key team.pub
            """)

    @Argument(help: "NAME:TAG, NAME@DIGEST, or a folder.") var target: String
    @Option(help: "The public key: PEM, or a line ssh-ed25519.", completion: .file()) var key: String?
    @Option(help: "The signature of a folder.", completion: .file()) var signature: String?

    func run() async throws {
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: target, isDirectory: &isFolder), isFolder.boolValue {
            return try verifyFolder()
        }
        let reference = try PromptStore.localReference(target)
        let registry = try PromptStore().registry
        // The chain from tag to bytes, too.
        let loaded = try await registry.load(reference.reference ?? .tag(.latest), of: reference.repository)
        guard let key else {
            let policy = try TrustPolicy(path: Home().trustPolicy)
            guard policy.covers(reference.repository) else {
                throw CommandFailure(.usage, "no rule of the trust policy covers \(reference.repository); give --key")
            }
            try await PromptStore.checkTrust(loaded.record.digest, of: reference.repository, in: registry.backend)
            return Output.line("\(target) is signed as the trust policy asks")
        }
        let found = try await registry.validSignatures(
            .digest(loaded.record.digest), of: reference.repository, keys: [try KeyFiles.verificationKey(key)])
        guard !found.isEmpty else { throw CommandFailure(.data, "\(target) has no signature by \(key) that holds") }
        for item in found {
            Output.line("good: \(item.predicateType ?? "SSHSIG over the manifest")  \(item.referrer.short)")
        }
    }

    private func verifyFolder() throws {
        guard let key, case .p256(let publicKey) = try KeyFiles.verificationKey(key) else {
            throw CommandFailure(.usage, "a folder is verified with a P-256 public key: --key KEY.pub")
        }
        let place = signature ?? target + "/" + ModelSignature.fileName
        guard let data = FileManager.default.contents(atPath: place) else {
            throw CommandFailure(.notFound, "there is no signature at \(place)")
        }
        let statement = try SigstoreBundle(Array(data)).verified(by: publicKey)
        let files = try KeyFiles.digests(in: target, without: place)
        try ModelSignature.check(statement, files: files)
        Output.line("good: \(files.count) files are as they were signed")
    }
}

struct PromptTrustCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trust",
        abstract: "Require signatures: which prompts, by which keys. Without a pattern, list the rules.",
        discussion: """
            What a rule covers is pulled and attached only with a signature over its manifest by one of the rule's keys.

              incipit prompt trust 'team/**' --key team.pub
            """)

    @Argument(help: "Pattern of prompts.") var repositories: String?
    @Option(help: "A public key; may come several times.", completion: .file()) var key: [String] = []
    @Flag(help: "Take the rule of this pattern away.") var remove = false

    func run() async throws {
        let path = Home().trustPolicy
        var policy = try TrustPolicy(path: path)
        guard let repositories else {
            if policy.rules.isEmpty { return Output.line("no rules: nothing needs a signature") }
            return Output.line(
                Output.table(
                    ["prompts", "keys (SHA-256)"],
                    policy.rules.map { rule in
                        [
                            rule.repositories.description,
                            rule.keys.map { String($0.hint.prefix(16)) }.joined(separator: " "),
                        ]
                    }))
        }
        let pattern: RepositoryGlob
        do { pattern = try RepositoryGlob(repositories) } catch { throw CommandFailure(.usage, "\(error)") }
        guard key.isEmpty == remove else { throw CommandFailure(.usage, "give --key, or --remove") }
        policy.rules.removeAll { $0.repositories == pattern }
        if !remove { policy.rules.append(.init(pattern, keys: try key.map(KeyFiles.verificationKey))) }
        try Home.makeFolder(Home().data)
        do { try Data(policy.bytes).write(to: URL(fileURLWithPath: path), options: .atomic) } catch {
            throw CommandFailure(.unavailable, "cannot write \(path): \(error.localizedDescription)")
        }
        Output.line(
            remove
                ? "\(pattern) needs no signature of its own"
                : "\(pattern) must be signed by \(key.count == 1 ? "this key" : "one of these keys")")
    }
}

import Foundation
import HTTPTypes
import Hummingbird
import OCIArtifacts
import OCIServer
import PromptRegistry
import Testing

@testable import OCIClient

@Suite struct LoginTests {
    @Test func credentialsAreKeptAndForgottenWithoutHarmToOthers() async throws {
        try await withFolder { folder in
            let path = folder + "/deep/auth.json"
            let host = try RegistryHost("registry.example.com:5000")
            let store = CredentialStore(path: path)
            try store.save(user: "alice", password: "s3:cret", for: host)
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            #expect(mode == 0o600)
            let other = """
                {"auths":{"other.example.com":{"auth":"eDp5"},"registry.example.com:5000":{"auth":"b2xkOm9sZA=="}},"extra":[1,2]}
                """
            try Data(other.utf8).write(to: URL(fileURLWithPath: path))
            try store.save(user: "alice", password: "s3:cret", for: host)
            let files = try CredentialFiles(paths: [path])
            #expect(files.credentials(for: host, repository: nil) == .password(user: "alice", password: "s3:cret"))
            #expect(try store.forget(host))
            #expect(try !store.forget(host))
            let text = try String(contentsOfFile: path, encoding: .utf8)
            #expect(text.contains("\"extra\":[1,2]") && text.contains("other.example.com"))
            #expect(!text.contains("registry.example.com"))
            try Data("{".utf8).write(to: URL(fileURLWithPath: path))
            #expect(throws: RegistryError.self) { try store.save(user: "a", password: "b", for: host) }
            #expect(throws: RegistryError.self) { try store.save(user: "a:b", password: "b", for: host) }
        }
    }

    @Test func helpersAreAskedToldAndBounded() async throws {
        try await withFolder { folder in
            let script = """
                #!/bin/sh
                read server
                case "$1" in
                get) if [ "$server" = "helped.example.com" ]; then printf '{"ServerURL":"%s","Username":"bob","Secret":"pw"}' "$server"
                     elif [ "$server" = "token.example.com" ]; then printf '{"ServerURL":"x","Username":"<token>","Secret":"refresh"}'
                     elif [ "$server" = "broken.example.com" ]; then echo nonsense
                     else echo "credentials not found in native keychain"; exit 1; fi;;
                store) printf '%s' "$server" > "$(dirname "$0")/stored";;
                esac
                """
            let tool = folder + "/docker-credential-incipittest"
            _ = FileManager.default.createFile(
                atPath: tool, contents: Data(script.utf8), attributes: [.posixPermissions: 0o755])
            let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
            setenv("PATH", folder + ":" + path, 1)
            let file = folder + "/config.json"
            try Data("{\"credsStore\":\"incipittest\",\"credHelpers\":{\"odd.example.com\":\"../evil\"}}".utf8)
                .write(to: URL(fileURLWithPath: file))
            let files = try CredentialFiles(paths: [file])
            func ask(_ host: String) throws -> Credentials? {
                try files.credentialsOrHelper(for: RegistryHost(host), repository: nil)
            }
            #expect(try ask("helped.example.com") == .password(user: "bob", password: "pw"))
            #expect(try ask("token.example.com") == .identityToken("refresh"))
            #expect(try ask("unknown.example.com") == nil)
            #expect(throws: RegistryError.self) { try ask("broken.example.com") }
            #expect(throws: RegistryError.self) { try ask("odd.example.com") }
            // A login goes into the helper, not into the file.
            try CredentialStore(path: file).save(user: "eve", password: "pw", for: RegistryHost("new.example.com"))
            let stored = try String(contentsOfFile: folder + "/stored", encoding: .utf8)
            #expect(stored == "{\"Secret\":\"pw\",\"ServerURL\":\"new.example.com\",\"Username\":\"eve\"}")
            #expect(try !String(contentsOfFile: file, encoding: .utf8).contains("eve"))
        }
    }

    @Test func proxiesComeFromTheEnvironment() throws {
        let environment = ["HTTPS_PROXY": "http://proxy.example.com:3128", "NO_PROXY": "internal.example.com,.corp"]
        let far = try HTTPSetup(host: RegistryHost("registry.example.com"), environment: environment)
        #expect(far.proxyHost == "proxy.example.com" && far.proxyPort == 3128)
        for near in ["internal.example.com", "a.internal.example.com:5000", "x.corp", "127.0.0.1:5000", "localhost"] {
            #expect(try HTTPSetup(host: RegistryHost(near), environment: environment).proxyHost == nil, "\(near)")
        }
        // Upper-case HTTP_PROXY can come from a request.
        let plain = try RegistryHost("registry.example.com", plainHTTP: true)
        #expect(try HTTPSetup(host: plain, environment: ["HTTP_PROXY": "http://evil:1"]).proxyHost == nil)
        #expect(try HTTPSetup(host: plain, environment: ["http_proxy": "proxy:8080"]).proxyPort == 8080)
        #expect(throws: RegistryError.self) {
            try HTTPSetup(host: RegistryHost("a.example.com"), environment: ["HTTPS_PROXY": "socks5://x:1"])
        }
    }

    @Test func aBadCertificateFileIsToldByTheFirstRequest() async throws {
        var options = RemoteStore.Options()
        options.authorities = "/nonexistent.pem"
        let store = RemoteStore(host: try RegistryHost("127.0.0.1:1"), options: options)
        await #expect { try await store.ping() } throws: { "\($0)".contains("/nonexistent.pem") }
    }

    /// The whole path: accounts, a token for two scopes at once (a mount), and refusals.
    @Test(arguments: AccessControl.Challenge.allCases)
    func ourClientLogsInToOurServer(_ challenge: AccessControl.Challenge) async throws {
        var list = AccessList()
        let secret = try list.addToken(for: "ci")
        list.principals[0].rules = [.init(try RepositoryGlob("team/*"), [.pull, .push])]
        var options = OCIRoutes.Options()
        options.access = AccessControl(list, challenge: challenge)
        let name = try RepositoryName("team/a")
        let other = try RepositoryName("team/b")
        try await withServer({ [options] onListening in
            try await RegistryServer.run(
                store: MemoryStore(), options: options, logger: quiet, onListening: onListening)
        }) { port in
            let good = try remote(port) { $0.credentials = { _ in .password(user: "ci", password: secret) } }
            try await good.ping()
            let manifest = try await push("content", to: good, name)
            _ = try await put(manifest, to: good, name, [.latest])
            #expect(try await good.manifest(.tag(.latest), in: name)?.bytes == manifest.serialized)
            #expect(try await good.mountBlob(manifest.layers[0].digest, from: name, to: other))
            await #expect { try await good.writeBlob([1], in: RepositoryName("elsewhere/a")) } throws: {
                ($0 as? RegistryError)?.code == .denied
            }
            await #expect(throws: RegistryError.self) {
                try await good.deleteManifest(.tag(.latest), in: name)
            }
            let wrong = try remote(port) { $0.credentials = { _ in .password(user: "ci", password: "wrong") } }
            await #expect { try await wrong.ping() } throws: { ($0 as? RegistryError)?.code == .unauthorized }
        }
    }

    @Test(.enabled(if: hasOpenSSL))
    func tlsWorksForThoseWhoTrustTheCertificate() async throws {
        try await withFolder { folder in
            try makeCertificate(folder + "/cert.pem", key: folder + "/key.pem")
            try await withTLSServer(folder) { port in
                func store(_ authorities: String?) throws -> RemoteStore {
                    var options = RemoteStore.Options()
                    options.authorities = authorities
                    options.maximumAttempts = 1
                    return RemoteStore(
                        host: try RegistryHost("localhost:\(port)", plainHTTP: false), options: options)
                }
                let trusting = try store(folder + "/cert.pem")
                try await trusting.ping()
                try await trusting.writeBlob([1, 2, 3], in: RepositoryName("a"))
                await #expect(throws: RegistryError.self) { try await store(nil).ping() }
            }
            let wrong = RegistryServer.TLSFiles(
                certificateChain: folder + "/key.pem", privateKey: folder + "/key.pem")
            await #expect { try await RegistryServer.run(store: MemoryStore(), tls: wrong, logger: quiet) } throws: {
                "\($0)".contains("key.pem")
            }
        }
    }

    /// A renewal as tools do it: the files are replaced one after the other.
    @Test(.enabled(if: hasOpenSSL)) func aNewCertificateIsServedWhileOldConnectionsGoOn() async throws {
        try await withFolder { folder in
            for name in ["old", "new"] {
                try makeCertificate("\(folder)/\(name).pem", key: "\(folder)/\(name).key")
            }
            @Sendable func install(_ source: String, as name: String) throws {
                let place = URL(fileURLWithPath: "\(folder)/\(name)")
                try? FileManager.default.removeItem(at: place)
                try FileManager.default.copyItem(at: URL(fileURLWithPath: "\(folder)/\(source)"), to: place)
            }
            try install("old.pem", as: "cert.pem")
            try install("old.key", as: "key.pem")
            try await withTLSServer(folder) { port in
                // Each store has connections of its own, and trusts one of the two certificates.
                func store(_ name: String) throws -> RemoteStore {
                    var options = RemoteStore.Options()
                    // Stores with the same options share connections; a file of another name makes a new one.
                    let file = UUID().uuidString
                    try install("\(name).pem", as: file)
                    options.authorities = "\(folder)/\(file)"
                    options.maximumAttempts = 1
                    return RemoteStore(
                        host: try RegistryHost("localhost:\(port)", plainHTTP: false), options: options)
                }
                /// Pings over new connections until one is accepted: the files are looked at once a second.
                func isServed(_ name: String) async throws -> Bool {
                    for _ in 0..<100 {
                        if (try? await store(name).ping()) != nil { return true }
                        try await Task.sleep(for: .milliseconds(100))
                    }
                    return false
                }
                let opened = try store("old")
                try await opened.ping()
                await #expect(throws: RegistryError.self) { try await store("new").ping() }
                // Half of a renewal: the old pair stays.
                try install("new.pem", as: "cert.pem")
                try await Task.sleep(for: .milliseconds(1200))
                try await store("old").ping()
                await #expect(throws: RegistryError.self) { try await store("new").ping() }
                try install("new.key", as: "key.pem")
                #expect(try await isServed("new"))
                await #expect(throws: RegistryError.self) { try await store("old").ping() }
                // What was connected before still is.
                try await opened.ping()
                // A broken file changes nothing; SIGHUP reads without a handshake's look, and does not end the server.
                try Data("no certificate".utf8).write(to: URL(fileURLWithPath: folder + "/cert.pem"))
                kill(getpid(), SIGHUP)
                try await Task.sleep(for: .milliseconds(200))
                try await store("new").ping()
                try install("old.pem", as: "cert.pem")
                try install("old.key", as: "key.pem")
                kill(getpid(), SIGHUP)
                #expect(try await isServed("old"))
            }
        }
    }
}

/// A server with `cert.pem` and `key.pem` of the folder.
private func withTLSServer(_ folder: String, _ body: @Sendable (_ port: Int) async throws -> Void) async throws {
    let files = RegistryServer.TLSFiles(certificateChain: folder + "/cert.pem", privateKey: folder + "/key.pem")
    try await withServer(
        { onListening in
            try await RegistryServer.run(store: MemoryStore(), tls: files, logger: quiet, onListening: onListening)
        }, body)
}

private let hasOpenSSL = FileManager.default.isExecutableFile(atPath: "/usr/bin/openssl")

/// A self-signed certificate for this machine, valid for two days.
private func makeCertificate(_ certificate: String, key: String) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
    process.arguments = [
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate,
    ]
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
}

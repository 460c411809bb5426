import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import OCIArtifacts
import PromptRegistry
import Testing

@testable import OCIServer

@Suite struct AccessTests {
    /// A list with ci (pull, push in team/*), ops (everything), and public/** for everyone; with the secrets.
    private static func list() throws -> (AccessList, ci: String, ops: String) {
        var list = AccessList()
        let ci = try list.addToken(for: "ci")
        let ops = try list.addToken(for: "ops")
        list.principals[0].rules = [.init(try RepositoryGlob("team/*"), [.pull, .push])]
        list.principals[1].rules = [.init(.all, Set(AccessList.Action.allCases))]
        list.anonymous = [.init(try RepositoryGlob("public/**"), [.pull])]
        return (list, ci, ops)
    }

    private static func basic(_ user: String, _ password: String) -> HTTPFields {
        [.authorization: "Basic " + Data("\(user):\(password)".utf8).base64EncodedString()]
    }

    private static func run(
        _ challenge: AccessControl.Challenge = .bearer, kind: StoreKind = .memory,
        change: (inout OCIRoutes.Options) -> Void = { _ in },
        _ body: @Sendable (RegistryFixture, _ ci: String, _ ops: String) async throws -> Void
    ) async throws {
        let (list, ci, ops) = try list()
        var options = OCIRoutes.Options()
        options.access = AccessControl(list, challenge: challenge)
        change(&options)
        try await RegistryFixture.run(kind, options: options) { try await body($0, ci, ops) }
    }

    @Test func theBaseAsksForCredentialsAndTakesThem() async throws {
        try await Self.run(.basic) { registry, ci, _ in
            // The base always asks, or a login could not tell right from wrong; what is for everyone is read all the same.
            #expect(try await registry.send(.get, "/v2/").status == .unauthorized)
            #expect(try await registry.send(.get, "/v2/", Self.basic("", "")).status == .unauthorized)
            #expect(try await registry.send(.get, "/v2/public/a/tags/list", Self.basic("", "")).status == .notFound)
            let closed = try await registry.send(.get, "/v2/team/a/tags/list")
            #expect(closed.status == .unauthorized)
            #expect(closed.errorCode == "UNAUTHORIZED")
            #expect(closed.headers[.wwwAuthenticate]?.hasPrefix("Basic realm=") == true)
            #expect(try await registry.send(.get, "/v2/", Self.basic("ci", ci)).status == .ok)
            #expect(try await registry.send(.get, "/v2/", Self.basic("ci", ci + "x")).status == .unauthorized)
            #expect(try await registry.send(.get, "/v2/", Self.basic("ops", ci)).status == .unauthorized)
            #expect(try await registry.send(.get, "/v2/", [.authorization: "Bearer \(ci)"]).status == .ok)
            #expect(try await registry.send(.get, "/v2/", [.authorization: "Digest x"]).status == .unauthorized)
        }
    }

    @Test func aTokenIsFetchedForAScopeAndCoversNoMore() async throws {
        try await Self.run { registry, ci, _ in
            let asked = try await registry.send(.post, "/v2/team/a/blobs/uploads/")
            let header = try #require(asked.headers[.wwwAuthenticate])
            #expect(asked.status == .unauthorized)
            #expect(header.contains("/token\",service=\"incipit\",scope=\"repository:team/a:pull,push\""))
            let scopes = "scope=repository:team/a:pull,push&scope=repository:other/b:pull"
            let answer = try await registry.send(.get, "/token?service=incipit&\(scopes)", Self.basic("ci", ci))
            #expect(answer.status == .ok)
            let token = try #require(answer.json?["token"]?.string)
            #expect(answer.json?["access_token"]?.string == token)
            #expect(answer.json?["expires_in"]?.integer == 300)
            let bearer: HTTPFields = [.authorization: "Bearer \(token)"]
            #expect(try await registry.send(.post, "/v2/team/a/blobs/uploads/", bearer).status == .accepted)
            // ci may push there, but this token was not asked for it.
            let narrow = try await registry.send(.post, "/v2/team/b/blobs/uploads/", bearer)
            #expect(narrow.status == .unauthorized)
            #expect(narrow.headers[.wwwAuthenticate]?.contains("insufficient_scope") == true)
            // ci may not at all.
            let denied = try await registry.send(.get, "/v2/other/b/tags/list", bearer)
            #expect(denied.status == .forbidden)
            #expect(denied.errorCode == "DENIED")
            #expect(try await registry.send(.delete, "/v2/team/a/manifests/x", bearer).status == .forbidden)
            // Tampered, and a token that should beget another.
            #expect(
                try await registry.send(.get, "/v2/", [.authorization: "Bearer x\(token)"]).status == .unauthorized)
            #expect(try await registry.send(.get, "/token", bearer).status == .unauthorized)
            #expect(try await registry.send(.get, "/token", Self.basic("ci", "wrong")).status == .unauthorized)
        }
    }

    @Test func anOAuthFormGetsATokenToo() async throws {
        try await Self.run { registry, ci, _ in
            let form =
                "grant_type=password&username=ci&password=\(ci)&service=incipit&scope=repository%3Ateam%2Fa%3Apull"
            let answer = try await registry.send(.post, "/token", body: Array(form.utf8))
            let token = try #require(answer.json?["access_token"]?.string)
            let list = try await registry.send(.get, "/v2/team/a/tags/list", [.authorization: "Bearer \(token)"])
            #expect(list.status == .notFound)
            #expect(try await registry.send(.post, "/token", body: Array("grant_type=x".utf8)).status == .badRequest)
        }
    }

    @Test func everyoneReadsWhatIsPublicAndNothingElse() async throws {
        try await Self.run { registry, _, ops in
            let manifest = try await registry.manifest("one", in: "public/x/y", headers: Self.basic("ops", ops))
            try await registry.put(manifest, to: "public/x/y", as: "a", headers: Self.basic("ops", ops))
            #expect(try await registry.send(.get, "/v2/public/x/y/manifests/a").status == .ok)
            #expect(try await registry.send(.delete, "/v2/public/x/y/manifests/a").status == .unauthorized)
            let token = try await registry.send(.get, "/token?scope=repository:public/x/y:pull,push")
            let bearer: HTTPFields = [.authorization: "Bearer \(try #require(token.json?["token"]?.string))"]
            #expect(try await registry.send(.get, "/v2/public/x/y/manifests/a", bearer).status == .ok)
            #expect(
                try await registry.send(.put, "/v2/public/x/y/manifests/b", bearer, body: [1]).status == .unauthorized)
            // The same answer for what exists and what does not.
            let there = try await registry.send(.get, "/v2/team/secret/manifests/a")
            let absent = try await registry.send(.get, "/v2/team/nothing/manifests/a")
            #expect(there.status == .unauthorized && absent.status == .unauthorized)
        }
    }

    @Test(arguments: StoreKind.allCases) func mountsDoNotReachIntoOtherRepositories(_ kind: StoreKind) async throws {
        try await Self.run(kind: kind) { registry, ci, ops in
            let digest = try await registry.push([1, 2, 3], to: "secret/a", headers: Self.basic("ops", ops))
            let ci = Self.basic("ci", ci)
            for query in ["mount=\(digest)&from=secret/a", "mount=\(digest)"] {
                let answer = try await registry.send(.post, "/v2/team/a/blobs/uploads/?\(query)", ci)
                #expect(answer.status == .accepted)
            }
            try await registry.push([1, 2, 3], to: "team/b", headers: ci)
            let found = try await registry.send(.post, "/v2/team/a/blobs/uploads/?mount=\(digest)", ci)
            #expect(found.status == .created)
        }
    }

    @Test func theCatalogueListsWhatOneMayPull() async throws {
        try await Self.run { registry, ci, ops in
            for name in ["team/a", "secret/b"] {
                try await registry.push([1], to: name, headers: Self.basic("ops", ops))
            }
            func list(_ fields: HTTPFields) async throws -> [String]? {
                try await registry.send(.get, "/v2/_catalog", fields).json?["repositories"]?.array?.compactMap(\.string)
            }
            #expect(try await list(Self.basic("ci", ci)) == ["team/a"])
            #expect(try await list(Self.basic("ops", ops)) == ["secret/b", "team/a"])
            #expect(try await registry.send(.get, "/v2/_catalog").status == .unauthorized)
        }
    }

    @Test func guessingIsSlowedDown() async throws {
        try await Self.run(change: { $0.failedLoginsPerMinute = 3 }) { registry, ci, _ in
            for _ in 0..<3 {
                #expect(try await registry.send(.get, "/v2/", Self.basic("ci", "guess")).status == .unauthorized)
            }
            let refused = try await registry.send(.get, "/v2/", Self.basic("ci", "guess"))
            #expect(refused.status == .tooManyRequests)
            #expect(refused.errorCode == "TOOMANYREQUESTS")
            #expect(refused.headers[.retryAfter].flatMap { Int($0) }.map { $0 >= 1 } == true)
            // Who knows the secret still comes in.
            #expect(try await registry.send(.get, "/v2/", Self.basic("ci", ci)).status == .ok)
        }
    }

    @Test func requestsOverTheRateWait() async throws {
        var options = OCIRoutes.Options()
        options.requestsPerSecond = 0.001
        options.requestBurst = 2
        try await RegistryFixture.run(.memory, options: options) { registry in
            #expect(try await registry.send(.get, "/v2/").status == .ok)
            #expect(try await registry.send(.get, "/v2/").status == .ok)
            let refused = try await registry.send(.get, "/v2/")
            #expect(refused.status == .tooManyRequests)
            #expect(refused.headers[.retryAfter] != nil)
        }
    }

    @Test func protectedTagsMoveForThoseWhoMayPromote() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("incipit-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let store = try EmbeddedStore(path: folder.path)
        try await store.protect(ProtectedTag(try Tag("production"), in: try RepositoryGlob("team/**")))
        let (list, ci, ops) = try Self.list()
        var options = OCIRoutes.Options()
        options.access = AccessControl(list)
        let router = Router()
        OCIRoutes(store: store, options: options).add(to: router)
        try await Application(router: router).test(.router) { client in
            let registry = RegistryFixture(client: client)
            let ci = Self.basic("ci", ci)
            let manifest = try await registry.manifest("one", in: "team/a", headers: ci)
            let refused = try await registry.put(manifest, to: "team/a", as: "production", headers: ci).response
            #expect(refused.status == .forbidden)
            #expect(refused.errorCode == "DENIED")
            let set = try await registry.put(manifest, to: "team/a", as: "production", headers: Self.basic("ops", ops))
            #expect(set.response.status == .created)
            #expect(
                try await registry.put(manifest, to: "team/a", as: "staging", headers: ci).response.status == .created)
        }
        let events = try await store.tagEvents(in: RepositoryName("team/a"), tag: Tag("production"))
        #expect(events.map(\.who) == ["ops"])
    }

    @Test(arguments: ["", "two words", "a:b", "line\nend", "é", String(repeating: "x", count: 65)])
    func `a name that nobody could log in with gets neither rules nor tokens`(_ name: String) throws {
        var list = AccessList()
        let rule = AccessList.Rule(try RepositoryGlob("team/*"), [.pull])
        #expect { try list.grant(rule, to: name) } throws: { ($0 as? RegistryError)?.code == .nameInvalid }
        #expect { try list.addToken(for: name) } throws: { ($0 as? RegistryError)?.code == .nameInvalid }
        #expect(list.principals.isEmpty)
        try list.grant(rule, to: "ci")
        try list.grant(.init(rule.repositories, [.pull, .push]), to: "ci")
        #expect(list.principals.map(\.rules.count) == [1])
        #expect(list.principals[0].rules[0].actions == [.pull, .push])
        try list.grant(rule, to: nil)
        #expect(list.anonymous.count == 1)
    }

    @Test func metricsAndHealthAreAnswered() async throws {
        try await Self.run(kind: .embedded) { registry, ci, ops in
            #expect(try await registry.send(.get, "/healthz").status == .ok)
            #expect(try await registry.send(.get, "/readyz").status == .ok)
            #expect(try await registry.send(.get, "/metrics").status == .unauthorized)
            #expect(try await registry.send(.get, "/metrics", Self.basic("ci", ci)).status == .unauthorized)
            try await registry.push([1, 2, 3], to: "team/a", headers: Self.basic("ops", ops))
            let text = String(
                decoding: try await registry.send(.get, "/metrics", Self.basic("ops", ops)).bytes, as: UTF8.self)
            #expect(text.contains("incipit_http_requests_total{method=\"PUT\",endpoint=\"upload\",status=\"201\"} 1\n"))
            #expect(text.contains("incipit_blob_bytes 3\n"))
            #expect(text.contains("incipit_http_request_seconds_bucket{endpoint=\"upload\",le=\"+Inf\"} 2\n"))
        }
    }

    @Test func theFileKeepsHashesOnlyAndIsReadAgain() async throws {
        let path = NSTemporaryDirectory() + "access-\(UUID().uuidString).json"
        defer { unlink(path) }
        var list = AccessList()
        let secret = try list.addToken(for: "ci")
        try list.save(path)
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(!text.contains(secret) && !text.contains(secret.dropFirst(8)))
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let access = try AccessControl(path: path)
        #expect(access.identity(authorization: "Bearer \(secret)")?.name == "ci")
        list.principals = []
        try list.save(path)
        #expect(access.identity(authorization: "Bearer \(secret)") == nil)
        // Damage does not open the door, and does not close it on those who are in.
        let other = try list.addToken(for: "new", expires: Date(timeIntervalSinceNow: -1))
        try list.save(path)
        #expect(access.identity(authorization: "Bearer \(other)") == nil)
        try Data("{".utf8).write(to: URL(fileURLWithPath: path))
        #expect(throws: RegistryError.self) { try AccessControl(path: path) }
    }

    @Test func tokensExpire() throws {
        let signer = TokenSigner()
        let now = Date()
        let claims = TokenClaims(
            subject: "ci", expires: Int(now.timeIntervalSince1970) + 300,
            grants: [.init(name: try RepositoryName("a/b"), actions: [.pull])], catalog: false)
        let token = try signer.sign(claims)
        #expect(signer.read(token, now: now) == claims)
        #expect(signer.read(token, now: now.addingTimeInterval(301)) == nil)
        #expect(TokenSigner().read(token, now: now) == nil)
        #expect(signer.read("", now: now) == nil)
        #expect(signer.read(String(repeating: "a", count: 1 << 20), now: now) == nil)
    }

    @Test func patternsMatchWholeNames() throws {
        for (pattern, name, expected) in [
            ("team/*", "team/a", true), ("team/*", "team/a/b", false), ("team/**", "team/a/b", true),
            ("**", "a/b/c", true), ("*", "a", true), ("*", "a/b", false), ("team/*-prod", "team/x-prod", true),
            ("team", "team/a", false), ("*/b", "a/b", true), ("**/b", "a/c/b", true), ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
        ] {
            #expect(try RepositoryGlob(pattern).matches(RepositoryName(name)) == expected, "\(pattern) \(name)")
        }
        for bad in ["", "Team", "a b", "a?", String(repeating: "a", count: 300)] {
            #expect(throws: OCIArtifactError.self) { try RepositoryGlob(bad) }
        }
    }
}

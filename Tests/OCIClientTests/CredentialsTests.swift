import Foundation
import OCIArtifacts
import PromptRegistry
import Testing

@testable import OCIClient

@Suite struct CredentialsTests {
    @Test func theMostSpecificEntryWins() async throws {
        try await withFolder { folder in
            // alice:pw, bob:a:b
            let first = """
                {"auths": {"quay.io/team": {"auth": "Ym9iOmE6Yg=="}, "quay.io": {"auth": "YWxpY2U6cHc="}, "x.org": {}}}
                """
            let second = """
                {"auths": {"https://docker.example/v1/": {"identitytoken": "tok"}, "quay.io": {"auth": "Ym9iOmE6Yg=="}}}
                """
            #expect(FileManager.default.createFile(atPath: folder + "/a.json", contents: Data(first.utf8)))
            #expect(FileManager.default.createFile(atPath: folder + "/b.json", contents: Data(second.utf8)))
            let files = try CredentialFiles(paths: ["a.json", "none.json", "b.json"].map { "\(folder)/\($0)" })
            let quay = try RegistryHost("quay.io")
            let team = try RepositoryName("team/prompt")
            #expect(files.credentials(for: quay, repository: team) == .password(user: "bob", password: "a:b"))
            let other = try RepositoryName("teams/prompt")
            #expect(files.credentials(for: quay, repository: other) == .password(user: "alice", password: "pw"))
            #expect(
                files.credentials(for: try RegistryHost("docker.example"), repository: nil) == .identityToken("tok"))
            #expect(files.credentials(for: try RegistryHost("x.org"), repository: nil) == nil)
            #expect(FileManager.default.createFile(atPath: folder + "/c.json", contents: Data("{".utf8)))
            #expect(throws: RegistryError.self) { try CredentialFiles(paths: [folder + "/c.json"]) }
        }
    }

    @Test func filesAreLookedForWhereTheirToolsKeepThem() {
        let environment = ["HOME": "/h", "XDG_RUNTIME_DIR": "/r"]
        #expect(
            CredentialFiles.standardPaths(environment: environment) == [
                "/r/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json",
            ])
        #expect(CredentialFiles.standardPaths(environment: ["REGISTRY_AUTH_FILE": "/f", "HOME": "/h"]) == ["/f"])
        #expect(CredentialFiles.standardPaths(explicit: "/e", environment: ["REGISTRY_AUTH_FILE": "/f"]) == ["/e"])
    }

    @Test func challengesAreRead() {
        let text = "Basic realm=\"a, b\", Bearer realm=\"https://h/t\",service=reg, scope=\"r:x:pull,push\""
        #expect(
            Challenge.parse(text) == [
                Challenge(scheme: "basic", parameters: ["realm": "a, b"]),
                Challenge(
                    scheme: "bearer",
                    parameters: ["realm": "https://h/t", "service": "reg", "scope": "r:x:pull,push"]),
            ])
        #expect(Challenge.parse("") == [])
        #expect(Challenge.parse("=,=\"") == [])
        #expect(
            Challenge.parse("Bearer realm=\"unended") == [
                Challenge(scheme: "bearer", parameters: ["realm": "unended"])
            ])
    }

    @Test(
        arguments: [
            ("</v2/a/tags/list?last=b>; rel=\"next\"", "/v2/a/tags/list?last=b"), ("<x>; rel=next", "x"),
            ("<p>; rel=\"prev\", <n>; rel=\"next\"", "n"), ("<p>; rel=\"prev\"", nil), ("garbage", nil), ("<", nil),
        ] as [(String, String?)])
    func linksAreFollowed(header: String, expected: String?) {
        #expect(nextLink([header]) == expected)
    }

    @Test func plainHTTPIsForLoopbackUnlessAskedFor() throws {
        for host in ["127.0.0.1:5000", "localhost:5000", "[::1]:5000"] { #expect(try !RegistryHost(host).usesTLS) }
        for host in ["example.com", "10.0.0.1:5000", "localhost.example.com"] {
            #expect(try RegistryHost(host).usesTLS)
        }
        #expect(try !RegistryHost("10.0.0.1:5000", plainHTTP: true).usesTLS)
        for host in ["", "a b", "a/b", "a@b", "http://a"] {
            #expect(throws: RegistryError.self) { try RegistryHost(host) }
        }
    }
}

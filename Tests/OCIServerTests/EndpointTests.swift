import OCIArtifacts
import Testing

@testable import OCIServer

@Suite struct EndpointTests {
    private static let digest = "sha256:" + String(repeating: "ab", count: 32)

    @Test func everyEndpointIsRead() throws {
        let deep = try RepositoryName("a/b/c")
        let odd = try RepositoryName("a/blobs/uploads")
        let cases: [(String, Endpoint)] = [
            ("/v2", .base), ("/v2/", .base), ("/v2/_catalog", .catalog),
            ("/v2/a/b/c/blobs/\(Self.digest)", .blob(deep, Self.digest)), ("/v2/a/b/c/blobs/uploads/", .uploads(deep)),
            ("/v2/a/b/c/blobs/uploads", .uploads(deep)), ("/v2/a/b/c/blobs/uploads/x-1", .upload(deep, "x-1")),
            ("/v2/a/b/c/manifests/v1", .manifest(deep, "v1")), ("/v2/a/b/c/tags/list", .tags(deep)),
            ("/v2/a/b/c/referrers/\(Self.digest)", .referrers(deep, Self.digest)),
            // Words of the protocol are fine as parts of a name.
            ("/v2/a/blobs/uploads/manifests/v1", .manifest(odd, "v1")),
            ("/v2/a/blobs/uploads/tags/list", .tags(odd)),
            ("/v2/manifests/manifests/manifests", .manifest(try RepositoryName("manifests"), "manifests")),
            ("/v2/a/b/c/manifests/sha256%3Aab", .manifest(deep, "sha256:ab")),
        ]
        for (path, expected) in cases { #expect(try Endpoint(path: path) == expected, "\(path)") }
    }

    @Test(arguments: [
        "", "/", "/v1/", "/v2/a", "/v2/a/b", "/v2/tags/list", "/v2/blobs/x", "/v2//manifests/v1",
        "/v2/a//b/manifests/v1",
        "/v2/../manifests/v1", "/v2/a/../../etc/manifests/passwd", "/v2/A/manifests/v1", "/v2/a%2fb/manifests/v1",
        "/v2/%2e%2e/manifests/v1", "/v2/a/manifests/%2e%2e", "/v2/a/manifests/v1%00", "/v2/a b/manifests/v1",
        "/v2/-a/tags/list", "/v2/a/./tags/list",
    ])
    func whatIsNoEndpointIsRefused(path: String) {
        #expect(throws: OCIError.self) { try Endpoint(path: path) }
    }

    @Test func namesOf255BytesPassAndLongerOnesDoNot() throws {
        #expect(try Endpoint(path: "/v2/\(String(repeating: "a", count: 255))/tags/list") != .base)
        #expect(throws: OCIError.self) { try Endpoint(path: "/v2/\(String(repeating: "a", count: 256))/tags/list") }
    }

    @Test func queriesAreDecoded() {
        let query = QueryParameters("digest=sha256%3Aab&tag=a&tag=b&artifactType=application/x+json&flag&bad=%zz")
        #expect(query["digest"] == "sha256:ab")
        #expect(query.all("tag") == ["a", "b"])
        #expect(query["artifactType"] == "application/x+json")
        #expect(query["flag"] == "")
        #expect(query["bad"] == "%zz")
        #expect(query["none"] == nil)
        #expect(QueryParameters(nil)["n"] == nil)
    }
}

import Testing

@testable import OCIArtifacts

@Suite struct NamesTests {
    @Test(arguments: ["a", "demo/gloss", "a.b", "a_b", "a__b", "a-b", "a---b", "0/1/2", "a/b-c.d_e"])
    func acceptsRepositoryNames(text: String) throws {
        #expect(try RepositoryName(text).description == text)
    }

    @Test(arguments: [
        "", "/", "a/", "/a", "a//b", "A", "a.", ".a", "a..b", "a___b", "a._b", "-a", "a-", "a b", "ä", "a/../b", "a\n",
        String(repeating: "a", count: 256),
    ])
    func refusesOtherNames(text: String) {
        #expect { try RepositoryName(text) } throws: { ($0 as? OCIArtifactError)?.code == .nameInvalid }
    }

    @Test(arguments: ["v1", "_", "A.b-c_d", "latest", String(repeating: "x", count: 128)])
    func acceptsTags(text: String) throws { #expect(try OCIArtifacts.Tag(text).description == text) }

    @Test(arguments: ["", ".a", "-a", "a:b", "a/b", "a b", "é", String(repeating: "x", count: 129)])
    func refusesOtherTags(text: String) {
        #expect { try OCIArtifacts.Tag(text) } throws: { ($0 as? OCIArtifactError)?.code == .tagInvalid }
    }

    @Test(arguments: [("v1", 1), ("v10", 10), ("v0", nil), ("v01", nil), ("v", nil), ("v1a", nil), ("1", nil)])
    func versionTags(text: String, number: Int?) throws {
        #expect(try OCIArtifacts.Tag(text).versionNumber == number)
    }

    @Test func fallbackTags() throws {
        let short = Digest.sha256(of: [1])
        #expect(Tag.referrersFallback(for: short).description == "sha256-\(short.hex)")
        let long = Digest.of([1] as [UInt8], algorithm: .sha512)
        #expect(Tag.referrersFallback(for: long).description == "sha512-\(long.hex.prefix(64))")
        #expect(Tag.referrersFallback(for: long).isReferrersFallback)
        #expect(!Tag.latest.isReferrersFallback)
    }

    @Test func references() throws {
        let plain = try Reference("demo/gloss:v1")
        #expect(plain.host == nil && plain.repository.description == "demo/gloss" && plain.tag?.versionNumber == 1)
        let hosted = try Reference("127.0.0.1:5000/demo/gloss:v1")
        #expect(hosted.host == "127.0.0.1:5000" && hosted.repository.description == "demo/gloss")
        #expect(hosted.description == "127.0.0.1:5000/demo/gloss:v1")
        let digest = Digest.sha256(of: [2])
        let pinned = try Reference("localhost/x:v2@\(digest)")
        #expect(pinned.host == "localhost" && pinned.reference == .digest(digest) && pinned.tag?.description == "v2")
        #expect(try Reference("[::1]:5000/a/b").host == "[::1]:5000")
        #expect(try Reference("gloss").reference == nil)
    }

    @Test(arguments: [
        "", "http://host/a:v1", "host:port/a", "host:99999/a", "a:", "a@", "a@sha256:zz", "a:b:c", "-bad.host/a", "A/b",
        "host.example/", ":5000/a", "a b/c",
    ])
    func refusesOtherReferences(text: String) {
        #expect(throws: OCIArtifactError.self) { try Reference(text) }
    }
}

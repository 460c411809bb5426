import HTTPTypes
import Hummingbird
import HummingbirdTesting
import OCIArtifacts
import OCIServer
import PromptRegistry
import Testing

@Suite struct ManifestRoutesTests {
    @Test(arguments: StoreKind.allCases) func aManifestComesBackByteForByte(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let manifest = try await registry.manifest("one", in: "demo/a")
            // White space and unknown fields must survive.
            let text = String(decoding: manifest.serialized, as: UTF8.self)
            let bytes = Array(("{ \"org.example.custom\": [1, 2.50, null],\n" + text.dropFirst()).utf8)
            for algorithm in Digest.Algorithm.allCases {
                let digest = Digest.of(bytes, algorithm: algorithm)
                let put = try await registry.send(
                    .put, "/v2/demo/a/manifests/\(digest)", [.contentType: MediaType.imageManifest + "; charset=utf-8"],
                    body: bytes)
                #expect(put.status == .created)
                #expect(put.headers[.location] == "/v2/demo/a/manifests/\(digest)")
                #expect(put.header("Docker-Content-Digest") == digest.description)
                for method in [HTTPRequest.Method.get, .head] {
                    let get = try await registry.send(method, "/v2/demo/a/manifests/\(digest)")
                    #expect(get.status == .ok)
                    #expect(get.headers[.contentType] == MediaType.imageManifest)
                    #expect(get.headers[.contentLength] == String(bytes.count))
                    #expect(get.header("Docker-Content-Digest") == digest.description)
                    #expect(get.bytes == (method == .get ? bytes : []))
                }
            }
        }
    }

    @Test(arguments: StoreKind.allCases) func tagsNameManifestsAndMove(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let first = try await registry.manifest("one", in: "a")
            let second = try await registry.manifest("two", in: "a")
            #expect(try await registry.put(first, to: "a", as: "edge").response.status == .created)
            #expect(try await registry.send(.get, "/v2/a/manifests/edge").bytes == first.serialized)
            #expect(try await registry.put(second, to: "a", as: "edge").response.status == .created)
            // What the client says it accepts does not matter.
            let get = try await registry.send(.get, "/v2/a/manifests/edge", [.accept: "text/html"])
            #expect(get.bytes == second.serialized)
            #expect(try await registry.put(first, to: "a", as: "v1").response.status == .created)
            #expect(try await registry.put(first, to: "a", as: "v1").response.status == .created)
            let moved = try await registry.put(second, to: "a", as: "v1").response
            #expect(moved.status == .forbidden)
            #expect(moved.errorCode == "DENIED")
        }
    }

    @Test(arguments: StoreKind.allCases) func tagParametersSetTags(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let manifest = try await registry.manifest("one", in: "a")
            let digest = Digest.sha256(of: manifest.serialized)
            let put = try await registry.put(manifest, to: "a", as: "\(digest)?tag=x&tag=y").response
            #expect(put.status == .created)
            let name = try #require(HTTPField.Name("OCI-Tag"))
            #expect(put.headers[values: name] == ["x", "y"])
            #expect(try await registry.send(.get, "/v2/a/tags/list").tags == ["x", "y"])
            let bad = try await registry.put(manifest, to: "a", as: "\(digest)?tag=.bad").response
            #expect(bad.status == .badRequest)
        }
    }

    @Test(arguments: StoreKind.allCases) func brokenManifestsAreRefused(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            func put(_ text: String, _ reference: String = "x", type: String = MediaType.imageManifest) async throws
                -> TestResponse
            {
                try await registry.send(
                    .put, "/v2/a/manifests/\(reference)", [.contentType: type], body: Array(text.utf8))
            }
            for text in ["", "{", "[]", "{}", "{\"schemaVersion\":2}", String(repeating: "[", count: 100_000)] {
                let response = try await put(text)
                #expect(response.status == .badRequest)
                #expect(response.errorCode == "MANIFEST_INVALID")
            }
            #expect(try await put("{}", "sha256:baddigeststring").status == .badRequest)
            #expect(try await put("{}", ".bad").status == .badRequest)
            let large = try await put(String(repeating: " ", count: 4 << 20) + "{}")
            #expect(large.status.code == 413)
            let absent = Manifest(
                artifactType: "application/x.test", config: .empty,
                layers: [Descriptor(of: [9, 9, 9], mediaType: "application/octet-stream")])
            let unknown = try await registry.put(absent, to: "a", as: "x").response
            #expect(unknown.status == .notFound)
            #expect(unknown.errorCode == "MANIFEST_BLOB_UNKNOWN")
            let manifest = try await registry.manifest("one", in: "a")
            let wrong = try await registry.put(manifest, to: "a", as: "sha256:" + String(repeating: "0", count: 64))
                .response
            #expect(wrong.status == .badRequest)
            #expect(wrong.errorCode == "DIGEST_INVALID")
        }
    }

    @Test(arguments: StoreKind.allCases) func manifestsOfAlmostFourMebibytesAreTaken(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let note = String(repeating: "A", count: 10_000)
            let notes = Dictionary(uniqueKeysWithValues: (0..<390).map { ("large-annotation-\($0)", note) })
            let manifest = try await registry.manifest("one", in: "a", annotations: notes)
            #expect(try await registry.put(manifest, to: "a", as: "large").response.status == .created)
            #expect(try await registry.send(.get, "/v2/a/manifests/large").bytes == manifest.serialized)
        }
    }

    @Test(arguments: StoreKind.allCases) func unknownManifestsAreTold(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            for reference in ["nope", ".INVALID", "sha256:" + String(repeating: "0", count: 64)] {
                let get = try await registry.send(.get, "/v2/a/manifests/\(reference)")
                #expect(get.status == .notFound)
                #expect(get.errorCode == "MANIFEST_UNKNOWN")
            }
            #expect(try await registry.send(.get, "/v2/a/manifests/sha256:bad").status == .badRequest)
            #expect(try await registry.send(.delete, "/v2/a/manifests/nope").status == .notFound)
            #expect(try await registry.send(.patch, "/v2/a/manifests/nope").status == .methodNotAllowed)
        }
    }

    @Test(arguments: StoreKind.allCases) func deletingTakesATagOrAllOfThem(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let manifest = try await registry.manifest("one", in: "a")
            let digest = try await registry.put(manifest, to: "a", as: "x").digest
            try await registry.put(manifest, to: "a", as: "y")
            #expect(try await registry.send(.delete, "/v2/a/manifests/x").status == .accepted)
            #expect(try await registry.send(.get, "/v2/a/manifests/x").status == .notFound)
            #expect(try await registry.send(.get, "/v2/a/manifests/y").status == .ok)
            #expect(try await registry.send(.delete, "/v2/a/manifests/\(digest)").status == .accepted)
            for reference in ["y", digest.description] {
                #expect(try await registry.send(.get, "/v2/a/manifests/\(reference)").status == .notFound)
            }
        }
    }

    @Test(arguments: StoreKind.allCases) func whatIsNeededIsNotDeleted(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let manifest = try await registry.manifest("one", in: "a")
            let digest = try await registry.put(manifest, to: "a", as: "v1").digest
            for path in ["manifests/v1", "manifests/\(digest)", "blobs/\(manifest.layers[0].digest)"] {
                let refused = try await registry.send(.delete, "/v2/a/\(path)")
                #expect(refused.status == .methodNotAllowed)
                #expect(refused.errorCode == "DENIED")
                #expect(try await registry.send(.get, "/v2/a/\(path)").status == .ok)
            }
        }
    }

    @Test(arguments: StoreKind.allCases) func tagListsArePaged(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            #expect(try await registry.send(.get, "/v2/none/tags/list").errorCode == "NAME_UNKNOWN")
            let manifest = try await registry.manifest("one", in: "a")
            for tag in ["b", "a", "C", "1.0", "_x"] { try await registry.put(manifest, to: "a", as: tag) }
            #expect(try await registry.send(.get, "/v2/a/tags/list").tags == ["1.0", "C", "_x", "a", "b"])
            let first = try await registry.send(.get, "/v2/a/tags/list?n=2")
            #expect(first.tags == ["1.0", "C"])
            #expect(first.header("Link") == "</v2/a/tags/list?n=2&last=C>; rel=\"next\"")
            let second = try await registry.send(.get, "/v2/a/tags/list?n=2&last=C")
            #expect(second.tags == ["_x", "a"])
            let third = try await registry.send(.get, "/v2/a/tags/list?n=2&last=a")
            #expect(third.tags == ["b"])
            #expect(third.header("Link") == nil)
            let none = try await registry.send(.get, "/v2/a/tags/list?n=0")
            #expect(none.status == .ok)
            #expect(none.tags == [])
            #expect(none.header("Link") == nil)
            #expect(try await registry.send(.get, "/v2/a/tags/list?n=-1").status == .badRequest)
            #expect(try await registry.send(.get, "/v2/a/tags/list?n=5").header("Link") == nil)
            let catalogue = try await registry.send(.get, "/v2/_catalog")
            #expect(catalogue.json?["repositories"]?.array?.compactMap(\.string) == ["a"])
        }
    }

    @Test(arguments: StoreKind.allCases) func referrersAreListed(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let anchor = BaseAnchor(fingerprint: .sha256(of: [1]))
            let uri = "/v2/a/referrers/\(anchor.digest)"
            // Never 404, not even for a repository that does not exist.
            let empty = try await registry.send(.get, uri)
            #expect(empty.status == .ok)
            #expect(empty.headers[.contentType] == MediaType.imageIndex)
            #expect(empty.json?["manifests"]?.array?.isEmpty == true)
            #expect(empty.json?["schemaVersion"]?.integer == 2)
            #expect(empty.json?["mediaType"]?.string == MediaType.imageIndex)
            // The subject itself need not be there.
            let first = try await registry.manifest(
                "one", in: "a", subject: anchor.descriptor, artifactType: "application/x.one+json",
                annotations: ["k": "v"])
            let pushed = try await registry.put(first, to: "a")
            #expect(pushed.response.header("OCI-Subject") == anchor.digest.description)
            let second = try await registry.manifest(
                "two", in: "a", subject: anchor.descriptor, artifactType: "application/x.two")
            try await registry.put(second, to: "a")
            // An index can refer to something too.
            var index = ImageIndex(manifests: [], subject: anchor.descriptor)
            index.artifactType = "application/x.one+json"
            let bytes = index.serialized
            let put = try await registry.send(
                .put, "/v2/a/manifests/\(Digest.sha256(of: bytes))", [.contentType: MediaType.imageIndex], body: bytes)
            #expect(put.header("OCI-Subject") == anchor.digest.description)
            let all = try ImageIndex.parse(try await registry.send(.get, uri).bytes)
            #expect(all.manifests.count == 3)
            let one = try #require(all.manifests.first { $0.digest == pushed.digest })
            #expect(one.artifactType == "application/x.one+json")
            #expect(one.annotations == ["k": "v"])
            #expect(one.size == first.serialized.count)
            for type in ["application/x.one+json", "application%2Fx.one%2Bjson"] {
                let filtered = try await registry.send(.get, "\(uri)?artifactType=\(type)")
                #expect(filtered.header("OCI-Filters-Applied") == "artifactType")
                #expect(try ImageIndex.parse(filtered.bytes).manifests.count == 2)
            }
            #expect(try await registry.send(.get, "/v2/a/referrers/sha256:bad").status == .badRequest)
            #expect(try await registry.send(.delete, "/v2/a/manifests/\(pushed.digest)").status == .accepted)
            #expect(try ImageIndex.parse(try await registry.send(.get, uri).bytes).manifests.count == 2)
        }
    }

    @Test func longListsOfReferrersArePaged() async throws {
        try await RegistryFixture.run(.memory) { registry in
            let anchor = BaseAnchor(fingerprint: .sha256(of: [1]))
            let note = String(repeating: "n", count: 1 << 20)
            var expected: Set<Digest> = []
            for number in 0..<7 {
                let manifest = try await registry.manifest(
                    "\(number)", in: "a", subject: anchor.descriptor, annotations: ["note": note])
                expected.insert(try await registry.put(manifest, to: "a").digest)
            }
            var uri = "/v2/a/referrers/\(anchor.digest)?artifactType=application/x.test"
            var found: [Digest] = []
            var pages = 0
            while true {
                let response = try await registry.send(.get, uri)
                #expect(response.bytes.count <= 4 << 20)
                found += try ImageIndex.parse(response.bytes).manifests.map(\.digest)
                pages += 1
                guard let link = response.header("Link") else { break }
                uri = String(link.dropFirst().prefix { $0 != ">" })
            }
            #expect(pages >= 3)
            #expect(found.count == 7)
            #expect(Set(found) == expected)
        }
    }
}

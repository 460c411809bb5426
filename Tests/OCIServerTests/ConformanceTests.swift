import HTTPTypes
import Hummingbird
import HummingbirdTesting
import OCIArtifacts
import OCIServer
import PromptRegistry
import Testing

/// Kinds of content and requests that the distribution spec's conformance suite tries and no other test here does.
@Suite struct ConformanceTests {
    private static func descriptor(_ seed: UInt8, _ type: String = MediaType.imageManifest) -> Descriptor {
        Descriptor(of: [seed, seed], mediaType: type)
    }

    /// Puts a manifest by digest and by tag, reads it both ways, lists the tag, deletes tag and manifest, and finds both
    /// gone.
    private static func live(
        _ bytes: [UInt8], _ type: String, in registry: RegistryFixture, algorithm: Digest.Algorithm = .sha256
    ) async throws {
        let digest = Digest.of(bytes, algorithm: algorithm)
        let put = try await registry.send(
            .put, "/v2/a/manifests/\(digest)?tag=some", [.contentType: type], body: bytes)
        #expect(put.status == .created)
        #expect(put.header("Docker-Content-Digest") == digest.description)
        #expect(put.header("OCI-Tag") == "some")
        for reference in ["some", digest.description] {
            let get = try await registry.send(.get, "/v2/a/manifests/\(reference)")
            #expect(get.status == .ok)
            #expect(get.bytes == bytes)
            #expect(get.headers[.contentType] == type)
            #expect(get.header("Docker-Content-Digest") == digest.description)
        }
        #expect(try await registry.send(.get, "/v2/a/tags/list").tags?.contains("some") == true)
        for reference in ["some", digest.description] {
            #expect(try await registry.send(.delete, "/v2/a/manifests/\(reference)").status == .accepted)
            #expect(try await registry.send(.head, "/v2/a/manifests/\(reference)").status == .notFound)
        }
    }

    @Test(arguments: StoreKind.allCases) func indexesMayBeEmptyNestedAndSparse(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            for members in [
                "[]", "null",
                String(
                    decoding: JSONNode.array([Self.descriptor(1).node, Self.descriptor(2, MediaType.imageIndex).node])
                        .canonical, as: UTF8.self),
            ] {
                let text = "{\"schemaVersion\":2,\"mediaType\":\"\(MediaType.imageIndex)\",\"manifests\":\(members)}"
                for algorithm in Digest.Algorithm.allCases {
                    try await Self.live(Array(text.utf8), MediaType.imageIndex, in: registry, algorithm: algorithm)
                }
            }
        }
    }

    @Test(arguments: StoreKind.allCases) func imagesMayHaveNoLayersAndForeignOnes(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            try await registry.push(Descriptor.emptyContent, to: "a")
            var foreign = Self.descriptor(3, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
            foreign.urls = ["https://store.example.com/x"]
            for layers in [[], [foreign]] {
                let manifest = Manifest(artifactType: nil, config: .empty, layers: layers)
                try await Self.live(manifest.serialized, MediaType.imageManifest, in: registry)
            }
        }
    }

    @Test(arguments: StoreKind.allCases) func embeddedDataStandsForTheBlob(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            var config = Descriptor.empty
            config.data = .init(Descriptor.emptyContent)
            let manifest = Manifest(artifactType: "application/x.test", config: config, layers: [])
            try await Self.live(manifest.serialized, MediaType.imageManifest, in: registry)
        }
    }

    @Test(arguments: StoreKind.allCases) func aBlobIsGoneRightAfterItsManifest(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let manifest = try await registry.manifest("one", in: "a")
            let digest = try await registry.put(manifest, to: "a", as: "x").digest
            let blob = "/v2/a/blobs/\(manifest.layers[0].digest)"
            #expect(try await registry.send(.delete, "/v2/a/manifests/\(digest)").status == .accepted)
            #expect(try await registry.send(.delete, blob).status == .accepted)
            #expect(try await registry.send(.head, blob).status == .notFound)
            #expect(try await registry.send(.get, blob).status == .notFound)
        }
    }

    @Test(arguments: StoreKind.allCases) func aWrongDigestAtTheEndOfEachWayIsRefused(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let bytes = Array("what was announced".utf8)
            let digest = Digest.sha256(of: bytes)
            let wrong = bytes + Array("oh no".utf8)
            let single = try await registry.send(.post, "/v2/a/blobs/uploads/?digest=\(digest)", body: wrong)
            #expect(single.status == .badRequest)
            for hasBody in [true, false] {
                let place = try #require(try await registry.send(.post, "/v2/a/blobs/uploads/").headers[.location])
                if !hasBody { _ = try await registry.send(.patch, place, body: wrong) }
                let end = try await registry.send(.put, "\(place)?digest=\(digest)", body: hasBody ? wrong : nil)
                #expect(end.status == .badRequest)
                #expect(end.errorCode == "DIGEST_INVALID")
            }
            #expect(try await registry.send(.get, "/v2/a/blobs/\(digest)").status == .notFound)
        }
    }

    @Test(arguments: StoreKind.allCases) func anUploadWithoutBytesCanBeFinishedOrRefused(_ kind: StoreKind) async throws
    {
        try await RegistryFixture.run(kind) { registry in
            let empty = Digest.sha256(of: [UInt8]())
            let place = try #require(try await registry.send(.post, "/v2/a/blobs/uploads/").headers[.location])
            let skipping = try await registry.send(
                .put, "\(place)?digest=\(empty)", [.contentRange: "5-6"], body: [1, 2])
            #expect(skipping.status == .rangeNotSatisfiable)
            #expect(try await registry.send(.get, place).status == .noContent)
            #expect(try await registry.send(.put, "\(place)?digest=\(empty)").status == .created)
            #expect(try await registry.send(.get, "/v2/a/blobs/\(empty)").bytes == [])
            #expect(try await registry.send(.get, place).status == .notFound)
        }
    }
}

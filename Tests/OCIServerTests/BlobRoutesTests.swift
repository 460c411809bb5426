import HTTPTypes
import Hummingbird
import HummingbirdTesting
import OCIArtifacts
import OCIServer
import PromptRegistry
import Testing

@Suite struct BlobRoutesTests {
    private static let missing = "sha256:" + String(repeating: "0", count: 64)

    @Test(arguments: StoreKind.allCases) func theBaseAnswers(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let base = try await registry.send(.get, "/v2/")
            #expect(base.status == .ok)
            #expect(try await registry.send(.get, "/v2").status == .ok)
            #expect(try await registry.send(.put, "/v2/").status == .methodNotAllowed)
        }
    }

    @Test(arguments: StoreKind.allCases) func aBlobComesBack(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            // Longer than what is answered from memory, and than a piece of a request body.
            for bytes in [[], [7], (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }] as [[UInt8]] {
                for algorithm in Digest.Algorithm.allCases {
                    let digest = try await registry.push(bytes, to: "demo/a", algorithm: algorithm)
                    let head = try await registry.send(.head, "/v2/demo/a/blobs/\(digest)")
                    #expect(head.status == .ok)
                    #expect(head.headers[.contentLength] == String(bytes.count))
                    #expect(head.header("Docker-Content-Digest") == digest.description)
                    #expect(head.bytes.isEmpty)
                    let get = try await registry.send(.get, "/v2/demo/a/blobs/\(digest)")
                    #expect(get.status == .ok)
                    #expect(get.headers[.contentLength] == String(bytes.count))
                    #expect(get.header("Docker-Content-Digest") == digest.description)
                    #expect(get.bytes == bytes)
                }
            }
        }
    }

    @Test(arguments: StoreKind.allCases) func unknownAndMalformedBlobsAreTold(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let unknown = try await registry.send(.get, "/v2/demo/a/blobs/\(Self.missing)")
            #expect(unknown.status == .notFound)
            #expect(unknown.errorCode == "BLOB_UNKNOWN")
            let bad = try await registry.send(.get, "/v2/demo/a/blobs/sha256:baddigeststring")
            #expect(bad.status == .badRequest)
            #expect(bad.errorCode == "DIGEST_INVALID")
            let name = try await registry.send(.get, "/v2/Demo/blobs/\(Self.missing)")
            #expect(name.status == .badRequest)
            #expect(name.errorCode == "NAME_INVALID")
            let head = try await registry.send(.head, "/v2/demo/a/blobs/\(Self.missing)")
            #expect(head.status == .notFound)
            #expect(head.bytes.isEmpty)
            // Blobs belong to repositories.
            let digest = try await registry.push([1, 2, 3], to: "demo/a")
            #expect(try await registry.send(.get, "/v2/demo/b/blobs/\(digest)").status == .notFound)
        }
    }

    @Test(arguments: StoreKind.allCases) func rangesAreServed(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let bytes = (0..<3000).map { UInt8(truncatingIfNeeded: $0 / 7) }
            let digest = try await registry.push(bytes, to: "demo/a")
            let uri = "/v2/demo/a/blobs/\(digest)"
            for (header, part) in [
                ("bytes=500-999", 500..<1000), ("bytes=2000-5000", 2000..<3000), ("bytes=-1", 2999..<3000),
            ] {
                let response = try await registry.send(.get, uri, [.range: header])
                #expect(response.status == .partialContent)
                #expect(response.bytes == Array(bytes[part]))
                #expect(response.headers[.contentRange] == "bytes \(part.lowerBound)-\(part.upperBound - 1)/3000")
                #expect(response.headers[.contentLength] == String(part.count))
            }
            for header in ["bytes=500-0", "bytes=3000-", "bytes=4000-5000"] {
                let response = try await registry.send(.get, uri, [.range: header])
                #expect(response.status == .rangeNotSatisfiable)
                #expect(response.headers[.contentRange] == "bytes */3000")
            }
            let stale = try await registry.send(.get, uri, [.range: "bytes=0-9", .ifRange: "\"other\""])
            #expect(stale.status == .ok)
            #expect(stale.bytes == bytes)
        }
    }

    @Test(arguments: StoreKind.allCases) func oneRequestCanPushABlob(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let bytes = Array("whole".utf8)
            let digest = Digest.sha256(of: bytes)
            let response = try await registry.send(.post, "/v2/a/blobs/uploads/?digest=\(digest)", body: bytes)
            #expect(response.status == .created)
            #expect(response.headers[.location] == "/v2/a/blobs/\(digest)")
            #expect(try await registry.send(.get, "/v2/a/blobs/\(digest)").bytes == bytes)
            let wrong = try await registry.send(.post, "/v2/a/blobs/uploads/?digest=\(Self.missing)", body: bytes)
            #expect(wrong.status == .badRequest)
            #expect(wrong.errorCode == "DIGEST_INVALID")
            #expect(try await registry.send(.get, "/v2/a/blobs/\(Self.missing)").status == .notFound)
            let malformed = try await registry.send(.post, "/v2/a/blobs/uploads/?digest=sha256:x", body: bytes)
            #expect(malformed.status == .badRequest)
        }
    }

    @Test(arguments: StoreKind.allCases) func chunksMustComeInOrder(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let bytes = (0..<3000).map { UInt8(truncatingIfNeeded: $0) }
            let digest = Digest.sha256(of: bytes)
            let begun = try await registry.send(.post, "/v2/a/blobs/uploads/")
            var place = try #require(begun.headers[.location])
            func patch(_ range: Range<Int>) async throws -> TestResponse {
                try await registry.send(
                    .patch, place, [.contentRange: "\(range.lowerBound)-\(range.upperBound - 1)"],
                    body: Array(bytes[range]))
            }
            // Out of order at the very beginning, in the middle, and a repetition.
            #expect(try await patch(1000..<2000).status == .rangeNotSatisfiable)
            let first = try await patch(0..<1000)
            #expect(first.status == .accepted)
            #expect(first.headers[.range] == "0-999")
            place = try #require(first.headers[.location])
            #expect(try await patch(2000..<3000).status == .rangeNotSatisfiable)
            #expect(try await patch(0..<1000).status == .rangeNotSatisfiable)
            let status = try await registry.send(.get, place)
            #expect(status.status == .noContent)
            #expect(status.headers[.range] == "0-999")
            #expect(try await patch(1000..<2000).status == .accepted)
            // The last chunk in the PUT; out of order first, which must leave the upload usable.
            let early = try await registry.send(
                .put, "\(place)?digest=\(digest)", [.contentRange: "0-999"], body: Array(bytes[0..<1000]))
            #expect(early.status == .rangeNotSatisfiable)
            let done = try await registry.send(
                .put, "\(place)?digest=\(digest)", [.contentRange: "2000-2999"], body: Array(bytes[2000...]))
            #expect(done.status == .created)
            #expect(try await registry.send(.get, "/v2/a/blobs/\(digest)").bytes == bytes)
            #expect(try await registry.send(.get, place).status == .notFound)
        }
    }

    @Test(arguments: StoreKind.allCases) func aStreamNeedsNoRange(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let bytes = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            let digest = Digest.of(bytes, algorithm: .sha512)
            let begun = try await registry.send(.post, "/v2/a/blobs/uploads/?digest-algorithm=sha512")
            let place = try #require(begun.headers[.location])
            let streamed = try await registry.send(.patch, place, body: bytes)
            #expect(streamed.status == .accepted)
            #expect(streamed.headers[.range] == "0-699999")
            #expect(try await registry.send(.put, "\(place)?digest=\(digest)").status == .created)
            #expect(try await registry.send(.get, "/v2/a/blobs/\(digest)").bytes == bytes)
        }
    }

    @Test(arguments: StoreKind.allCases) func uploadMistakesAreTold(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let begun = try await registry.send(.post, "/v2/a/blobs/uploads/")
            let place = try #require(begun.headers[.location])
            #expect(try await registry.send(.put, place, body: [1]).errorCode == "DIGEST_INVALID")
            #expect(try await registry.send(.put, "\(place)?digest=md5:00", body: [1]).status == .badRequest)
            #expect(
                try await registry.send(.patch, place, [.contentRange: "x"], body: [1]).status == .rangeNotSatisfiable)
            let lying = try await registry.send(.patch, place, [.contentRange: "0-9"], body: [1])
            #expect(lying.status == .badRequest)
            #expect(lying.errorCode == "SIZE_INVALID")
            let wrong = try await registry.send(.put, "\(place)?digest=\(Self.missing)", body: [1])
            #expect(wrong.status == .badRequest)
            #expect(wrong.errorCode == "DIGEST_INVALID")
            for uri in ["/v2/a/blobs/uploads/nope", "/v2/b/blobs/uploads/00000000-0000-0000-0000-000000000000"] {
                let unknown = try await registry.send(.patch, uri, body: [1])
                #expect(unknown.status == .notFound)
                #expect(unknown.errorCode == "BLOB_UPLOAD_UNKNOWN")
            }
            #expect(try await registry.send(.post, "/v2/a/blobs/uploads/?digest-algorithm=md5").status == .badRequest)
        }
    }

    @Test(arguments: StoreKind.allCases) func uploadsCanBeCancelled(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let begun = try await registry.send(.post, "/v2/a/blobs/uploads/")
            let place = try #require(begun.headers[.location])
            #expect(try await registry.send(.delete, place).status == .noContent)
            #expect(try await registry.send(.get, place).status == .notFound)
            #expect(try await registry.send(.delete, place).status == .notFound)
        }
    }

    @Test(arguments: StoreKind.allCases) func blobsAreMounted(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let digest = try await registry.push([1, 2, 3], to: "demo/a")
            let mounted = try await registry.send(.post, "/v2/demo/b/blobs/uploads/?mount=\(digest)&from=demo/a")
            #expect(mounted.status == .created)
            #expect(mounted.headers[.location] == "/v2/demo/b/blobs/\(digest)")
            #expect(try await registry.send(.get, "/v2/demo/b/blobs/\(digest)").bytes == [1, 2, 3])
            let anonymous = try await registry.send(.post, "/v2/demo/c/blobs/uploads/?mount=\(digest)")
            #expect(anonymous.status == .created)
            let absent = try await registry.send(.post, "/v2/demo/b/blobs/uploads/?mount=\(Self.missing)&from=demo/a")
            #expect(absent.status == .accepted)
            #expect(absent.headers[.location]?.hasPrefix("/v2/demo/b/blobs/uploads/") == true)
            let elsewhere = try await registry.send(.post, "/v2/demo/b/blobs/uploads/?mount=\(digest)&from=demo/zz")
            #expect(elsewhere.status == .accepted)
            #expect(try await registry.send(.post, "/v2/demo/b/blobs/uploads/?mount=x").status == .badRequest)
        }
    }

    @Test(arguments: StoreKind.allCases) func blobsAreDeleted(_ kind: StoreKind) async throws {
        try await RegistryFixture.run(kind) { registry in
            let digest = try await registry.push([1, 2, 3], to: "a")
            #expect(try await registry.send(.delete, "/v2/a/blobs/\(digest)").status == .accepted)
            #expect(try await registry.send(.get, "/v2/a/blobs/\(digest)").status == .notFound)
            #expect(try await registry.send(.delete, "/v2/a/blobs/\(digest)").status == .notFound)
        }
    }

    @Test func blobsOverTheLimitAreRefused() async throws {
        var options = OCIRoutes.Options()
        options.maximumBlobSize = 1000
        try await RegistryFixture.run(.memory, options: options) { registry in
            let begun = try await registry.send(.post, "/v2/a/blobs/uploads/")
            let place = try #require(begun.headers[.location])
            #expect(try await registry.send(.patch, place, body: .init(repeating: 0, count: 1001)).status.code == 413)
            #expect(try await registry.send(.patch, place, body: .init(repeating: 0, count: 600)).status == .accepted)
            #expect(try await registry.send(.patch, place, body: .init(repeating: 0, count: 600)).status.code == 413)
        }
    }

    @Test func onlyLoopbackIsServedWithoutSayingSo() throws {
        for host in ["127.0.0.1", "127.8.8.8", "localhost", "::1"] {
            try RegistryServer.checkBind(host: host, allowsInsecureBind: false)
        }
        for host in ["0.0.0.0", "::", "192.168.1.2", "example.com", "127.0.0.1.example.com", "127.0.0"] {
            #expect(throws: RegistryError.self) { try RegistryServer.checkBind(host: host, allowsInsecureBind: false) }
            try RegistryServer.checkBind(host: host, allowsInsecureBind: true)
        }
    }
}

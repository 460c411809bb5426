import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import OCIArtifacts
import OCIClient
import PromptRegistry
import Testing

@Suite struct MisbehavingRegistryTests {
    private let name = try! RepositoryName("demo/gloss")
    private static let bytes = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 11 >> 1) }

    /// Serves `bytes` from the first byte asked for, and closes the connection after `count` of them.
    private static func cut(_ request: Request, after count: Int, honoursRanges: Bool = true) -> Response {
        var start = 0
        if honoursRanges, let range = request.headers[.range] {
            start = Int(range.dropFirst(6).prefix { $0 != "-" }) ?? 0
        }
        let rest = Array(bytes[start...])
        let body = ResponseBody(contentLength: rest.count) { writer in
            try await writer.write(ByteBuffer(bytes: rest.prefix(count)))
            if count < rest.count { throw CancellationError() }
            try await writer.finish(nil)
        }
        guard start > 0 else { return Response(status: .ok, body: body) }
        return Response(
            status: .partialContent,
            headers: [.contentRange: "bytes \(start)-\(bytes.count - 1)/\(bytes.count)"], body: body)
    }

    @Test(arguments: [true, false]) func aCutTransferGoesOn(honoursRanges: Bool) async throws {
        let seen = Log<String>()
        try await withResponder({ request in
            let earlier = seen.count(request.headers[.range] ?? "")
            if request.method == .head { return Response(status: .ok, headers: [.contentLength: "200000"]) }
            return Self.cut(request, after: 50_000 * (earlier + 1), honoursRanges: honoursRanges)
        }) { port in
            let digest = Digest.sha256(of: Self.bytes)
            let received = try await remote(port).readBlob(digest, in: name)
            #expect(received == Self.bytes)
            #expect(seen.all.contains { $0.hasPrefix("bytes=") })
        }
    }

    @Test func aTransferThatNeverEndsIsGivenUp() async throws {
        try await withResponder({ Self.cut($0, after: 0) }) { port in
            let error = await #expect(throws: RegistryError.self) {
                try await remote(port).readBlob(.sha256(of: Self.bytes), in: name, range: nil) { _ in }
            }
            #expect(error?.code == .transport)
        }
    }

    @Test func otherBytesThanAskedForAreNoticed() async throws {
        try await withResponder({ request in
            let body = Array("not what was asked for".utf8)
            let isManifest = request.uri.path.contains("/manifests/")
            return Response(
                status: .ok, headers: [.contentType: isManifest ? MediaType.imageManifest : MediaType.octetStream],
                body: .init(byteBuffer: ByteBuffer(bytes: body)))
        }) { port in
            let remote = try remote(port)
            let digest = Digest.sha256(of: Self.bytes)
            let blob = await #expect(throws: RegistryError.self) {
                try await remote.readBlob(digest, in: name, range: nil) { _ in }
            }
            #expect(blob?.code == .corrupt)
            let manifest = await #expect(throws: RegistryError.self) {
                try await remote.manifest(.digest(digest), in: name)
            }
            #expect(manifest?.code == .corrupt)
            let html = await #expect(throws: RegistryError.self) { try await remote.manifest(.tag(.latest), in: name) }
            #expect(html?.code == .manifestInvalid)
        }
    }

    @Test func downloadsGoOnInTheirFile() async throws {
        let ranges = Log<String>()
        try await withResponder({ request in
            ranges.add(request.headers[.range] ?? "")
            return Self.cut(request, after: .max)
        }) { port in
            try await withFolder { folder in
                let digest = Digest.sha256(of: Self.bytes)
                let partial = folder + "/partial/sha256-\(digest.hex)"
                try FileManager.default.createDirectory(
                    atPath: folder + "/partial", withIntermediateDirectories: true)
                #expect(FileManager.default.createFile(atPath: partial, contents: Data(Self.bytes.prefix(123_456))))
                try await remote(port).downloadBlob(
                    digest, size: Self.bytes.count, in: name, to: folder + "/blob",
                    partialDirectory: folder + "/partial")
                #expect(FileManager.default.contents(atPath: folder + "/blob") == Data(Self.bytes))
                #expect(!FileManager.default.fileExists(atPath: partial))
                #expect(ranges.all == ["bytes=123456-199999"])
                // What is there already is not fetched again.
                try await remote(port).downloadBlob(
                    digest, size: Self.bytes.count, in: name, to: folder + "/blob",
                    partialDirectory: folder + "/partial")
                #expect(ranges.all.count == 1)
                // A damaged partial file is thrown away and the blob fetched from its beginning.
                try FileManager.default.removeItem(atPath: folder + "/blob")
                #expect(FileManager.default.createFile(atPath: partial, contents: Data(repeating: 1, count: 100)))
                try await remote(port).downloadBlob(
                    digest, size: Self.bytes.count, in: name, to: folder + "/blob",
                    partialDirectory: folder + "/partial")
                #expect(FileManager.default.contents(atPath: folder + "/blob") == Data(Self.bytes))
            }
        }
    }

    @Test func aBlobThatStaysWrongIsRefusedWithBothDigests() async throws {
        try await withResponder({ Self.cut($0, after: .max) }) { port in
            try await withFolder { folder in
                let digest = Digest.sha256(of: [1])
                let error = await #expect(throws: RegistryError.self) {
                    try await remote(port).downloadBlob(
                        digest, size: Self.bytes.count, in: name, to: folder + "/blob",
                        partialDirectory: folder + "/partial")
                }
                #expect(error?.code == .corrupt)
                #expect(error?.message.contains(digest.hex) == true)
                #expect(error?.message.contains(Digest.sha256(of: Self.bytes).hex) == true)
                #expect(!FileManager.default.fileExists(atPath: folder + "/blob"))
            }
        }
    }

    @Test func overloadIsWaitedOut() async throws {
        let seen = Log<Int>()
        try await withResponder({ _ in
            switch seen.count(0) {
            case 0: Response(status: .tooManyRequests, headers: [.retryAfter: "0"])
            case 1: Response(status: .serviceUnavailable)
            default: Response(status: .ok)
            }
        }) { port in
            try await remote(port).ping()
            #expect(seen.all.count == 3)
        }
    }

    @Test func tokensAreFetchedAndReused() async throws {
        let requests = Log<String>()
        let realm = Log<String>()
        try await withResponder({ request in
            requests.add("\(request.uri.path) \(request.headers[.authorization] ?? "-")")
            if request.uri.path == "/token" {
                let isScoped = request.uri.description.contains("scope=repository%3Ademo%2Fgloss%3Apull")
                guard isScoped, request.headers[.authorization] == "Basic YWxpY2U6cHc=" else {
                    return Response(status: .unauthorized)
                }
                let body = ByteBuffer(string: "{\"token\":\"abc\",\"expires_in\":300}")
                return Response(status: .ok, body: .init(byteBuffer: body))
            }
            guard request.headers[.authorization] == "Bearer abc" else {
                let challenge = "Bearer realm=\"\(realm.all[0])\",service=\"test\",scope=\"repository:demo/gloss:pull\""
                return Response(status: .unauthorized, headers: [.wwwAuthenticate: challenge])
            }
            return Response(status: .notFound)
        }) { port in
            realm.add("http://127.0.0.1:\(port)/token")
            let remote = try remote(port) { options in
                options.credentials = { _ in .password(user: "alice", password: "pw") }
            }
            #expect(try await remote.manifest(.tag(.latest), in: name) == nil)
            #expect(try await remote.manifest(.tag(.version(1)), in: name) == nil)
            #expect(requests.all.filter { $0.hasPrefix("/token") }.count == 1)
            #expect(requests.all.last == "/v2/demo/gloss/manifests/v1 Bearer abc")
        }
    }

    @Test func passwordsAreNotSentInTheClearToOtherHosts() async throws {
        try await withResponder({ _ in
            let challenge = "Bearer realm=\"http://tokens.invalid/token\",service=\"test\""
            return Response(status: .unauthorized, headers: [.wwwAuthenticate: challenge])
        }) { port in
            let remote = try remote(port) { $0.credentials = { _ in .password(user: "a", password: "b") } }
            let error = await #expect(throws: RegistryError.self) { try await remote.ping() }
            #expect(error?.code == .unauthorized)
            #expect(error?.message.contains("token server") == true)
        }
    }

    @Test func credentialsDoNotFollowRedirects() async throws {
        let authorizations = Log<String>()
        try await withResponder({ request in
            authorizations.add(request.headers[.authorization] ?? "-")
            return Self.cut(request, after: .max)
        }) { storagePort in
            try await withResponder({ request in
                guard request.headers[.authorization] == "Basic YWxpY2U6cHc=" else {
                    return Response(status: .unauthorized, headers: [.wwwAuthenticate: "Basic realm=\"x\""])
                }
                return Response(
                    status: .temporaryRedirect, headers: [.location: "http://127.0.0.1:\(storagePort)/storage"])
            }) { port in
                let remote = try remote(port) { options in
                    options.credentials = { _ in .password(user: "alice", password: "pw") }
                }
                let collected = ByteCollector()
                try await remote.readBlob(.sha256(of: Self.bytes), in: name, range: nil) { collected.append($0) }
                #expect(collected.bytes == Self.bytes)
                #expect(authorizations.all == ["-"])
            }
        }
    }

    @Test func wrongPasswordsAreToldWithAdvice() async throws {
        try await withResponder({ _ in
            Response(status: .unauthorized, headers: [.wwwAuthenticate: "Basic realm=\"x\""])
        }) { port in
            let remote = try remote(port) { $0.credentials = { _ in .password(user: "a", password: "b") } }
            let error = await #expect(throws: RegistryError.self) { try await remote.ping() }
            #expect(error?.code == .unauthorized)
        }
    }

    @Test func aFallbackTagThatHoldsNoIndexIsIgnored() async throws {
        // GitLab answers the fallback tag with the subject itself.
        let anchor = BaseAnchor(fingerprint: .sha256(of: [1]))
        try await withResponder({ request in
            guard request.uri.path.contains("/manifests/sha256-") else { return Response(status: .notFound) }
            return Response(
                status: .ok, headers: [.contentType: MediaType.imageManifest],
                body: .init(byteBuffer: ByteBuffer(bytes: anchor.bytes)))
        }) { port in
            let found = try await remote(port).referrers(of: anchor.digest, artifactType: nil, in: name)
            #expect(found.isEmpty)
        }
    }

    @Test func warningsAreReportedOnce() async throws {
        let warnings = Log<String>()
        try await withResponder({ _ in
            Response(status: .ok, headers: [HTTPField.Name("Warning")!: "299 - \"soon read-only\""])
        }) { port in
            let remote = try remote(port) { $0.onWarning = { warnings.add($0) } }
            try await remote.ping()
            try await remote.ping()
            #expect(warnings.all == ["soon read-only"])
        }
    }
}

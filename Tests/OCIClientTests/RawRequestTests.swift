import Foundation
import OCIArtifacts
import OCIServer
import PromptRegistry
import Testing

/// Requests that no client library sends, over a socket.
@Suite struct RawRequestTests {
    /// Sends bytes and reads until the server closes, or until `enough` has come.
    private static func exchange(_ port: Int, _ text: String, enough: String? = nil) async throws -> String {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
                defer { close(descriptor) }
                var limit = timeval(tv_sec: 60, tv_usec: 0)
                setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
                var address = sockaddr_in()
                address.sin_family = sa_family_t(AF_INET)
                address.sin_port = in_port_t(port).bigEndian
                address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
                let connected = withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
                guard connected == 0 else {
                    return continuation.resume(throwing: RegistryError(.transport, "no connection"))
                }
                let bytes = Array(text.utf8)
                _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
                var answer: [UInt8] = []
                var buffer = [UInt8](repeating: 0, count: 4096)
                while true {
                    let count = recv(descriptor, &buffer, buffer.count, 0)
                    if count < 0, errno == EAGAIN {
                        return continuation.resume(throwing: RegistryError(.transport, "the server kept waiting"))
                    }
                    if count <= 0 { break }
                    answer += buffer[..<count]
                    if let enough, String(decoding: answer, as: UTF8.self).contains(enough) { break }
                }
                continuation.resume(returning: String(decoding: answer, as: UTF8.self))
            }
        }
    }

    private static func withServer(
        _ store: MemoryStore = MemoryStore(), change: (inout RegistryServer.Limits) -> Void = { _ in },
        _ body: @Sendable (Int) async throws -> Void
    ) async throws {
        var limits = RegistryServer.Limits()
        change(&limits)
        try await OCIClientTests.withServer(
            { [limits] onListening in
                try await RegistryServer.run(store: store, limits: limits, logger: quiet, onListening: onListening)
            }, body)
    }

    @Test func aBodyThatTricklesIsGivenUp() async throws {
        let store = MemoryStore()
        try await Self.withServer(store, change: { $0.bodySeconds = 1 }) { port in
            let digest = Digest.sha256(of: [1])
            let request =
                "POST /v2/a/blobs/uploads/?digest=\(digest) HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nslow"
            // The connection ends; without the check this waits for bytes for ever.
            _ = try await Self.exchange(port, request)
        }
        #expect(try await store.repositories().isEmpty)
    }

    @Test func aHeadThatNeverEndsIsGivenUp() async throws {
        try await Self.withServer(change: { $0.idleSeconds = 1 }) { port in
            let answer = try await Self.exchange(port, "GET /v2/ HTTP/1.1\r\nHost: x\r\n")
            #expect(!answer.contains("200 OK"))
        }
    }

    @Test(arguments: [
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost : x\r\n\r\n", "GET /v2/ HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
        "\0\0\0\0", "GET /v2/ HTTP/9.9\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + String(repeating: "a", count: 100_000) + "\r\n\r\n",
    ])
    func ambiguousAndOversizedRequestsAreRefused(_ request: String) async throws {
        let store = MemoryStore()
        try await Self.withServer(store, change: { $0.idleSeconds = 2 }) { port in
            let answer = try await Self.exchange(port, request)
            #expect(!answer.contains("200 OK") && !answer.contains("202 Accepted"))
        }
        #expect(try await store.repositories().isEmpty)
    }

    @Test func afterAllThatTheServerStillAnswers() async throws {
        try await Self.withServer { port in
            _ = try await Self.exchange(port, "BREW / HTTP/1.1\r\nHost: x\r\n\r\n", enough: "\r\n\r\n")
            let answer = try await Self.exchange(port, "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", enough: "{}")
            #expect(answer.contains("200 OK"))
        }
    }
}

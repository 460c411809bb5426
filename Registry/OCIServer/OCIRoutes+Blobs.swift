import HTTPTypes
import Hummingbird
import OCIArtifacts
import PromptRegistry

// Blobs: end-2 and end-10.
extension OCIRoutes {
    /// Blobs up to this size are read before the answer begins: one write to the socket, and a damaged one is an honest
    /// 500 instead of a connection that breaks off.
    private static let inMemorySize = 1 << 20

    func getBlob(_ text: String, _ name: RepositoryName, _ request: Request) async throws -> Response {
        let digest = try digest(text, name)
        guard let info = try await store.blob(digest, in: name) else {
            throw RegistryError.unknownBlob(digest, in: name)
        }
        var headers: HTTPFields = [
            .contentType: MediaType.octetStream, .acceptRanges: "bytes", .eTag: "\"\(digest)\"",
            .dockerContentDigest: digest.description,
        ]
        if request.method == .head {
            headers[.contentLength] = String(info.size)
            return Response(status: .ok, headers: headers)
        }
        // A condition that does not hold turns the request into one for the whole blob (RFC 9110, section 13.1.5).
        let isSame = request.headers[.ifRange].map { $0 == "\"\(digest)\"" } ?? true
        switch RequestedRange(isSame ? request.headers[.range] : nil, size: info.size) {
        case .whole:
            return try await blobResponse(digest, name, 0..<info.size, .ok, headers)
        case .part(let part):
            headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(info.size)"
            return try await blobResponse(digest, name, part, .partialContent, headers)
        case .unsatisfiable:
            throw OCIError(
                .rangeNotSatisfiable, .sizeInvalid,
                "blob \(digest) has \(info.size) bytes; no part of the range asked for is in it", repository: name,
                digest: digest, headers: [.contentRange: "bytes */\(info.size)"])
        }
    }

    private func blobResponse(
        _ digest: Digest, _ name: RepositoryName, _ part: Range<Int>, _ status: HTTPResponse.Status,
        _ headers: HTTPFields
    ) async throws -> Response {
        if part.count <= Self.inMemorySize {
            let collected = ByteCollector(capacity: part.count)
            if !part.isEmpty {
                try await store.readBlob(digest, in: name, range: part) { _ = collected.append($0) }
            }
            let bytes = collected.bytes
            guard bytes.count == part.count else {
                throw RegistryError(
                    .corrupt, "blob \(digest) gave \(bytes.count) of \(part.count) bytes", repository: name,
                    digest: digest)
            }
            return Response(
                status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
        }
        let store = store
        let body = ResponseBody(contentLength: part.count) { writer in
            let lent = LentWriter(writer)
            try await store.readBlob(digest, in: name, range: part) { try await lent.write($0) }
            writer = lent.writer
            try await writer.finish(nil)
        }
        return Response(status: status, headers: headers, body: body)
    }

    func deleteBlob(_ text: String, _ name: RepositoryName) async throws -> Response {
        let digest = try digest(text, name)
        try await deleting(leaving: "GET, HEAD") { try await store.deleteBlob(digest, in: name) }
        return Response(status: .accepted)
    }
}

/// Carries a response's writer into the closure that a store calls.
///
/// `@unchecked Sendable`: the store calls the closure for one chunk at a time and is done before the writer is taken
/// back, so there is never more than one user.
private final class LentWriter: @unchecked Sendable {
    private(set) var writer: any ResponseBodyWriter

    init(_ writer: any ResponseBodyWriter) { self.writer = writer }

    func write(_ chunk: [UInt8]) async throws { try await writer.write(ByteBuffer(bytes: chunk)) }
}

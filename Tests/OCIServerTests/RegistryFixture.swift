import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import OCIArtifacts
import OCIServer
import PromptRegistry
import Testing

/// The stores that every route is tried on.
enum StoreKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case memory, embedded

    var testDescription: String { rawValue }
}

/// A registry in this process, spoken to without a socket.
struct RegistryFixture: Sendable {
    let client: any TestClientProtocol

    static func run(
        _ kind: StoreKind, options: OCIRoutes.Options = .init(),
        _ body: @Sendable (RegistryFixture) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("incipit-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let store: any UploadStore =
            switch kind {
            case .memory: MemoryStore()
            case .embedded: try EmbeddedStore(path: folder.path)
            }
        let router = Router()
        OCIRoutes(store: store, options: options).add(to: router)
        try await Application(router: router).test(.router) { try await body(RegistryFixture(client: $0)) }
    }

    func send(
        _ method: HTTPRequest.Method, _ uri: String, _ headers: HTTPFields = [:], body: [UInt8]? = nil
    ) async throws -> TestResponse {
        let response = try await client.executeRequest(
            uri: uri, method: method, headers: headers, body: body.map { ByteBuffer(bytes: $0) })
        #expect(response.headers[.init("Docker-Distribution-Api-Version")!] == "registry/2.0" || !uri.hasPrefix("/v2"))
        return response
    }

    /// POST, then PUT with the bytes.
    @discardableResult
    func push(
        _ bytes: [UInt8], to name: String, algorithm: Digest.Algorithm = .sha256, headers: HTTPFields = [:]
    ) async throws -> Digest {
        let digest = Digest.of(bytes, algorithm: algorithm)
        let begun = try await send(.post, "/v2/\(name)/blobs/uploads/", headers)
        #expect(begun.status == .accepted)
        let place = try #require(begun.headers[.location])
        let done = try await send(.put, "\(place)?digest=\(digest)", headers, body: bytes)
        #expect(done.status == .created)
        #expect(done.headers[.location] == "/v2/\(name)/blobs/\(digest)")
        return digest
    }

    @discardableResult
    func put(
        _ manifest: Manifest, to name: String, as reference: String? = nil, headers: HTTPFields = [:]
    ) async throws -> (digest: Digest, response: TestResponse) {
        let bytes = manifest.serialized
        let digest = Digest.sha256(of: bytes)
        var headers = headers
        headers[.contentType] = manifest.mediaType
        let response = try await send(
            .put, "/v2/\(name)/manifests/\(reference ?? digest.description)", headers, body: bytes)
        return (digest, response)
    }

    /// A manifest with one layer, whose blobs are pushed.
    func manifest(
        _ content: String, in name: String, subject: Descriptor? = nil, artifactType: String = "application/x.test",
        annotations: [String: String] = [:], headers: HTTPFields = [:]
    ) async throws -> Manifest {
        let bytes = Array(content.utf8)
        try await push(bytes, to: name, headers: headers)
        try await push(Descriptor.emptyContent, to: name, headers: headers)
        return Manifest(
            artifactType: artifactType, config: .empty,
            layers: [Descriptor(of: bytes, mediaType: "application/octet-stream")], subject: subject,
            annotations: annotations)
    }
}

extension TestResponse {
    var bytes: [UInt8] { Array(body.readableBytesView) }
    func header(_ name: String) -> String? { HTTPField.Name(name).flatMap { headers[$0] } }
    var json: JSONNode? { try? JSONNode.parse(bytes) }
    /// The code of the first error in the body.
    var errorCode: String? { json?["errors"]?.array?.first?["code"]?.string }
    var tags: [String]? { json?["tags"]?.array?.compactMap(\.string) }
}

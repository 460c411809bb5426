import HTTPTypes
import Hummingbird
import HummingbirdTesting
import OCIArtifacts
import OCIServer
import PromptRegistry
import TestSupport
import Testing

/// Random requests to uploads, against a model of what an upload is: some bytes, or gone.
@Suite struct UploadStateMachineTests {
    private struct Draw {
        var state: UInt64
        mutating func next(_ count: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % count
        }
    }

    @Test(arguments: StoreKind.allCases, [1, 2, 3, 4] as [UInt64])
    func everySequenceOfRequestsDoesWhatTheSpecSays(_ kind: StoreKind, _ seed: UInt64) async throws {
        try await RegistryFixture.run(kind) { registry in
            var draw = Draw(state: seed)
            var finished: [Digest: [UInt8]] = [:]
            for _ in 0..<25 {
                var place = try #require(try await registry.send(.post, "/v2/a/blobs/uploads/").headers[.location])
                var bytes: [UInt8] = []
                var isOpen = true
                for _ in 0..<(1 + draw.next(12)) {
                    let chunk = RegistryStoreChecks.noise(1 + draw.next(3000), seed: UInt64(draw.next(1000)))
                    let (start, end) = (bytes.count, bytes.count + chunk.count)
                    let response: TestResponse
                    switch draw.next(9) {
                    case 0, 1:
                        response = try await registry.send(
                            .patch, place, [.contentRange: "\(start)-\(end - 1)"], body: chunk)
                        #expect(response.status == (isOpen ? .accepted : .notFound))
                        if isOpen { bytes += chunk }
                    case 2:
                        response = try await registry.send(.patch, place, body: chunk)
                        #expect(response.status == (isOpen ? .accepted : .notFound))
                        if isOpen { bytes += chunk }
                    case 3:
                        let wrong = start + 1 + draw.next(50)
                        response = try await registry.send(
                            .patch, place, [.contentRange: "\(wrong)-\(wrong + chunk.count - 1)"], body: chunk)
                        #expect(response.status == (isOpen ? .rangeNotSatisfiable : .notFound))
                    case 4:
                        response = try await registry.send(
                            .patch, place, [.contentRange: "\(end)-\(start)x"], body: chunk)
                        #expect(response.status == (isOpen ? .rangeNotSatisfiable : .notFound))
                    case 5:
                        response = try await registry.send(.get, place)
                        #expect(response.status == (isOpen ? .noContent : .notFound))
                        if isOpen { #expect(response.headers[.range] == "0-\(max(0, start - 1))") }
                    case 6:
                        let whole = bytes + chunk
                        let digest = Digest.sha256(of: whole)
                        response = try await registry.send(.put, "\(place)?digest=\(digest)", body: chunk)
                        #expect(response.status == (isOpen ? .created : .notFound))
                        if isOpen { finished[digest] = whole }
                        isOpen = false
                    case 7:
                        let digest = Digest.of(bytes, algorithm: .sha512)
                        response = try await registry.send(.put, "\(place)?digest=\(digest)")
                        #expect(response.status == (isOpen ? .created : .notFound))
                        if isOpen { finished[digest] = bytes }
                        isOpen = false
                    default:
                        let digest = Digest.sha256(of: bytes + [0])
                        response =
                            draw.next(2) == 0
                            ? try await registry.send(.put, "\(place)?digest=\(digest)", body: chunk)
                            : try await registry.send(.delete, place)
                        #expect(isOpen ? [400, 204].contains(response.status.code) : response.status == .notFound)
                        isOpen = false
                    }
                    place = response.headers[.location].flatMap { $0.contains("/uploads/") ? $0 : nil } ?? place
                }
            }
            for (digest, bytes) in finished {
                #expect(try await registry.send(.get, "/v2/a/blobs/\(digest)").bytes == bytes)
            }
        }
    }
}

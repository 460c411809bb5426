import Foundation
import OCIArtifacts
import OCIClient
import PromptRegistry
import Testing

private let registryPath = "/usr/bin/docker-registry"

/// Debian's docker-registry as the other side: a registry without referrers API, tag deletion or sha512.
@Suite(.enabled(if: FileManager.default.isExecutableFile(atPath: registryPath))) struct DockerRegistryTests {
    @Test func aPromptMakesTheRoundTripAndItsReferrersAreFound() async throws {
        try await withDockerRegistry { remote in
            let name = try RepositoryName("demo/gloss")
            try await remote.ping()
            let anchor = BaseAnchor(fingerprint: .sha256(of: [1]))
            try await remote.writeBlob(Descriptor.emptyContent, in: name)
            _ = try await remote.putManifest(
                anchor.bytes, mediaType: anchor.manifest.mediaType, as: .tag(anchor.tag), tags: [], in: name)
            let manifest = try await push("prompt", to: remote, name, subject: anchor.descriptor)
            let receipt = try await put(manifest, to: remote, name, [.version(1), .latest])
            #expect(try await remote.manifest(.tag(.version(1)), in: name)?.bytes == manifest.serialized)
            #expect(try await remote.readBlob(manifest.layers[0].digest, in: name) == Array("prompt".utf8))
            let referrers = try await remote.referrers(
                of: anchor.digest, artifactType: "application/x.test", in: name)
            #expect(referrers.map(\.digest) == [receipt.digest])
            let tags = try await remote.tags(in: name, last: nil, limit: nil)
            #expect(
                tags == [anchor.tag, .latest, .referrersFallback(for: anchor.digest), .version(1)].sorted())
            #expect(try await remote.tags(in: name, last: "latest", limit: 1).count == 1)
            #expect(try await remote.repositories() == [name])
            let other = try RepositoryName("demo/other")
            #expect(try await remote.mountBlob(manifest.layers[0].digest, from: name, to: other))
            let refused = await #expect(throws: RegistryError.self) {
                try await remote.deleteManifest(.tag(.latest), in: name)
            }
            #expect(refused?.code == .unsupported)
            try await remote.deleteManifest(.digest(receipt.digest), in: name)
            #expect(try await remote.referrers(of: anchor.digest, artifactType: nil, in: name).isEmpty)
        }
    }

    @Test func promptsAreListedByTheirBase() async throws {
        try await withDockerRegistry { remote in
            try await PromptListingTests.fill(remote)
            try await PromptListingTests.check(remote)
        }
    }

    @Test func blobsGoInPieces() async throws {
        try await withDockerRegistry { first in
            var options = RemoteStore.Options()
            options.chunkSize = 70_000
            let remote = RemoteStore(host: first.host, options: options)
            let name = try RepositoryName("demo/gloss")
            let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 17 >> 3) }
            let digest = try await remote.writeBlob(bytes, in: name)
            #expect(try await remote.readBlob(digest, in: name) == bytes)
        }
    }

    private func withDockerRegistry(_ body: @Sendable (RemoteStore) async throws -> Void) async throws {
        try await withFolder { folder in
            // Port 0 would not be told to us, so take one that was free a moment ago.
            let free = Log<String>()
            try await withRegistry { free.add($0.host.authority) }
            let address = free.all[0]
            let configuration = """
                version: 0.1
                log: {level: error, accesslog: {disabled: true}}
                storage: {filesystem: {rootdirectory: \(folder)/data}, delete: {enabled: true}}
                http: {addr: "\(address)"}
                """
            #expect(FileManager.default.createFile(atPath: folder + "/config.yml", contents: Data(configuration.utf8)))
            let process = Process()
            process.executableURL = URL(fileURLWithPath: registryPath)
            process.arguments = ["serve", folder + "/config.yml"]
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            defer {
                process.terminate()
                process.waitUntilExit()
            }
            var options = RemoteStore.Options()
            options.maximumAttempts = 10
            options.retryDelay = .milliseconds(50)
            try await body(RemoteStore(host: try RegistryHost(address), options: options))
        }
    }
}

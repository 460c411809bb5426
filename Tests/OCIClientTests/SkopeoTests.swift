import Foundation
import OCIArtifacts
import OCIClient
import PromptRegistry
import Testing

private let skopeoPath = "/usr/bin/skopeo"

/// skopeo as the other side of our server.
@Suite(.enabled(if: FileManager.default.isExecutableFile(atPath: skopeoPath))) struct SkopeoTests {
    @Test func anArtifactGoesToAFolderAndBackUnchanged() async throws {
        try await withFolder { folder in
            try await withRegistry(try EmbeddedStore(path: folder + "/store")) { remote in
                let name = try RepositoryName("demo/gloss")
                let anchor = BaseAnchor(fingerprint: .sha256(of: [1]))
                let content = String(repeating: "prompt ", count: 60_000)
                let manifest = try await push(content, to: remote, name, subject: anchor.descriptor)
                _ = try await put(manifest, to: remote, name, [.version(1)])
                let host = remote.host.authority
                let layout = "oci:\(folder)/layout:v1"
                try await skopeo(folder, "copy", "--src-tls-verify=false", "docker://\(host)/demo/gloss:v1", layout)
                let digest = Digest.sha256(of: manifest.serialized)
                let copied = FileManager.default.contents(atPath: "\(folder)/layout/blobs/sha256/\(digest.hex)")
                #expect(copied == Data(manifest.serialized))
                try await skopeo(folder, "copy", "--dest-tls-verify=false", layout, "docker://\(host)/demo/back:v1")
                let back = try RepositoryName("demo/back")
                #expect(try await remote.manifest(.tag(.version(1)), in: back)?.bytes == manifest.serialized)
                #expect(try await remote.readBlob(manifest.layers[0].digest, in: back) == Array(content.utf8))
                let found = try await remote.referrers(of: anchor.digest, artifactType: nil, in: back)
                #expect(found.map(\.digest) == [digest])
                let listed = try await skopeo(folder, "list-tags", "--tls-verify=false", "docker://\(host)/demo/back")
                #expect(listed.contains("\"v1\""))
            }
        }
    }

    @discardableResult
    private func skopeo(_ folder: String, _ arguments: String...) async throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: skopeoPath)
        process.arguments = ["--insecure-policy"] + arguments
        // Its memory of where blobs are belongs to this test alone.
        process.environment = ["HOME": folder, "PATH": "/usr/bin:/bin", "XDG_DATA_HOME": folder + "/data"]
        let output = folder + "/output-\(UUID().uuidString)"
        #expect(FileManager.default.createFile(atPath: output, contents: nil))
        let handle = try #require(FileHandle(forWritingAtPath: output))
        process.standardOutput = handle
        process.standardError = handle
        let status = try await withCheckedThrowingContinuation { (done: CheckedContinuation<Int32, any Error>) in
            process.terminationHandler = { done.resume(returning: $0.terminationStatus) }
            do { try process.run() } catch { done.resume(throwing: error) }
        }
        let text = String(decoding: FileManager.default.contents(atPath: output) ?? Data(), as: UTF8.self)
        #expect(status == 0, "skopeo \(arguments.joined(separator: " ")): \(text)")
        return text
    }
}

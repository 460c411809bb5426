import Dispatch
import OCIArtifacts
import PromptRegistry

/// Reads the bytes as a manifest, as an image index and as JSON, and pushes them to a registry: by tag, by digest, with the
/// blobs that they name where those can be made.
///
/// What is understood must survive being written and read again, and what a registry takes it must give back unchanged.
@Sendable func admitManifest(_ bytes: [UInt8]) {
    if let node = try? JSONNode.parse(bytes) {
        let canonical = node.canonical
        precondition((try? JSONNode.parse(canonical)) == node, "canonical JSON is read as something else")
        precondition((try? JSONNode.parse(canonical))?.canonical == canonical, "canonical JSON has two forms")
    }
    let text = String(decoding: bytes.prefix(512), as: UTF8.self)
    if let reference = try? Reference(text) {
        precondition((try? Reference(reference.description)) == reference, "\(reference) is read as something else")
    }
    for type in [nil, MediaType.imageManifest, MediaType.imageIndex] {
        guard let manifest = try? Manifest.parse(bytes, mediaType: type) else { continue }
        let written = manifest.serialized
        guard let again = try? Manifest.parse(written) else { preconditionFailure("a written manifest is refused") }
        precondition(again.serialized == written, "a manifest has two forms")
        consume(manifest.referrerDescriptor(digest: .sha256(of: bytes), size: bytes.count).node.canonical.count)
        consume(manifest.requiredBlobs.count)
    }
    runToEnd {
        let store = MemoryStore()
        guard let name = try? RepositoryName("fuzz/manifest"), let tag = try? Tag("some") else { return }
        _ = try await store.writeBlob(Descriptor.emptyContent, in: name)
        for reference in [ManifestReference.tag(tag), .digest(.sha256(of: bytes))] {
            guard
                let receipt = try? await store.putManifest(
                    bytes, mediaType: "", as: reference, tags: [tag], in: name)
            else { continue }
            let stored = try await store.manifest(.digest(receipt.digest), in: name)
            precondition(stored?.bytes == bytes, "a manifest came back changed")
            let named = try await store.digest(of: tag, in: name)
            precondition(named == receipt.digest, "the tag names something else")
            if let subject = receipt.subject {
                let found = try await store.referrers(of: subject, artifactType: nil, in: name)
                precondition(found.contains { $0.digest == receipt.digest }, "the referrer is not listed")
            }
            try await store.deleteManifest(.digest(receipt.digest), in: name)
            let left = try await store.manifest(reference, in: name)
            precondition(left == nil, "a deleted manifest is still there")
        }
    }
}

/// Waits for asynchronous work, of which there is one at a time. Errors are answers like any other.
func runToEnd(_ body: @escaping @Sendable () async throws -> Void) {
    let done = DispatchSemaphore(value: 0)
    Task.detached {
        try? await body()
        done.signal()
    }
    done.wait()
}

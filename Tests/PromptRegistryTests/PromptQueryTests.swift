import Foundation
import OCIArtifacts
import TestSupport
import Testing

@testable import PromptRegistry

@Suite struct PromptQueryTests {
    /// A prompt's manifest without a prompt: what is searched is the catalogue.
    private static func put(
        _ store: any RegistryStore, _ name: String, base: Digest, _ annotations: [String: String], version: Int,
        parent: Digest? = nil
    ) async throws -> Digest {
        let repository = try RepositoryName(name)
        try await store.writeBlob(Descriptor.emptyContent, in: repository)
        var all = annotations
        all[AnnotationKey.baseFingerprint] = base.description
        all["n"] = String(version)
        if let parent { all[AnnotationKey.parent] = parent.description }
        let manifest = Manifest(
            artifactType: MediaType.softPrompt, config: .empty, layers: [.empty],
            subject: BaseAnchor(fingerprint: base).descriptor, annotations: all)
        return try await store.putManifest(
            manifest.serialized, mediaType: manifest.mediaType, as: .tag(.version(version)), tags: [], in: repository
        ).digest
    }

    @Test func embeddedAndPlainStoresFindTheSame() async throws {
        let folder = try TemporaryFolder()
        let embedded = try folder.open()
        let memory = MemoryStore()
        let bases = [Digest.sha256(of: [1]), Digest.sha256(of: [2])]
        for store in [embedded, memory] as [any RegistryStore] {
            for index in 0..<24 {
                _ = try await Self.put(
                    store, "team/p\(index % 3)", base: bases[index % 2],
                    [
                        "dev.incipit.task": ["gloss", "sentiment"][index % 2],
                        "dev.incipit.label.owner": ["ann", "bob", "cy", "di"][index % 4],
                        "dev.incipit.metric.accuracy": "\(Double(index) / 24)",
                        "dev.incipit.metric.kl": index % 5 == 0 ? "n/a" : "\(index)",
                    ], version: index + 1)
            }
        }
        func both(_ change: (inout PromptQuery) -> Void) async throws -> Set<Digest> {
            var query = PromptQuery()
            change(&query)
            let first = try await PromptRegistry(embedded).search(query)
            let second = try await PromptRegistry(memory).search(query)
            #expect(Set(first.map(\.digest)) == Set(second.map(\.digest)))
            #expect(first.allSatisfy { query.matches($0) })
            return Set(first.map(\.digest))
        }
        #expect(try await both { _ in }.count == 24)
        #expect(try await both { $0.base = bases[0] }.count == 12)
        #expect(try await both { $0.repository = try? RepositoryName("team/p1") }.count == 8)
        #expect(try await both { $0.task = "gloss" }.count == 12)
        #expect(try await both { $0.labels = ["owner": "bob"] }.count == 6)
        #expect(
            try await both {
                $0.labels = ["owner": "bob"]; $0.task = "sentiment"; $0.base = bases[1]
            }.count == 6)
        #expect(try await both { $0.metrics = [.init(name: "accuracy", isAtLeast: true, value: 0.5)] }.count == 12)
        #expect(try await both { $0.metrics = [.init(name: "kl", isAtLeast: false, value: 3)] }.count == 3)
        #expect(
            try await both {
                $0.base = bases[0]
                $0.metrics = [
                    .init(name: "accuracy", isAtLeast: true, value: 0.5),
                    .init(name: "kl", isAtLeast: false, value: 14),
                ]
            }.count == 2)
        #expect(try await both { $0.task = "' OR 1=1 --" }.isEmpty)
        // The best come first, and pages do not overlap.
        var query = PromptQuery()
        query.metrics = [.init(name: "accuracy", isAtLeast: true, value: 0)]
        query.limit = 5
        let first = try await embedded.search(query)
        query.offset = 5
        let second = try await embedded.search(query)
        #expect(
            first.compactMap { Double($0.metrics["accuracy"] ?? "") } == (19...23).reversed().map { Double($0) / 24 })
        #expect(Set(first.map(\.digest)).isDisjoint(with: second.map(\.digest)))
    }

    @Test(arguments: [
        ("accuracy>=0.9", true, 0.9), ("kl<=0.01", false, 0.01), ("a>=-1e3", true, -1000),
    ]) func boundsAreRead(_ text: String, _ isAtLeast: Bool, _ value: Double) {
        let bound = PromptQuery.MetricBound(text)
        #expect(bound?.isAtLeast == isAtLeast)
        #expect(bound?.value == value)
    }

    @Test(arguments: ["", "a", "a=1", ">=1", "a>=", "a>=x", "a>=nan", "a>=1>=2"]) func otherBoundsAreRefused(
        _ text: String
    ) {
        #expect(PromptQuery.MetricBound(text) == nil)
    }

    @Test func lineageIsATree() async throws {
        let store = MemoryStore()
        let base = Digest.sha256(of: [1])
        let root = try await Self.put(store, "a", base: base, [:], version: 1)
        let left = try await Self.put(store, "a", base: base, [:], version: 2, parent: root)
        _ = try await Self.put(store, "a", base: base, [:], version: 3, parent: root)
        _ = try await Self.put(store, "a", base: base, [:], version: 4, parent: left)
        let gone = Digest.sha256(of: [9])
        _ = try await Self.put(store, "a", base: base, [:], version: 5, parent: gone)
        let trees = LineageNode.trees(of: try await PromptRegistry(store).list(name: RepositoryName("a")))
        #expect(trees.map(\.record.version) == [1, 5])
        #expect(trees[0].children.map(\.record.version) == [2, 3])
        #expect(trees[0].children[0].children.map(\.record.version) == [4])
        #expect(trees[1].missingParent == gone)
    }

    @Test func lockFilesAreCanonicalAndChecked() throws {
        let path = NSTemporaryDirectory() + "lock-\(UUID().uuidString)"
        defer { unlink(path) }
        var lock = try LockFile(path: path)
        #expect(lock.entries.isEmpty)
        let digests = [Digest.sha256(of: [1]), Digest.sha256(of: [2])]
        lock.add(.init(name: try RepositoryName("b/x"), reference: "production", digest: digests[0], base: nil))
        lock.add(
            .init(name: try RepositoryName("a/y"), reference: nil, digest: digests[1], base: digests[0], source: "h/a"))
        lock.add(.init(name: try RepositoryName("b/x"), reference: "production", digest: digests[1], base: nil))
        #expect(lock.entries.map(\.digest) == [digests[1], digests[1]])
        try Data(lock.bytes).write(to: URL(fileURLWithPath: path))
        let again = try LockFile(path: path)
        #expect(again == lock)
        #expect(again.bytes == lock.bytes)
        for bad in [
            "", "{}", "{\"schemaVersion\":2,\"prompts\":[]}", "{\"schemaVersion\":1,\"prompts\":[{\"name\":\"a\"}]}",
        ] {
            try Data(bad.utf8).write(to: URL(fileURLWithPath: path))
            #expect(throws: RegistryError.self) { try LockFile(path: path) }
        }
    }
}

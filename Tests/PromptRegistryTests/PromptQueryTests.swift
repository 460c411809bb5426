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

    @Test func pagesGoOnBehindAPromptWhateverHappensMeanwhile() async throws {
        let folder = try TemporaryFolder()
        let embedded = try folder.open()
        let memory = MemoryStore()
        let bases = [Digest.sha256(of: [1]), Digest.sha256(of: [2])]
        func put(_ index: Int) async throws {
            for store in [embedded, memory] as [any RegistryStore] {
                _ = try await Self.put(
                    store, "team/p\(index % 2)", base: bases[index % 3 == 0 ? 0 : 1],
                    [
                        "dev.incipit.task": "gloss", "dev.incipit.label.owner": ["ann", "bob"][index / 2 % 2],
                        // Many are equal, so that their order has to be settled by more than the number.
                        "dev.incipit.metric.accuracy": "0.\(index / 8)", "dev.incipit.metric.kl": "\(index % 4)",
                    ], version: index + 1)
            }
        }
        for index in 0..<40 { try await put(index) }
        let changes: [(inout PromptQuery) -> Void] = [
            { _ in }, { $0.base = bases[0] }, { $0.repository = try? RepositoryName("team/p1") }, { $0.task = "gloss" },
            {
                $0.labels = ["owner": "bob"]; $0.task = "gloss"
            },
            {
                $0.labels = ["owner": "bob"]; $0.base = bases[1]
            },
            { $0.metrics = [.init(name: "accuracy", isAtLeast: true, value: 0.1)] },
            { $0.metrics = [.init(name: "kl", isAtLeast: false, value: 2)] },
            {
                $0.metrics = [
                    .init(name: "accuracy", isAtLeast: true, value: 0), .init(name: "kl", isAtLeast: true, value: 1),
                ]
                $0.base = bases[1]
            },
            {
                $0.repository = try? RepositoryName("team/p0"); $0.base = bases[1]; $0.labels = ["owner": "ann"]
                $0.metrics = [.init(name: "kl", isAtLeast: false, value: 2)]
            },
        ]
        for (number, change) in changes.enumerated() {
            var query = PromptQuery()
            change(&query)
            for registry in [PromptRegistry(embedded), PromptRegistry(memory)] {
                let all = try await registry.search(query)
                #expect(!all.isEmpty && all.allSatisfy { query.matches($0) }, "query \(number)")
                var paged: [PromptRecord] = []
                var page = query
                page.limit = 3
                repeat {
                    let found = try await registry.search(page)
                    paged += found
                    page.after = found.last.map { .init(name: $0.name, digest: $0.digest) }
                } while page.after != nil
                #expect(paged == all, "query \(number)")
            }
        }
        var best = PromptQuery()
        best.base = bases[1]
        best.metrics = [.init(name: "accuracy", isAtLeast: true, value: 0)]
        let scores = try await embedded.search(best).compactMap { Double($0.metrics["accuracy"] ?? "") }
        #expect(scores.count == 26 && scores == scores.sorted(by: >))

        // Deleting what was listed and storing something new repeats nothing and leaves nothing out.
        var query = PromptQuery()
        query.limit = 10
        let first = try await embedded.search(query)
        try await embedded.deleteManifest(.digest(first[0].digest), in: first[0].name, force: true)
        try await put(40)
        query.after = .init(name: first[9].name, digest: first[9].digest)
        query.limit = nil
        let rest = try await embedded.search(query)
        #expect(rest.count == 31 && Set(rest.map(\.digest)).isDisjoint(with: first.map(\.digest)))
        var gone = PromptQuery()
        gone.after = .init(name: first[0].name, digest: first[0].digest)
        var never = PromptQuery()
        never.after = .init(name: first[0].name, digest: Digest.sha256(of: [77]))
        for (query, registry) in [
            (gone, PromptRegistry(embedded)), (never, PromptRegistry(embedded)), (never, PromptRegistry(memory)),
        ] {
            await #expect(throws: RegistryError.self) { try await registry.search(query) }
        }
    }

    @Test func aStoreWithOneConnectionDoesTheSame() async throws {
        let folder = try TemporaryFolder()
        var options = EmbeddedStore.Options()
        options.readers = 1
        let single = try EmbeddedStore(path: folder.path + "/registry", options: options)
        let base = Digest.sha256(of: [1])
        let digest = try await Self.put(single, "a", base: base, ["dev.incipit.task": "gloss"], version: 1)
        // Beside one with several, in the same folder.
        let pooled = try folder.open()
        let other = try await Self.put(pooled, "a", base: base, ["dev.incipit.task": "gloss"], version: 2)
        var query = PromptQuery()
        query.task = "gloss"
        query.base = base
        for store in [single, pooled] { #expect(try await store.search(query).map(\.digest) == [digest, other]) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 3..<40 {
                group.addTask {
                    let store = index % 2 == 0 ? single : pooled
                    _ = try await Self.put(store, "a", base: base, [:], version: index)
                    #expect(try await store.search(PromptQuery()).count >= 3)
                }
            }
            try await group.waitForAll()
        }
        #expect(try await single.verify(readData: true).isSound)
        #expect(try await single.tags(in: RepositoryName("a"), last: nil, limit: nil).count == 39)
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

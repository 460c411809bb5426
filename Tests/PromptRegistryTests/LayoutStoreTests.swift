import Foundation
import OCIArtifacts
import TestSupport
import Testing

@testable import PromptRegistry

@Suite struct LayoutStoreTests {
    private static func store(_ folder: TemporaryFolder) throws -> LayoutStore {
        try LayoutStore(path: folder.path + "/layout", repository: RepositoryName("library/x"), create: true)
    }

    @Test(arguments: RegistryStoreChecks.all)
    func keepsThePromisesOfAStore(check: RegistryStoreChecks.Check) async throws {
        let folder = try TemporaryFolder()
        defer { withExtendedLifetime(folder) {} }
        try await check.run(Self.store(folder))
    }

    /// A layout with one artifact, tagged `good`.
    private static func filled(_ folder: TemporaryFolder) async throws -> (LayoutStore, RepositoryName, Digest) {
        let store = try store(folder)
        let name = try RepositoryName("library/x")
        let bytes = try await RegistryStoreChecks.push("some content", to: store, name, tags: [Tag("good")])
        return (store, name, .sha256(of: bytes))
    }

    @Test func whatWasWrittenIsReadAgainAndFromAnArchive() async throws {
        let folder = try TemporaryFolder()
        let (store, name, digest) = try await Self.filled(folder)
        let archive = folder.path + "/layout.tar"
        try store.writeArchive(to: archive)
        for path in [folder.path + "/layout", archive] {
            let again = try LayoutStore(path: path, repository: RepositoryName("other"))
            let memory = MemoryStore()
            let receipt = try await copyArtifact(
                .tag(Tag("good")), from: again, repository: name, to: memory, repository: name)
            #expect(receipt.digest == digest)
        }
        // Equal content gives equal bytes.
        let second = folder.path + "/second.tar"
        try store.writeArchive(to: second)
        #expect(FileManager.default.contents(atPath: archive) == FileManager.default.contents(atPath: second))
        let readOnly = try LayoutStore(path: archive, repository: name)
        await #expect(throws: RegistryError.self) { try await readOnly.writeBlob([1, 2], in: name) }
    }

    @Test func tarReadsOurArchives() async throws {
        let folder = try TemporaryFolder()
        let (store, name, _) = try await Self.filled(folder)
        // A sha512 blob has a name that only a pax header can hold.
        let bytes = Array("long".utf8)
        let digest = Digest.of(bytes, algorithm: .sha512)
        let source = ChunkSource(bytes)
        try await store.writeBlob(digest, size: 4, in: name) { source.next() }
        let manifest = Manifest(
            artifactType: "application/x.test",
            config: Descriptor(mediaType: "application/x.test", digest: digest, size: 4), layers: [])
        _ = try await store.putManifest(
            manifest.serialized, mediaType: manifest.mediaType, as: .tag(Tag("long")), tags: [], in: name)
        let archive = folder.path + "/layout.tar"
        try store.writeArchive(to: archive)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/tar")
        let target = folder.path + "/unpacked"
        try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
        process.arguments = ["-xf", archive, "-C", target]
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        #expect(FileManager.default.contents(atPath: target + "/blobs/sha512/\(digest.hex)") == Data(bytes))
        let unpacked = try LayoutStore(path: target, repository: name)
        #expect(try await unpacked.tags(in: name, last: nil, limit: nil).map(\.description) == ["good", "long"])
        // And what tar packs, we read.
        let packed = folder.path + "/packed.tar"
        let pack = Process()
        pack.executableURL = URL(fileURLWithPath: "/bin/tar")
        pack.arguments = ["-cf", packed, "-C", target, "."]
        try pack.run()
        pack.waitUntilExit()
        let read = try LayoutStore(path: packed, repository: name)
        #expect(try await read.readBlob(digest, in: name) == bytes)
    }

    @Test func damageIsFound() async throws {
        let folder = try TemporaryFolder()
        let (store, name, digest) = try await Self.filled(folder)
        let manifest = try #require(try await store.manifest(.digest(digest), in: name))
        let layer = try #require(try Manifest.parse(manifest.bytes).layers.first)
        let path = folder.path + "/layout/blobs/sha256/\(layer.digest.hex)"
        var bytes = try #require(FileManager.default.contents(atPath: path))
        bytes[3] ^= 1
        try bytes.write(to: URL(fileURLWithPath: path))
        await #expect { try await store.readBlob(layer.digest, in: name) } throws: {
            ($0 as? RegistryError)?.code == .corrupt
        }
    }

    @Test(arguments: [
        "index", "marker", "no index", "link", "folder link", "missing manifest", "changed manifest", "huge",
    ])
    func hostileFoldersAreRefused(_ kind: String) async throws {
        let folder = try TemporaryFolder()
        let (_, name, digest) = try await Self.filled(folder)
        let layout = folder.path + "/layout"
        let manifest = layout + "/blobs/sha256/\(digest.hex)"
        let files = FileManager.default
        switch kind {
        case "index": try Data("{".utf8).write(to: URL(fileURLWithPath: layout + "/index.json"))
        case "marker":
            try Data("{\"imageLayoutVersion\":\"9.0.0\"}".utf8).write(to: URL(fileURLWithPath: layout + "/oci-layout"))
        case "no index": try files.removeItem(atPath: layout + "/index.json")
        case "link":
            let outside = folder.path + "/outside"
            try files.moveItem(atPath: manifest, toPath: outside)
            try files.createSymbolicLink(atPath: manifest, withDestinationPath: outside)
        case "folder link":
            try files.moveItem(atPath: layout + "/blobs", toPath: folder.path + "/elsewhere")
            try files.createSymbolicLink(atPath: layout + "/blobs", withDestinationPath: folder.path + "/elsewhere")
        case "missing manifest": try files.removeItem(atPath: manifest)
        case "changed manifest": try Data("{}".utf8).write(to: URL(fileURLWithPath: manifest))
        default:
            truncate(layout + "/index.json", 65 << 20)
        }
        #expect(throws: RegistryError.self) { try LayoutStore(path: layout, repository: name) }
    }

    /// A tar header with a right checksum.
    private static func header(_ name: String, size: String = "00000000002", type: String = "0") -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, _ offset: Int) { for (i, byte) in text.utf8.enumerated() { bytes[offset + i] = byte } }
        put(name, 0)
        put(size, 124)
        put("        ", 148)
        put(type, 156)
        put("ustar", 257)
        let sum = String(bytes.reduce(0) { $0 + Int($1) }, radix: 8)
        put(String(repeating: "0", count: 6 - sum.count) + sum, 148)
        bytes[154] = 0
        return bytes
    }

    @Test(
        arguments: [
            header("../evil"), header("/etc/passwd"), header("a/../../b"), header("x", type: "2"),
            header("x", type: "1"),
            header("x", type: "3"), header("x", size: "77777777777"), header("x", size: "9999"), header("./"),
            [UInt8](repeating: 7, count: 512), header("L", size: "77777777777", type: "L"),
            header("oci-layout") + [1, 2] + [UInt8](repeating: 0, count: 510) + header("oci-layout"),
        ] as [[UInt8]])
    func hostileArchivesAreRefused(_ header: [UInt8]) async throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/x.tar"
        try Data(header + [1, 2] + [UInt8](repeating: 0, count: 510 + 1024)).write(to: URL(fileURLWithPath: path))
        #expect(throws: RegistryError.self) { try LayoutStore(path: path, repository: RepositoryName("a")) }
    }

    @Test func entriesOfOtherToolsBelongToTheNameGiven() async throws {
        let folder = try TemporaryFolder()
        let (store, name, digest) = try await Self.filled(folder)
        let stored = try #require(try await store.manifest(.digest(digest), in: name))
        var entry = Descriptor(mediaType: stored.mediaType, digest: digest, size: stored.bytes.count)
        entry.annotations = ["org.opencontainers.image.ref.name": "latest"]
        try Data(ImageIndex(manifests: [entry]).serialized)
            .write(to: URL(fileURLWithPath: folder.path + "/layout/index.json"))
        // Also while it is open.
        #expect(try await store.manifest(.tag(.latest), in: name)?.digest == digest)
        let other = try LayoutStore(path: folder.path + "/layout", repository: RepositoryName("mine"))
        #expect(try await other.manifest(.tag(.latest), in: RepositoryName("mine"))?.digest == digest)
    }
}

import Foundation
import OCIArtifacts
import Synchronization

/// An OCI image layout as a store: a folder, or a tar archive that is read only.
///
///     oci-layout              {"imageLayoutVersion":"1.0.0"}
///     index.json              an image index; tags are annotations org.opencontainers.image.ref.name
///     blobs/sha256/<hex>      blobs and manifests
///
/// A layout has no repositories. Entries that we write say theirs in an annotation `dev.incipit.repository`; entries of
/// other tools belong to the repository that the store is opened with. A blob is visible in a repository when one of its
/// manifests needs it, or when it was written there since the store was opened.
public final class LayoutStore: RegistryStore {
    struct Entry: Sendable {
        var descriptor: Descriptor
        var manifest: Manifest
        var tags: [Tag]
        /// Members of an index that have no entry of their own in index.json.
        var isImplied = false
    }

    struct Repository: Sendable {
        var entries: [Entry] = []
        /// Written or mounted since opening.
        var blobs: Set<Digest> = []

        func find(_ digest: Digest) -> Entry? { entries.first { $0.descriptor.digest == digest } }
        func tag(_ tag: Tag) -> Entry? { entries.first { $0.tags.contains(tag) } }

        func has(_ digest: Digest) -> Bool {
            blobs.contains(digest) || entries.contains { $0.manifest.blobs.contains { $0.digest == digest } }
        }
    }

    struct State: Sendable {
        var repositories: [RepositoryName: Repository] = [:]
        /// What index.json was when it was read.
        var seen: [UInt8] = []
    }

    static let repositoryKey = "dev.incipit.repository"
    static let referenceKey = "org.opencontainers.image.ref.name"
    static let marker = Array("{\"imageLayoutVersion\":\"1.0.0\"}".utf8)
    private static let maximumIndexSize = 64 << 20

    let medium: any LayoutMedium
    /// nil for an archive.
    let folder: LayoutFolder?
    private let defaultRepository: RepositoryName
    let state = Mutex(State())

    /// Opens a layout.
    ///
    /// - Parameters:
    ///   - path: a folder, or a tar archive.
    ///   - repository: where entries belong that do not say it themselves.
    ///   - create: makes an empty layout where there is nothing, or an empty folder.
    /// - Throws: `.nameUnknown` when there is no layout; `.corrupt` for one that is damaged or hostile.
    public init(path: String, repository: RepositoryName, create: Bool = false) throws {
        defaultRepository = repository
        var info = stat()
        let exists = stat(path, &info) == 0
        if exists, info.st_mode & S_IFMT != S_IFDIR {
            medium = try LayoutArchive(path: path)
            folder = nil
        } else {
            let folder = LayoutFolder(path: path)
            medium = folder
            self.folder = folder
            let isEmpty = !exists || ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? ["?"]).isEmpty
            if create, isEmpty {
                try StorageFiles.createFolder(path)
                try folder.write(ImageIndex(manifests: []).serialized, to: "index.json")
                try folder.write(Self.marker, to: "oci-layout")
            }
        }
        guard let file = try medium.file("oci-layout") else {
            throw RegistryError(.nameUnknown, "there is no OCI image layout (no file oci-layout)", path: path)
        }
        let version = try? JSONNode.parse(try file.readAll(limit: 1 << 16, "oci-layout"))["imageLayoutVersion"]?.string
        guard let version, version.hasPrefix("1.") else {
            throw RegistryError(.corrupt, "oci-layout does not say version 1 of image layouts", path: path)
        }
        try state.withLock { try reload(&$0) }
    }

    public var path: String { medium.path }

    // MARK: - Index

    static func name(of digest: Digest) -> String { "blobs/\(digest.algorithm.rawValue)/\(digest.hex)" }

    /// Reads index.json when it has changed: other tools may write it too.
    func reload(_ state: inout State) throws {
        guard let file = try medium.file("index.json") else {
            throw RegistryError(.corrupt, "the layout has no index.json", path: path)
        }
        let bytes = try file.readAll(limit: Self.maximumIndexSize, "index.json")
        guard bytes != state.seen else { return }
        let members: [Descriptor]
        do {
            let root = try JSONNode.parse(bytes)
            guard root["schemaVersion"]?.integer == 2 else {
                throw OCIArtifactError(.manifestInvalid, "schemaVersion must be 2")
            }
            members = try (root["manifests"]?.array ?? []).enumerated().map {
                try Descriptor($0.element, at: "manifests[\($0.offset)]")
            }
        } catch {
            throw RegistryError(.corrupt, "index.json is no image index", path: path, cause: error)
        }
        var repositories: [RepositoryName: Repository] = [:]
        for (name, old) in state.repositories where !old.blobs.isEmpty {
            repositories[name] = Repository(blobs: old.blobs)
        }
        for member in members {
            let name = try member.annotations?[Self.repositoryKey].map { try RepositoryName($0) } ?? defaultRepository
            // Names that are no tags (docker's full references) keep the entry untagged.
            let tag = member.annotations?[Self.referenceKey].flatMap { try? Tag($0) }
            var plain = member
            plain.annotations = nil
            try add(plain, tag: tag, to: &repositories[name, default: Repository()], depth: 0)
        }
        state.repositories = repositories
        state.seen = bytes
    }

    private func add(_ descriptor: Descriptor, tag: Tag?, to repository: inout Repository, depth: Int) throws {
        if let index = repository.entries.firstIndex(where: { $0.descriptor.digest == descriptor.digest }) {
            if let tag, !repository.entries[index].tags.contains(tag) { repository.entries[index].tags.append(tag) }
            if depth == 0 { repository.entries[index].isImplied = false }
            return
        }
        guard let stored = try load(descriptor) else {
            // A sparse layout may lack members of an index, but not what index.json itself names.
            guard depth > 0 else {
                throw RegistryError(
                    .corrupt, "index.json names \(descriptor.digest), and the layout lacks it",
                    digest: descriptor.digest,
                    path: path)
            }
            return
        }
        let manifest: Manifest
        do { manifest = try Manifest.parse(stored, mediaType: descriptor.mediaType) } catch {
            throw RegistryError(
                .corrupt, "\(descriptor.digest) in the layout is no manifest", digest: descriptor.digest, path: path,
                cause: error)
        }
        repository.entries.append(
            Entry(descriptor: descriptor, manifest: manifest, tags: tag.map { [$0] } ?? [], isImplied: depth > 0))
        guard depth < 8 else { return }
        for child in manifest.manifests { try add(child, tag: nil, to: &repository, depth: depth + 1) }
    }

    /// A manifest's bytes, verified.
    private func load(_ descriptor: Descriptor) throws -> [UInt8]? {
        guard let file = try medium.file(Self.name(of: descriptor.digest)) else { return nil }
        let bytes = try file.readAll(limit: Manifest.maximumSize, "manifest \(descriptor.digest)")
        guard bytes.count == descriptor.size,
            Digest.of(bytes, algorithm: descriptor.digest.algorithm) == descriptor.digest
        else {
            throw RegistryError(
                .corrupt, "manifest \(descriptor.digest) in the layout has other bytes than its digest stands for",
                digest: descriptor.digest, path: path)
        }
        return bytes
    }

    /// Writes index.json from the state.
    func save(_ state: inout State) throws {
        let folder = try writable()
        var members: [Descriptor] = []
        for (name, repository) in state.repositories.sorted(by: { $0.key < $1.key }) {
            for entry in repository.entries where !entry.isImplied {
                var descriptor = entry.descriptor
                descriptor.artifactType = entry.manifest.effectiveArtifactType
                for tag in entry.tags.map({ Optional($0) }) + (entry.tags.isEmpty ? [nil] : []) {
                    var annotations = [Self.repositoryKey: name.description]
                    annotations[Self.referenceKey] = tag?.description
                    descriptor.annotations = annotations
                    members.append(descriptor)
                }
            }
        }
        let bytes = ImageIndex(manifests: members).serialized
        try folder.write(bytes, to: "index.json")
        state.seen = bytes
    }

    func writable() throws -> LayoutFolder {
        guard let folder else {
            throw RegistryError(
                .unsupported, "an archive can only be read; write to a folder and export that", path: path)
        }
        return folder
    }

    /// Runs a change alone: in this process by the state's lock, among processes by a lock on the folder.
    func change<T>(_ body: (inout State) throws -> T) throws -> T {
        let folder = try writable()
        let lock = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard lock >= 0 else { throw RegistryError.system("cannot open the layout", folder.path) }
        defer { close(lock) }
        while flock(lock, LOCK_EX) != 0 {
            guard errno == EINTR else { throw RegistryError.system("cannot lock the layout", folder.path) }
        }
        return try state.withLock { state in
            try reload(&state)
            return try body(&state)
        }
    }

    /// Looks at the layout as it is now.
    func look<T>(_ body: (State) throws -> T) throws -> T {
        try state.withLock { state in
            if folder != nil { try reload(&state) }
            return try body(state)
        }
    }
}

/// An OCI manifest: an image manifest (config and layers) or an image index (other manifests).
///
/// A registry keeps the pushed bytes and uses this only to look inside; ``serialized`` is for manifests of our own.
public struct Manifest: Hashable, Sendable {
    /// The most bytes a manifest may have. The distribution spec asks registries to take at least this much.
    public static let maximumSize = 4 << 20

    public var mediaType: String
    public var artifactType: String?
    /// nil in an index.
    public var config: Descriptor?
    public var layers: [Descriptor]
    /// The members of an index; empty otherwise.
    public var manifests: [Descriptor]
    public var subject: Descriptor?
    public var annotations: [String: String]

    /// An image manifest.
    public init(
        artifactType: String?, config: Descriptor, layers: [Descriptor], subject: Descriptor? = nil,
        annotations: [String: String] = [:]
    ) {
        mediaType = MediaType.imageManifest
        self.artifactType = artifactType
        self.config = config
        self.layers = layers
        manifests = []
        self.subject = subject
        self.annotations = annotations
    }

    init(_ index: ImageIndex) {
        mediaType = index.mediaType
        artifactType = index.artifactType
        layers = []
        manifests = index.manifests
        subject = index.subject
        annotations = index.annotations
    }

    public var isIndex: Bool { MediaType.imageIndexes.contains(mediaType) }

    /// What the referrers API calls `artifactType`: the manifest's own, else its config's media type; nil for an index
    /// without one.
    public var effectiveArtifactType: String? {
        if let artifactType, !artifactType.isEmpty { return artifactType }
        return config?.mediaType
    }

    /// Config and layers: the blobs a registry must hold, less those it may lack (non-distributable layers).
    public var requiredBlobs: [Descriptor] {
        (config.map { [$0] } ?? []) + layers.filter { !MediaType.isNonDistributable($0.mediaType) }
    }

    /// Config and layers.
    public var blobs: [Descriptor] { (config.map { [$0] } ?? []) + layers }

    // MARK: - Bytes

    /// Reads a manifest.
    ///
    /// - Parameters:
    ///   - bytes: the document, at most ``maximumSize`` bytes.
    ///   - mediaType: what it was served or pushed as; must agree with the document's own `mediaType` when both exist.
    /// - Throws: `.tooLarge`, `.jsonInvalid`, `.manifestInvalid`, `.descriptorInvalid`, naming the field.
    public static func parse(_ bytes: [UInt8], mediaType: String? = nil) throws(OCIArtifactError) -> Manifest {
        guard bytes.count <= maximumSize else {
            throw OCIArtifactError(
                .tooLarge, "the manifest has \(bytes.count) bytes; \(maximumSize) (4 MiB) are the most allowed")
        }
        let root = try JSONNode.parse(bytes)
        guard let members = root.object else {
            throw OCIArtifactError(.manifestInvalid, "the manifest must be a JSON object")
        }
        return try Manifest(members, servedAs: mediaType.map(MediaType.withoutParameters))
    }

    private init(_ members: [String: JSONNode], servedAs: String?) throws(OCIArtifactError) {
        guard members["schemaVersion"]?.integer == 2 else {
            throw OCIArtifactError(.manifestInvalid, "schemaVersion must be 2")
        }
        let written = try Descriptor.optionalString(members["mediaType"], "mediaType", "manifest")
        if let written, let servedAs, written != servedAs {
            throw OCIArtifactError(
                .manifestInvalid,
                "the manifest says mediaType \(OCIArtifactError.quoted(written)) but came as "
                    + OCIArtifactError.quoted(servedAs))
        }
        let implied = members["manifests"] != nil ? MediaType.imageIndex : MediaType.imageManifest
        mediaType = servedAs ?? written ?? implied
        artifactType = try Descriptor.optionalString(members["artifactType"], "artifactType", "manifest")
        if let artifactType, !artifactType.isEmpty, !MediaType.isValid(artifactType) {
            throw OCIArtifactError(
                .manifestInvalid, "artifactType \(OCIArtifactError.quoted(artifactType)) is not a media type")
        }
        annotations = try Descriptor.annotations(members["annotations"], at: "manifest") ?? [:]
        if let node = members["subject"], node != .null { subject = try Descriptor(node, at: "subject") }
        layers = []
        manifests = []
        if MediaType.imageIndexes.contains(mediaType) {
            // A document that is both would mean different things to different readers (CVE-2021-41190).
            guard members["layers"] == nil, members["config"] == nil else {
                throw OCIArtifactError(.manifestInvalid, "an index must have neither config nor layers")
            }
            manifests = try Self.descriptors(members["manifests"], "manifests", required: true)
        } else if MediaType.imageManifests.contains(mediaType) {
            guard members["manifests"] == nil else {
                throw OCIArtifactError(.manifestInvalid, "an image manifest must not list manifests")
            }
            guard let node = members["config"] else {
                throw OCIArtifactError(.manifestInvalid, "an image manifest must have a config")
            }
            config = try Descriptor(node, at: "config")
            layers = try Self.descriptors(members["layers"], "layers", required: false)
        } else {
            throw OCIArtifactError(
                .manifestInvalid,
                "media type \(OCIArtifactError.quoted(mediaType)) is not a manifest's; expected \(MediaType.imageManifest) "
                    + "or \(MediaType.imageIndex)")
        }
    }

    /// The canonical bytes: sorted keys, no white space, empty optional fields left out.
    public var serialized: [UInt8] {
        var members: [String: JSONNode] = ["schemaVersion": .integer(2), "mediaType": .string(mediaType)]
        if let artifactType { members["artifactType"] = .string(artifactType) }
        if let config { members["config"] = config.node }
        if isIndex {
            members["manifests"] = .array(manifests.map(\.node))
        } else {
            members["layers"] = .array(layers.map(\.node))
        }
        if let subject { members["subject"] = subject.node }
        if !annotations.isEmpty { members["annotations"] = Descriptor.node(annotations) }
        return JSONNode.object(members).canonical
    }

    /// The descriptor under which the referrers API lists this manifest, whose stored bytes have `digest` and `size`.
    public func referrerDescriptor(digest: Digest, size: Int) -> Descriptor {
        Descriptor(
            mediaType: mediaType, digest: digest, size: size, artifactType: effectiveArtifactType,
            annotations: annotations.isEmpty ? nil : annotations)
    }

    private static func descriptors(
        _ node: JSONNode?, _ key: String, required: Bool
    ) throws(OCIArtifactError) -> [Descriptor] {
        guard let node else {
            if required { throw OCIArtifactError(.manifestInvalid, "\(key) is missing") }
            return []
        }
        // An empty list in Go comes out as null.
        if node == .null { return [] }
        guard let items = node.array else { throw OCIArtifactError(.manifestInvalid, "\(key) must be a list") }
        var result: [Descriptor] = []
        result.reserveCapacity(items.count)
        for (index, item) in items.enumerated() { result.append(try Descriptor(item, at: "\(key)[\(index)]")) }
        return result
    }
}

/// A list of manifests: what the referrers API answers, and what a fallback tag holds.
public struct ImageIndex: Hashable, Sendable {
    public var mediaType: String
    public var artifactType: String?
    public var manifests: [Descriptor]
    public var subject: Descriptor?
    public var annotations: [String: String]

    public init(
        manifests: [Descriptor], artifactType: String? = nil, subject: Descriptor? = nil,
        annotations: [String: String] = [:]
    ) {
        mediaType = MediaType.imageIndex
        self.artifactType = artifactType
        self.manifests = manifests
        self.subject = subject
        self.annotations = annotations
    }

    /// Reads an index; anything else (an image manifest that a registry served by mistake) throws.
    public static func parse(_ bytes: [UInt8], mediaType: String? = nil) throws(OCIArtifactError) -> ImageIndex {
        let manifest = try Manifest.parse(bytes, mediaType: mediaType)
        guard manifest.isIndex else {
            throw OCIArtifactError(.manifestInvalid, "expected an image index, found \(manifest.mediaType)")
        }
        var index = ImageIndex(
            manifests: manifest.manifests, artifactType: manifest.artifactType, subject: manifest.subject,
            annotations: manifest.annotations)
        index.mediaType = manifest.mediaType
        return index
    }

    /// The canonical bytes.
    public var serialized: [UInt8] { Manifest(self).serialized }
}

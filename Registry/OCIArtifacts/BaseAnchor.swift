/// The tiny manifest that stands for a base model in a repository, so that prompts can name it as their `subject`.
///
/// It is a function of the fingerprint alone: whoever has the base model computes the same digest offline, and
/// `GET /v2/<repository>/referrers/<digest>` on any OCI 1.1 registry lists the prompts made for that model. The bytes,
/// here on several lines, have no white space:
///
///     {"annotations":{"dev.incipit.base.fingerprint":"sha256:<64 hex>"},
///      "artifactType":"application/vnd.incipit.base.v1+json",
///      "config":{"digest":"sha256:4413…","mediaType":"application/vnd.oci.empty.v1+json","size":2},
///      "layers":[<the same empty descriptor>],
///      "mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}
public struct BaseAnchor: Hashable, Sendable {
    public let fingerprint: Digest
    public let manifest: Manifest
    /// The exact bytes to push.
    public let bytes: [UInt8]
    /// The digest of ``bytes``.
    public let digest: Digest

    public init(fingerprint: Digest) {
        self.fingerprint = fingerprint
        manifest = Manifest(
            artifactType: MediaType.baseAnchor, config: .empty, layers: [.empty],
            annotations: [AnnotationKey.baseFingerprint: fingerprint.description])
        bytes = manifest.serialized
        digest = .sha256(of: bytes)
    }

    /// What prompts carry as `subject`.
    public var descriptor: Descriptor {
        Descriptor(mediaType: MediaType.imageManifest, digest: digest, size: bytes.count)
    }

    /// `base-<first 12 hex digits of the fingerprint>`.
    public var tag: Tag {
        guard let tag = try? Tag("base-\(fingerprint.short)") else {
            preconditionFailure("hex digits always make a valid tag")
        }
        return tag
    }
}

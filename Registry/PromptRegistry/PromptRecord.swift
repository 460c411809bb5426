import OCIArtifacts

/// A stored version as its manifest describes it, without its values.
public struct PromptRecord: Hashable, Sendable {
    public let name: RepositoryName
    public let digest: Digest
    /// Every tag on it, versions first.
    public let tags: [Tag]
    /// All annotations of the manifest; the properties below read them.
    public let annotations: [String: String]
    /// The manifest's own size in bytes.
    public let manifestSize: Int

    public init(
        name: RepositoryName, digest: Digest, tags: [Tag], annotations: [String: String], manifestSize: Int
    ) {
        self.name = name
        self.digest = digest
        self.tags = tags.sorted {
            ($0.versionNumber ?? .max, $0) < ($1.versionNumber ?? .max, $1)
        }
        self.annotations = annotations
        self.manifestSize = manifestSize
    }

    /// The lowest N of its tags `v<N>`.
    public var version: Int? { tags.lazy.compactMap(\.versionNumber).first }
    public var baseFingerprint: Digest? { annotations[AnnotationKey.baseFingerprint].flatMap { try? Digest($0) } }
    public var baseName: String { annotations[AnnotationKey.baseName] ?? "" }
    public var method: String { annotations[AnnotationKey.method] ?? "" }
    public var placement: String { annotations[AnnotationKey.placement] ?? "" }
    public var dtype: String { annotations[AnnotationKey.dtype] ?? "" }
    public var tokens: Int? { annotations[AnnotationKey.tokens].flatMap { Int($0) } }
    public var columns: Int? { annotations[AnnotationKey.columns].flatMap { Int($0) } }
    public var parent: Digest? { annotations[AnnotationKey.parent].flatMap { try? Digest($0) } }

    /// What `dev.incipit.metric.<name>` annotations say.
    public var metrics: [String: String] {
        var result: [String: String] = [:]
        for (key, value) in annotations where key.hasPrefix(AnnotationKey.metricPrefix) {
            result[String(key.dropFirst(AnnotationKey.metricPrefix.count))] = value
        }
        return result
    }

    /// `name:v3`, or the digest where there is no tag.
    public var displayName: String { tags.first.map { "\(name):\($0)" } ?? "\(name)@\(digest)" }
}

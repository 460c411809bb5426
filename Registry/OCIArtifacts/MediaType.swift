/// The media types that Incipit reads and writes.
public enum MediaType {
    // MARK: - OCI and Docker
    public static let imageManifest = "application/vnd.oci.image.manifest.v1+json"
    public static let imageIndex = "application/vnd.oci.image.index.v1+json"
    public static let imageConfig = "application/vnd.oci.image.config.v1+json"
    /// The type of the two bytes `{}`, which stand for "no content".
    public static let emptyJSON = "application/vnd.oci.empty.v1+json"
    public static let dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
    public static let dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
    public static let octetStream = "application/octet-stream"

    // MARK: - Incipit
    /// `artifactType` of a soft prompt.
    public static let softPrompt = "application/vnd.incipit.softprompt.v1+json"
    public static let softPromptConfig = "application/vnd.incipit.softprompt.config.v1+json"
    public static let softPromptTensor = "application/vnd.incipit.softprompt.tensor.v1.safetensors"
    public static let softPromptPEFTConfig = "application/vnd.incipit.softprompt.peft.config.v1+json"
    public static let softPromptEvaluation = "application/vnd.incipit.softprompt.evaluation.v1+json"
    public static let softPromptTrainingLog = "application/vnd.incipit.softprompt.training-log.v1+jsonl"
    public static let softPromptModelCard = "application/vnd.incipit.softprompt.model-card.v1+markdown"
    /// `artifactType` of a base anchor: see ``BaseAnchor``.
    public static let baseAnchor = "application/vnd.incipit.base.v1+json"

    /// Manifests with `config` and `layers`.
    public static let imageManifests: Set<String> = [imageManifest, dockerManifest]
    /// Manifests that list other manifests.
    public static let imageIndexes: Set<String> = [imageIndex, dockerManifestList]

    /// Whether a registry may lack the bytes of a layer of this type (they are fetched from elsewhere).
    public static func isNonDistributable(_ mediaType: String) -> Bool {
        mediaType.hasPrefix("application/vnd.oci.image.layer.nondistributable.")
            || mediaType == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    }

    /// Whether the text is `type/subtype` in the letters RFC 6838 allows, without parameters.
    public static func isValid(_ text: String) -> Bool {
        let parts = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        return parts.count == 2
            && parts.allSatisfy { part in
                (1...127).contains(part.count)
                    && part.allSatisfy { byte in
                        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                            || "!#$&-^_.+".utf8.contains(byte)
                    }
            }
    }

    /// `text` without parameters (`; charset=utf-8`) and surrounding blanks.
    public static func withoutParameters(_ text: String) -> String {
        let isBlank = { (byte: UInt8) in byte == 0x20 || byte == 0x09 }
        let bare = text.utf8.prefix { $0 != UInt8(ascii: ";") }.drop(while: isBlank)
        return String(decoding: bare.reversed().drop(while: isBlank).reversed(), as: UTF8.self)
    }
}

/// Annotation keys: OCI's own and those under `dev.incipit.`.
public enum AnnotationKey {
    public static let title = "org.opencontainers.image.title"
    public static let created = "org.opencontainers.image.created"
    public static let version = "org.opencontainers.image.version"
    public static let licenses = "org.opencontainers.image.licenses"
    public static let fileName = "org.cncf.model.filepath"

    public static let baseFingerprint = "dev.incipit.base.fingerprint"
    public static let baseWeights = "dev.incipit.base.weights"
    public static let baseEmbedding = "dev.incipit.base.embedding"
    public static let baseTokenizer = "dev.incipit.base.tokenizer"
    public static let baseArchitecture = "dev.incipit.base.architecture"
    public static let baseName = "dev.incipit.base.name"
    /// The number of virtual tokens.
    public static let tokens = "dev.incipit.tokens"
    /// The number of values a token has.
    public static let columns = "dev.incipit.columns"
    public static let dtype = "dev.incipit.dtype"
    public static let placement = "dev.incipit.placement"
    public static let method = "dev.incipit.method"
    /// The manifest digest of the version this one was made from.
    public static let parent = "dev.incipit.parent"
    /// What the prompt was trained for, in a word.
    public static let task = "dev.incipit.task"
    /// Prefix of `dev.incipit.label.<name>`: whatever its owner wants to find it by.
    public static let labelPrefix = "dev.incipit.label."
    /// Prefix of `dev.incipit.metric.<name>`.
    public static let metricPrefix = "dev.incipit.metric."
}

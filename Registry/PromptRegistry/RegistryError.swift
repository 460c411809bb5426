import OCIArtifacts

/// Why a registry, local or remote, did not do what it was asked.
///
/// The first group of codes are those of the OCI distribution spec, so that a server hands them on unchanged.
public struct RegistryError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure. Extensible: new kinds may appear, so a `switch` needs a default.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        /// The spec's name (`BLOB_UNKNOWN`) or one of ours in the same style.
        public let description: String
        public init(_ description: String) { self.description = description }

        public static let blobUnknown = Code("BLOB_UNKNOWN")
        public static let blobUploadInvalid = Code("BLOB_UPLOAD_INVALID")
        public static let blobUploadUnknown = Code("BLOB_UPLOAD_UNKNOWN")
        public static let digestInvalid = Code("DIGEST_INVALID")
        public static let manifestBlobUnknown = Code("MANIFEST_BLOB_UNKNOWN")
        public static let manifestInvalid = Code("MANIFEST_INVALID")
        public static let manifestUnknown = Code("MANIFEST_UNKNOWN")
        public static let nameInvalid = Code("NAME_INVALID")
        public static let nameUnknown = Code("NAME_UNKNOWN")
        public static let sizeInvalid = Code("SIZE_INVALID")
        public static let unauthorized = Code("UNAUTHORIZED")
        public static let denied = Code("DENIED")
        public static let unsupported = Code("UNSUPPORTED")
        public static let tooManyRequests = Code("TOOMANYREQUESTS")

        /// A range or an upload offset that does not fit what is there (HTTP 416).
        public static let rangeInvalid = Code("RANGE_INVALID")
        /// Stored bytes are damaged: they no longer have the digest they are stored under.
        public static let corrupt = Code("CORRUPT")
        /// The file system or the database failed.
        public static let storage = Code("STORAGE")
        /// A remote registry could not be reached or answered nonsense.
        public static let transport = Code("TRANSPORT")
        /// A signature that the trust policy asks for is missing.
        public static let untrusted = Code("UNTRUSTED")
        /// The stored artifact is not a soft prompt, or not one that this version reads.
        public static let notASoftPrompt = Code("NOT_A_SOFT_PROMPT")
    }

    public let code: Code
    /// One sentence: what, where, and what to do.
    public let message: String
    public let repository: RepositoryName?
    public let digest: Digest?
    public let path: String?
    public let cause: (any Error)?

    public init(
        _ code: Code, _ message: String, repository: RepositoryName? = nil, digest: Digest? = nil,
        path: String? = nil, cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.repository = repository
        self.digest = digest
        self.path = path
        self.cause = cause
    }

    public var description: String {
        var text = message
        if let path { text += " (\(path))" }
        if let cause { text += ": \(cause)" }
        return text
    }

    /// The registry's view of a value that does not parse.
    public init(_ error: OCIArtifactError, repository: RepositoryName? = nil) {
        let code: Code =
            switch error.code {
            case .digestInvalid: .digestInvalid
            case .nameInvalid, .referenceInvalid: .nameInvalid
            case .tooLarge: .sizeInvalid
            default: .manifestInvalid
            }
        self.init(code, error.message, repository: repository)
    }
}

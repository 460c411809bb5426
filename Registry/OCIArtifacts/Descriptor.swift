import Foundation

/// A pointer to content: what it is, its digest and its size in bytes.
public struct Descriptor: Hashable, Sendable, Codable {
    /// Where the content runs, in indexes of container images.
    public struct Platform: Hashable, Sendable, Codable {
        public var architecture: String
        public var os: String
        public var variant: String?

        public init(architecture: String, os: String, variant: String? = nil) {
            self.architecture = architecture
            self.os = os
            self.variant = variant
        }
    }

    public var mediaType: String
    public var digest: Digest
    /// Bytes, uncompressed as stored under ``digest``.
    public var size: Int
    public var artifactType: String?
    public var annotations: [String: String]?
    /// The content itself, embedded.
    public var data: Data?
    /// Other places to fetch it from.
    public var urls: [String]?
    public var platform: Platform?

    public init(
        mediaType: String, digest: Digest, size: Int, artifactType: String? = nil,
        annotations: [String: String]? = nil, data: Data? = nil, urls: [String]? = nil, platform: Platform? = nil
    ) {
        self.mediaType = mediaType
        self.digest = digest
        self.size = size
        self.artifactType = artifactType
        self.annotations = annotations
        self.data = data
        self.urls = urls
        self.platform = platform
    }

    /// The two bytes `{}`.
    public static let emptyContent: [UInt8] = Array("{}".utf8)

    /// The descriptor of ``emptyContent``, for manifests that need a config or layer and have none.
    public static let empty = Descriptor(
        mediaType: MediaType.emptyJSON, digest: .sha256(of: emptyContent), size: emptyContent.count)

    /// The descriptor of `bytes`, SHA-256.
    public init(of bytes: [UInt8], mediaType: String, annotations: [String: String]? = nil) {
        self.init(mediaType: mediaType, digest: .sha256(of: bytes), size: bytes.count, annotations: annotations)
    }

    // MARK: - JSON

    /// Reads a descriptor out of a manifest; `place` names the spot for errors (`layers[2]`).
    public init(_ node: JSONNode, at place: String) throws(OCIArtifactError) {
        guard let members = node.object else { throw Self.failure(place, "must be an object") }
        guard let mediaType = members["mediaType"]?.string, MediaType.isValid(mediaType) else {
            throw Self.failure(place, "must have a mediaType such as application/octet-stream")
        }
        guard let digestText = members["digest"]?.string else { throw Self.failure(place, "must have a digest") }
        do { digest = try Digest(digestText) } catch { throw Self.failure(place, error.message) }
        guard let size = members["size"]?.integer, size >= 0 else {
            throw Self.failure(place, "must have a size: a whole number of bytes, 0 or more")
        }
        self.mediaType = mediaType
        self.size = size
        artifactType = try Self.optionalString(members["artifactType"], "artifactType", place)
        annotations = try Self.annotations(members["annotations"], at: place)
        if let text = try Self.optionalString(members["data"], "data", place) {
            guard let data = Data(base64Encoded: text) else { throw Self.failure(place, "data must be base64") }
            guard data.count == size else {
                throw Self.failure(place, "embeds \(data.count) bytes of data but its size says \(size)")
            }
            self.data = data
        }
        if let urls = members["urls"], urls != .null {
            guard let items = urls.array else { throw Self.failure(place, "urls must be a list of strings") }
            var list: [String] = []
            for item in items {
                guard let url = item.string else { throw Self.failure(place, "urls must be a list of strings") }
                list.append(url)
            }
            self.urls = list
        }
        if let platform = members["platform"]?.object {
            self.platform = Platform(
                architecture: platform["architecture"]?.string ?? "", os: platform["os"]?.string ?? "",
                variant: platform["variant"]?.string)
        }
    }

    public var node: JSONNode {
        var members: [String: JSONNode] = [
            "mediaType": .string(mediaType), "digest": .string(digest.description), "size": .integer(size),
        ]
        if let artifactType { members["artifactType"] = .string(artifactType) }
        if let annotations, !annotations.isEmpty { members["annotations"] = Self.node(annotations) }
        if let data { members["data"] = .string(data.base64EncodedString()) }
        if let urls, !urls.isEmpty { members["urls"] = .array(urls.map { .string($0) }) }
        if let platform {
            var parts: [String: JSONNode] = [
                "architecture": .string(platform.architecture), "os": .string(platform.os),
            ]
            if let variant = platform.variant { parts["variant"] = .string(variant) }
            members["platform"] = .object(parts)
        }
        return .object(members)
    }

    static func node(_ annotations: [String: String]) -> JSONNode {
        .object(annotations.mapValues { .string($0) })
    }

    static func optionalString(
        _ node: JSONNode?, _ key: String, _ place: String
    ) throws(OCIArtifactError) -> String? {
        switch node {
        case nil, .null: return nil
        case .string(let text): return text
        default: throw failure(place, "\(key) must be a string")
        }
    }

    static func annotations(_ node: JSONNode?, at place: String) throws(OCIArtifactError) -> [String: String]? {
        guard let node, node != .null else { return nil }
        guard let members = node.object else { throw failure(place, "annotations must be an object of strings") }
        var result: [String: String] = [:]
        for (key, value) in members {
            guard let text = value.string else {
                throw failure(place, "annotation \(OCIArtifactError.quoted(key)) must be a string")
            }
            result[key] = text
        }
        return result
    }

    private static func failure(_ place: String, _ message: String) -> OCIArtifactError {
        OCIArtifactError(place == "manifest" ? .manifestInvalid : .descriptorInvalid, "\(place): \(message)")
    }
}

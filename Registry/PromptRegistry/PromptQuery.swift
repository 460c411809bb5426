import Foundation
import GRDB
import OCIArtifacts

/// Which prompts to list. All conditions hold at once.
public struct PromptQuery: Hashable, Sendable {
    /// A bound on a metric: `accuracy>=0.9`.
    public struct MetricBound: Hashable, Sendable {
        public var name: String
        public var isAtLeast: Bool
        public var value: Double

        public init(name: String, isAtLeast: Bool, value: Double) {
            self.name = name
            self.isAtLeast = isAtLeast
            self.value = value
        }

        /// Reads `name>=value` or `name<=value`; nil for anything else.
        public init?(_ text: String) {
            for (sign, isAtLeast) in [(">=", true), ("<=", false)] {
                let parts = text.split(separator: sign, omittingEmptySubsequences: false)
                guard parts.count == 2, !parts[0].isEmpty, let value = Double(parts[1]), value.isFinite else {
                    continue
                }
                self.init(name: String(parts[0]), isAtLeast: isAtLeast, value: value)
                return
            }
            return nil
        }
    }

    public var base: Digest?
    public var repository: RepositoryName?
    public var task: String?
    public var labels: [String: String] = [:]
    public var metrics: [MetricBound] = []
    /// At most so many.
    public var limit: Int?
    /// How many to leave out at the beginning.
    public var offset = 0

    public init() {}

    /// Whether a record satisfies the conditions (limit and offset aside).
    public func matches(_ record: PromptRecord) -> Bool {
        if let base, record.baseFingerprint != base { return false }
        if let repository, record.name != repository { return false }
        if let task, record.annotations[AnnotationKey.task] != task { return false }
        for (key, value) in labels where record.annotations[AnnotationKey.labelPrefix + key] != value { return false }
        for bound in metrics {
            guard let value = record.metrics[bound.name].flatMap({ Double($0) }) else { return false }
            guard bound.isAtLeast ? value >= bound.value : value <= bound.value else { return false }
        }
        return true
    }
}

extension EmbeddedStore {
    /// Runs a query on the catalogue's indexes: the time it takes depends on what is found, not on what is stored.
    public func search(_ query: PromptQuery) async throws -> [PromptRecord] {
        let (sql, arguments) = Self.statement(query)
        return try await catalogue.read { db in
            if let name = query.repository, try db.repositoryID(name) == nil {
                throw RegistryError.unknownRepository(name)
            }
            return try Row.fetchAll(db.cachedStatement(sql: sql), arguments: arguments).map { row in
                let repository: Int64 = row["repository"]
                let digest: String = row["digest"]
                let annotations = try JSONNode.parse(Array((row["annotations"] as String).utf8)).object ?? [:]
                let tags = try String.fetchAll(
                    db.cachedStatement(sql: "SELECT name FROM tags WHERE repository = ? AND digest = ?"),
                    arguments: [repository, digest])
                return PromptRecord(
                    name: try RepositoryName(row["name"]), digest: try Digest(digest),
                    tags: try tags.map { try Tag($0) },
                    annotations: annotations.compactMapValues(\.string), manifestSize: row["size"])
            }
        }
    }

    /// One condition drives (a label, the base, a metric: whichever there is, in this order), the others filter.
    private static func statement(_ query: PromptQuery) -> (String, StatementArguments) {
        var labels = query.labels.map { (AnnotationKey.labelPrefix + $0.key, $0.value) }.sorted { $0 < $1 }
        if let task = query.task { labels.insert((AnnotationKey.task, task), at: 0) }
        var metrics = query.metrics
        var from = "manifests m"
        var conditions = ["m.artifact_type = ?"]
        var arguments: StatementArguments = [MediaType.softPrompt]
        var order = "m.id"
        if let first = labels.first {
            // The primary key of labels ends with the manifest, so they come in order.
            from = "labels l CROSS JOIN manifests m ON m.id = l.manifest"
            conditions = ["l.key = ?", "l.value = ?"] + conditions
            arguments = [first.0, first.1] + arguments
            order = "l.manifest"
            labels.removeFirst()
        } else if query.base == nil, query.repository == nil, let first = metrics.first {
            from = "labels l INDEXED BY labels_by_number CROSS JOIN manifests m ON m.id = l.manifest"
            conditions = ["l.key = ?", "l.number \(first.isAtLeast ? ">=" : "<=") ?"] + conditions
            arguments = [AnnotationKey.metricPrefix + first.name, first.value] + arguments
            order = "l.number \(first.isAtLeast ? "DESC" : "ASC")"
            metrics.removeFirst()
        }
        if let base = query.base {
            conditions.append("m.subject = ?")
            arguments += [BaseAnchor(fingerprint: base).digest.description]
        }
        if let name = query.repository {
            conditions.append("m.repository = (SELECT id FROM repositories WHERE name = ?)")
            arguments += [name.description]
        }
        for (key, value) in labels {
            conditions.append("EXISTS (SELECT 1 FROM labels WHERE key = ? AND value = ? AND manifest = m.id)")
            arguments += [key, value]
        }
        for bound in metrics {
            conditions.append(
                "EXISTS (SELECT 1 FROM labels WHERE manifest = m.id AND key = ? AND number \(bound.isAtLeast ? ">=" : "<=") ?)"
            )
            arguments += [AnnotationKey.metricPrefix + bound.name, bound.value]
        }
        arguments += [query.limit.map { max(0, $0) } ?? -1, max(0, query.offset)]
        return (
            """
            SELECT m.repository, name, m.digest, m.annotations, length(m.bytes) AS size
            FROM \(from) CROSS JOIN repositories ON repositories.id = m.repository
            WHERE \(conditions.joined(separator: " AND ")) ORDER BY \(order) LIMIT ? OFFSET ?
            """, arguments
        )
    }
}

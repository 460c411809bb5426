import GRDB
import OCIArtifacts

extension EmbeddedStore {
    /// Runs a query on the catalogue's indexes: the time it takes depends on what is found, not on what is stored.
    ///
    /// Prompts come in the order of their arrival; when metrics are asked and neither labels, task nor repository are, by
    /// the first metric, the best first.
    ///
    /// - Throws: `.nameUnknown` for a repository that is not there, `.manifestUnknown` when the prompt to go on behind is
    ///   gone.
    public func search(_ query: PromptQuery) async throws -> [PromptRecord] {
        try await catalogue.read { db in
            if let name = query.repository, try db.repositoryID(name) == nil {
                throw RegistryError.unknownRepository(name)
            }
            let statement = try SearchStatement(query, db)
            return try Row.fetchAll(db.cachedStatement(sql: statement.sql), arguments: statement.arguments).map { row in
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
}

/// The SQL of a query. One index drives, and gives the order; what it does not decide is asked of each row it finds.
///
/// Every index is named: without statistics SQLite would rather avoid a sort than read fewer rows.
///
///     repository + base    manifests_by_subject       rows of one prompt, in order of arrival
///     repository           manifests_by_repository
///     base + label         labels_by_base             the rarest of the labels
///     label                labels' primary key
///     base + metric        labels_by_base_number      by number, best first
///     metric               labels_by_number
///     base                 manifests_by_base
///     nothing              manifests_by_type
private struct SearchStatement {
    private(set) var arguments: StatementArguments = []
    private var source = ""
    private var conditions: [String] = []
    private var order = "m.id"
    /// The manifest's number in the driving table.
    private var manifest = "m.id"

    var sql: String {
        """
        SELECT m.repository, name, m.digest, m.annotations, length(m.bytes) AS size
        FROM \(source) CROSS JOIN repositories ON repositories.id = m.repository
        WHERE \(conditions.joined(separator: " AND ")) ORDER BY \(order) LIMIT ? OFFSET ?
        """
    }

    init(_ query: PromptQuery, _ db: Database) throws {
        var labels = query.labels.map { (AnnotationKey.labelPrefix + $0.key, $0.value) }.sorted { $0 < $1 }
        if let task = query.task { labels.insert((AnnotationKey.task, task), at: 0) }
        var metrics = query.metrics
        let anchor = query.base.map { BaseAnchor(fingerprint: $0).digest }
        if let name = query.repository {
            source = "manifests m INDEXED BY \(anchor == nil ? "manifests_by_repository" : "manifests_by_subject")"
            require("m.repository = (SELECT id FROM repositories WHERE name = ?)", [name.description])
            try follow(query.after, db)
        } else if !labels.isEmpty {
            let first = labels.remove(at: try Self.rarest(labels, base: anchor, db))
            driveByLabels(anchor.map { ("labels_by_base", $0) })
            require("l.key = ? AND l.value = ?", [first.0, first.1])
            order = "l.manifest"
            try follow(query.after, db)
        } else if !metrics.isEmpty {
            let first = metrics.removeFirst()
            driveByLabels(anchor.map { ("labels_by_base_number", $0) }, otherwise: "INDEXED BY labels_by_number")
            let key = AnnotationKey.metricPrefix + first.name
            require("l.key = ? AND l.number \(first.isAtLeast ? ">=" : "<=") ?", [key, first.value])
            // The index's own order to its end, so that equal numbers have a place too.
            order = ["l.number", "l.value", "l.manifest"].map { $0 + (first.isAtLeast ? " DESC" : "") }
                .joined(separator: ", ")
            try follow(query.after, by: key, isAtLeast: first.isAtLeast, db)
        } else {
            source = "manifests m INDEXED BY \(anchor == nil ? "manifests_by_type" : "manifests_by_base")"
            try follow(query.after, db)
        }
        require("m.artifact_type = ?", [MediaType.softPrompt])
        if let anchor { require("m.subject = ?", [anchor.description]) }
        for (key, value) in labels {
            require(
                "EXISTS (SELECT 1 FROM labels WHERE key = ? AND value = ? AND manifest = \(manifest))", [key, value])
        }
        for bound in metrics {
            require(
                """
                EXISTS (SELECT 1 FROM labels WHERE manifest = \(manifest) AND key = ?
                    AND number \(bound.isAtLeast ? ">=" : "<=") ?)
                """, [AnnotationKey.metricPrefix + bound.name, bound.value])
        }
        arguments += [query.limit.map { max(0, $0) } ?? -1, max(0, query.offset)]
    }

    private mutating func require(_ condition: String, _ values: StatementArguments) {
        conditions.append(condition)
        arguments += values
    }

    private mutating func driveByLabels(_ base: (index: String, anchor: Digest)?, otherwise other: String = "") {
        let index = base.map { "INDEXED BY \($0.index)" } ?? other
        source = "labels l \(index) CROSS JOIN manifests m ON m.id = l.manifest"
        manifest = "l.manifest"
        if let base { require("l.base = ?", [base.anchor.searchKey]) }
    }

    // MARK: - Choosing

    /// Counting stops here: rows that can be looked at in a few milliseconds.
    private static let countedRows = 5000

    /// Which label fewest prompts have.
    private static func rarest(_ labels: [(String, String)], base: Digest?, _ db: Database) throws -> Int {
        guard labels.count > 1 else { return 0 }
        let condition = base == nil ? "" : " AND base = ?"
        let statement = try db.cachedStatement(
            sql: "SELECT count(*) FROM (SELECT 1 FROM labels WHERE key = ? AND value = ?\(condition) LIMIT ?)")
        var counts: [Int] = []
        for (key, value) in labels {
            var arguments: StatementArguments = [key, value]
            if let base { arguments += [base.searchKey] }
            counts.append(try Int.fetchOne(statement, arguments: arguments + [countedRows]) ?? 0)
        }
        return counts.indices.min { counts[$0] < counts[$1] } ?? 0
    }

    // MARK: - Paging

    private static func id(_ position: PromptQuery.Position, _ db: Database) throws -> Int64 {
        let id = try Int64.fetchOne(
            db,
            sql: """
                SELECT manifests.id FROM manifests JOIN repositories ON repositories.id = manifests.repository
                WHERE repositories.name = ? AND manifests.digest = ?
                """, arguments: [position.name.description, position.digest.description])
        guard let id else { throw RegistryError.nothingToGoOnBehind(position) }
        return id
    }

    private mutating func follow(_ position: PromptQuery.Position?, _ db: Database) throws {
        guard let position else { return }
        require("\(order) > ?", [try Self.id(position, db)])
    }

    private mutating func follow(
        _ position: PromptQuery.Position?, by key: String, isAtLeast: Bool, _ db: Database
    ) throws {
        guard let position else { return }
        let id = try Self.id(position, db)
        let row = try Row.fetchOne(
            db, sql: "SELECT number, value FROM labels WHERE manifest = ? AND key = ? AND number IS NOT NULL",
            arguments: [id, key])
        guard let row else { throw RegistryError.nothingToGoOnBehind(position) }
        require(
            "(l.number, l.value, l.manifest) \(isAtLeast ? "<" : ">") (?, ?, ?)",
            [row["number"] as Double, row["value"] as String, id])
    }
}

extension RegistryError {
    static func nothingToGoOnBehind(_ position: PromptQuery.Position) -> RegistryError {
        RegistryError(
            .manifestUnknown,
            "\(position.name)@\(position.digest.short) is not (or no longer) in this list; list from the beginning",
            repository: position.name, digest: position.digest)
    }
}

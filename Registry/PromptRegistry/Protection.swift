import GRDB
import OCIArtifacts

/// A tag that moves only when a ``ChangeNote`` says that it may.
public struct ProtectedTag: Hashable, Sendable {
    public let repositories: RepositoryGlob
    public let tag: Tag

    public init(_ tag: Tag, in repositories: RepositoryGlob) {
        self.repositories = repositories
        self.tag = tag
    }
}

/// How many bytes the repositories under a pattern may hold, each.
public struct Quota: Hashable, Sendable {
    public let repositories: RepositoryGlob
    /// Of all its blobs, uncompressed.
    public let bytes: Int

    public init(_ repositories: RepositoryGlob, bytes: Int) {
        self.repositories = repositories
        self.bytes = bytes
    }
}

// What an operator forbids: kept in the catalogue, so that every process that uses it obeys.
extension EmbeddedStore {
    public func protectedTags() async throws -> [ProtectedTag] {
        try await catalogue.read { db in
            try Row.fetchAll(db, sql: "SELECT repositories, tag FROM protected_tags ORDER BY 1, 2").map { row in
                ProtectedTag(try Tag(row["tag"]), in: try RepositoryGlob(row["repositories"]))
            }
        }
    }

    public func protect(_ item: ProtectedTag) async throws {
        try await catalogue.write { db in
            try db.execute(
                sql: "INSERT OR IGNORE INTO protected_tags (repositories, tag) VALUES (?, ?)",
                arguments: [item.repositories.description, item.tag.description])
        }
    }

    /// Whether it was protected.
    @discardableResult
    public func unprotect(_ item: ProtectedTag) async throws -> Bool {
        try await catalogue.write { db in
            try db.execute(
                sql: "DELETE FROM protected_tags WHERE repositories = ? AND tag = ?",
                arguments: [item.repositories.description, item.tag.description])
            return db.changesCount > 0
        }
    }

    public func quotas() async throws -> [Quota] {
        try await catalogue.read { db in
            try Row.fetchAll(db, sql: "SELECT repositories, bytes FROM quotas ORDER BY 1").map { row in
                Quota(try RepositoryGlob(row["repositories"]), bytes: row["bytes"])
            }
        }
    }

    /// Sets the quota of a pattern; nil bytes remove it. What is stored already stays.
    public func setQuota(_ repositories: RepositoryGlob, bytes: Int?) async throws {
        try await catalogue.write { db in
            if let bytes {
                try db.execute(
                    sql: "INSERT OR REPLACE INTO quotas (repositories, bytes) VALUES (?, ?)",
                    arguments: [repositories.description, max(0, bytes)])
            } else {
                try db.execute(
                    sql: "DELETE FROM quotas WHERE repositories = ?", arguments: [repositories.description])
            }
        }
    }
}

extension Database {
    /// - Throws: `.denied` when the tag is protected there and the note does not allow moving it.
    func checkProtection(_ tag: Tag, in repository: RepositoryName, _ note: ChangeNote) throws {
        guard !note.mayMoveProtectedTags, try isProtected(tag, in: repository) else { return }
        throw RegistryError(
            .denied,
            "\(repository):\(tag) is protected: only a principal that may promote moves it (locally: incipit prompt tag "
                + "--why REASON)", repository: repository)
    }

    func isProtected(_ tag: Tag, in repository: RepositoryName) throws -> Bool {
        try String.fetchAll(
            cachedStatement(sql: "SELECT repositories FROM protected_tags WHERE tag = ?"),
            arguments: [tag.description]
        ).contains { try RepositoryGlob($0).matches(repository) }
    }

    /// Whether `size` more bytes fit into the repository under every quota that covers it.
    ///
    /// - Throws: `.denied` when they do not.
    func checkQuota(_ size: Int, in repository: RepositoryName, _ id: Int64) throws {
        let rows = try Row.fetchAll(cachedStatement(sql: "SELECT repositories, bytes FROM quotas"))
        var limit: Int?
        for row in rows where try RepositoryGlob(row["repositories"]).matches(repository) {
            limit = min(limit ?? .max, row["bytes"])
        }
        guard let limit else { return }
        let used =
            try Int.fetchOne(
                self,
                sql: "SELECT coalesce(sum(size), 0) FROM repo_blobs JOIN blobs USING (digest) WHERE repository = ?",
                arguments: [id]) ?? 0
        guard size <= limit - used else {
            throw RegistryError(
                .denied,
                "repository \(repository) may hold \(limit) bytes and holds \(used): \(size) more do not fit; delete "
                    + "versions and collect garbage, or ask for a larger quota", repository: repository)
        }
    }
}

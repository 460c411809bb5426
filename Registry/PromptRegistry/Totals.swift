import GRDB

/// How much a catalogue holds, kept up to date by triggers in the transaction of every change, so that asking costs the
/// same whether there are ten versions or a million.
///
/// A total never stands in the way of a change: nothing is refused because of one. When one is wrong, which takes a damaged
/// catalogue or a hand in its tables, ``EmbeddedStore/verify(readData:sample:)`` says so and a repair counts anew.
enum Totals {
    /// The columns of `totals` and how each is counted.
    private static let counts: KeyValuePairs<String, String> = [
        "repositories": "(SELECT count(*) FROM repositories)",
        "manifests": "(SELECT count(*) FROM manifests)",
        "tags": "(SELECT count(*) FROM tags)",
        "blobs": "(SELECT count(*) FROM blobs)",
        "blob_bytes": "(SELECT coalesce(sum(size), 0) FROM blobs)",
        "stored_bytes": "(SELECT coalesce(sum(stored_size), 0) FROM blobs)",
        "uploads": "(SELECT count(*) FROM uploads)",
        "trash": "(SELECT count(*) FROM trash)",
    ]

    /// What the totals say, read as one row.
    ///
    /// - Throws: ``RegistryError`` `.corrupt` when the row is missing or does not hold numbers.
    static func read(_ db: Database, path: String) throws -> StoreStatistics {
        guard let row = try Row.fetchOne(db, sql: "SELECT * FROM totals WHERE id = 1") else {
            throw damaged("is missing", path)
        }
        func number(_ column: String) throws -> Int {
            guard let value = Int.fromDatabaseValue(row[column]) else {
                throw damaged("holds no number for \(column)", path)
            }
            return value
        }
        var result = StoreStatistics()
        result.repositories = try number("repositories")
        result.manifests = try number("manifests")
        result.tags = try number("tags")
        result.blobs = try number("blobs")
        result.blobBytes = try number("blob_bytes")
        result.storedBytes = try number("stored_bytes")
        result.openUploads = try number("uploads")
        result.deletedManifests = try number("trash")
        return result
    }

    private static func damaged(_ what: String, _ path: String) -> RegistryError {
        RegistryError(
            .corrupt, "the row of totals in the catalogue \(what); incipit registry repair counts anew", path: path)
    }

    /// The totals that are not what counting gives, as `name: total, counted`; looks at every row of the tables.
    static func differences(_ db: Database) throws -> [String] {
        let counted = counts.map { "\($0.value) AS \($0.key)" }.joined(separator: ", ")
        guard let truth = try Row.fetchOne(db, sql: "SELECT \(counted)") else { return [] }
        let kept = try Row.fetchOne(db, sql: "SELECT * FROM totals WHERE id = 1")
        return counts.compactMap { name, _ in
            let (total, count): (DatabaseValue, DatabaseValue) = (kept?[name] ?? .null, truth[name])
            return total == count ? nil : "\(name): \(total) instead of \(count)"
        }
    }

    /// Sets every total to what counting gives.
    static func recount(_ db: Database) throws {
        let values = counts.map(\.value).joined(separator: ", ")
        let names = counts.map(\.key).joined(separator: ", ")
        try db.execute(sql: "INSERT OR REPLACE INTO totals (id, \(names)) VALUES (1, \(values))")
    }
}

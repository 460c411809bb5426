import Foundation
import GRDB
import OCIArtifacts

/// What a check of the whole registry found.
public struct VerificationReport: Hashable, Sendable {
    /// One thing that is wrong.
    public struct Problem: Hashable, Sendable, CustomStringConvertible {
        public let digest: Digest?
        /// Names that no longer work because of it, as `repository:tag`.
        public let affected: [String]
        public let message: String
        /// The catalogue's totals differ from what counting gives; a repair sets them right without a source.
        public var isMiscount = false

        public var description: String {
            affected.isEmpty ? message : "\(message); affected: \(affected.joined(separator: ", "))"
        }
    }

    public var manifests = 0
    public var blobs = 0
    /// Uncompressed bytes that were read and hashed.
    public var bytesRead = 0
    public var problems: [Problem] = []

    public var isSound: Bool { problems.isEmpty }

    public init() {}
}

extension EmbeddedStore {
    /// Checks the catalogue, that everything referred to is there, and with `readData` every byte.
    ///
    /// - Parameter sample: reads the bytes of this part of the blobs only (0…1), others each time; nil: of all.
    public func verify(readData: Bool, sample: Double? = nil) async throws -> VerificationReport {
        var report = try await verifyCatalogue()
        let digests = try await catalogue.read { db in
            try String.fetchAll(db, sql: "SELECT digest FROM blobs ORDER BY digest").map { try Digest($0) }
        }
        for digest in digests {
            let row = try await catalogue.read { db in
                try Row.fetchOne(db, sql: "SELECT * FROM blobs WHERE digest = ?", arguments: [digest.description])
                    .map { BlobRow($0) }
            }
            guard let row else { continue }
            report.blobs += 1
            do {
                let isDrawn = sample.map { Double.random(in: 0..<1) < $0 } ?? true
                report.bytesRead += try await offload { [self] in
                    try check(digest, row, readData: readData && isDrawn)
                }
            } catch let error as RegistryError {
                report.problems.append(
                    .init(digest: digest, affected: try await names(using: digest), message: error.description))
            }
        }
        return report
    }

    private func verifyCatalogue() async throws -> VerificationReport {
        try await catalogue.read { db in
            var report = VerificationReport()
            for line in try String.fetchAll(db, sql: "PRAGMA integrity_check") where line != "ok" {
                report.problems.append(.init(digest: nil, affected: [], message: "the catalogue is damaged: \(line)"))
            }
            for row in try Row.fetchAll(db, sql: "PRAGMA foreign_key_check") {
                let table: String = row[0]
                report.problems.append(
                    .init(digest: nil, affected: [], message: "a row of \(table) in the catalogue points nowhere"))
            }
            for difference in try Totals.differences(db) {
                report.problems.append(
                    .init(
                        digest: nil, affected: [], message: "the catalogue's total of \(difference)", isMiscount: true))
            }
            let manifests = try Row.fetchCursor(
                db,
                sql: """
                    SELECT manifests.id, name, digest, bytes FROM manifests
                    JOIN repositories ON repositories.id = manifests.repository
                    """)
            while let row = try manifests.next() {
                report.manifests += 1
                let digest = try Digest(row["digest"])
                let bytes: Data = row["bytes"]
                let name: String = row["name"]
                report.bytesRead += bytes.count
                let affected = ["\(name)@\(digest)"]
                if Digest.of(bytes, algorithm: digest.algorithm) != digest {
                    report.problems.append(
                        .init(
                            digest: digest, affected: affected,
                            message: "stored manifest \(digest) no longer has its digest"))
                }
                let missing = try String.fetchAll(
                    db,
                    sql: """
                        SELECT digest FROM refs WHERE manifest = ? AND required
                        AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.digest = refs.digest)
                        """, arguments: [row["id"] as Int64])
                for text in missing {
                    report.problems.append(
                        .init(
                            digest: try Digest(text), affected: affected,
                            message: "blob \(text) is missing from the registry"))
                }
            }
            return report
        }
    }

    /// The number of bytes read. Throws what is wrong.
    private func check(_ digest: Digest, _ row: BlobRow, readData: Bool) throws -> Int {
        if !readData {
            guard row.inline == nil else { return 0 }
            let path = files.path(of: digest)
            guard let input = try InputFile(path: path) else {
                throw RegistryError.damaged(digest, "is missing its file", path: path)
            }
            guard input.size == row.storedSize else {
                throw RegistryError.damaged(
                    digest, "has a file of \(input.size) bytes instead of \(row.storedSize)", path: path)
            }
            return 0
        }
        if row.inline == nil, row.codec == Codec.raw.id, row.size > Codec.largestInput {
            let path = files.path(of: digest)
            guard let input = try InputFile(path: path) else {
                throw RegistryError.damaged(digest, "is missing its file", path: path)
            }
            var hasher = DigestHasher(algorithm: digest.algorithm)
            while true {
                let chunk = try input.read(1 << 20, at: hasher.byteCount)
                if chunk.isEmpty { break }
                hasher.update(chunk)
            }
            let found = hasher.finalize()
            guard found == digest else {
                throw RegistryError.damaged(digest, "now has the digest \(found)", path: path)
            }
            return hasher.byteCount
        }
        do {
            return try content(of: digest, row).count
        } catch let stale as StaleRow {
            throw stale.error
        }
    }

    private func names(using digest: Digest) async throws -> [String] {
        try await catalogue.read { db in
            try String.fetchAll(
                db,
                sql: """
                    SELECT DISTINCT repositories.name || ':' || tags.name FROM refs
                    JOIN manifests ON manifests.id = refs.manifest
                    JOIN repositories ON repositories.id = manifests.repository
                    JOIN tags ON tags.repository = manifests.repository AND tags.digest = manifests.digest
                    WHERE refs.digest = ? ORDER BY 1
                    """, arguments: [digest.description])
        }
    }
}

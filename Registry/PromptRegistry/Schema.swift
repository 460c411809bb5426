import GRDB
import OCIArtifacts

/// The catalogue's tables. Migrations are append-only: a published one is never edited, a new one is added below it.
///
///     repositories   the names
///     blobs          one row for each content, shared by all repositories; small ones lie inline
///     repo_blobs     which repository may serve which blob
///     manifests      exact bytes per repository, with what the referrers API asks for beside them
///     refs           which blobs a manifest needs
///     tags           names that point at manifests
///     tag_events     who moved which tag, when, from what to what, and why: never changed, never deleted
///     uploads        blobs on their way in
///     labels         task, labels and metrics of prompts, for searching; `base` holds Digest.searchKey of the anchor
///     versions       the highest version number that a repository has ever given out
///     trash          deleted manifests, until their grace has passed
///     trash_refs     which blobs those need
///     protected_tags which tags only an authorised change moves
///     quotas         how many bytes repositories may hold
///     totals         how much there is of what ``StoreStatistics`` tells, in one row: see ``Totals``
///
/// A blob row is committed only after its bytes are durable, and a manifest row only together with all it needs.
enum Schema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 catalogue") { db in
            try db.execute(
                sql: """
                    CREATE TABLE repositories (
                        id INTEGER PRIMARY KEY,
                        name TEXT NOT NULL UNIQUE,
                        created INTEGER NOT NULL
                    );
                    CREATE TABLE blobs (
                        digest TEXT NOT NULL PRIMARY KEY,
                        size INTEGER NOT NULL CHECK (size >= 0),
                        codec INTEGER NOT NULL,
                        stored_size INTEGER NOT NULL CHECK (stored_size >= 0),
                        inline BLOB CHECK (inline IS NULL OR length(inline) = stored_size),
                        created INTEGER NOT NULL,
                        last_leased INTEGER NOT NULL
                    );
                    CREATE INDEX blobs_by_lease ON blobs (last_leased);
                    CREATE TABLE repo_blobs (
                        repository INTEGER NOT NULL REFERENCES repositories (id),
                        digest TEXT NOT NULL REFERENCES blobs (digest),
                        PRIMARY KEY (repository, digest)
                    ) WITHOUT ROWID;
                    CREATE INDEX repo_blobs_by_digest ON repo_blobs (digest);
                    CREATE TABLE manifests (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        repository INTEGER NOT NULL REFERENCES repositories (id),
                        digest TEXT NOT NULL,
                        media_type TEXT NOT NULL,
                        artifact_type TEXT,
                        subject TEXT,
                        annotations TEXT NOT NULL,
                        bytes BLOB NOT NULL,
                        created INTEGER NOT NULL,
                        UNIQUE (repository, digest)
                    );
                    CREATE INDEX manifests_by_subject ON manifests (repository, subject, artifact_type)
                        WHERE subject IS NOT NULL;
                    CREATE TABLE refs (
                        manifest INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
                        digest TEXT NOT NULL,
                        required INTEGER NOT NULL,
                        PRIMARY KEY (manifest, digest)
                    ) WITHOUT ROWID;
                    CREATE INDEX refs_by_digest ON refs (digest);
                    CREATE TABLE tags (
                        repository INTEGER NOT NULL,
                        name TEXT NOT NULL,
                        digest TEXT NOT NULL,
                        updated INTEGER NOT NULL,
                        PRIMARY KEY (repository, name),
                        FOREIGN KEY (repository, digest) REFERENCES manifests (repository, digest)
                    ) WITHOUT ROWID;
                    CREATE INDEX tags_by_digest ON tags (repository, digest);
                    CREATE TABLE tag_events (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        repository TEXT NOT NULL,
                        tag TEXT NOT NULL,
                        from_digest TEXT,
                        to_digest TEXT,
                        who TEXT NOT NULL,
                        why TEXT NOT NULL,
                        at INTEGER NOT NULL
                    );
                    CREATE INDEX tag_events_by_tag ON tag_events (repository, tag);
                    CREATE TRIGGER tag_events_stay BEFORE UPDATE ON tag_events
                        BEGIN SELECT RAISE(ABORT, 'tag_events is append-only'); END;
                    CREATE TRIGGER tag_events_keep BEFORE DELETE ON tag_events
                        BEGIN SELECT RAISE(ABORT, 'tag_events is append-only'); END;
                    CREATE TABLE uploads (
                        id TEXT NOT NULL PRIMARY KEY,
                        repository TEXT NOT NULL,
                        algorithm TEXT,
                        offset INTEGER NOT NULL,
                        updated INTEGER NOT NULL
                    ) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("2 versions and care") { db in
            try db.execute(
                sql: """
                    CREATE INDEX manifests_by_base ON manifests (subject, artifact_type)
                        WHERE subject IS NOT NULL;
                    CREATE INDEX manifests_by_type ON manifests (artifact_type, id);
                    CREATE TABLE labels (
                        key TEXT NOT NULL,
                        value TEXT NOT NULL,
                        number REAL,
                        manifest INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
                        PRIMARY KEY (key, value, manifest)
                    ) WITHOUT ROWID;
                    CREATE INDEX labels_by_manifest ON labels (manifest);
                    CREATE INDEX labels_by_number ON labels (key, number) WHERE number IS NOT NULL;
                    CREATE TABLE versions (
                        repository TEXT NOT NULL PRIMARY KEY,
                        highest INTEGER NOT NULL
                    ) WITHOUT ROWID;
                    CREATE TABLE trash (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        repository TEXT NOT NULL,
                        digest TEXT NOT NULL,
                        media_type TEXT NOT NULL,
                        bytes BLOB NOT NULL,
                        tags TEXT NOT NULL,
                        who TEXT NOT NULL,
                        why TEXT NOT NULL,
                        at INTEGER NOT NULL
                    );
                    CREATE INDEX trash_by_name ON trash (repository, digest);
                    CREATE INDEX trash_by_age ON trash (at);
                    CREATE TABLE trash_refs (
                        trash INTEGER NOT NULL REFERENCES trash (id) ON DELETE CASCADE,
                        digest TEXT NOT NULL,
                        PRIMARY KEY (trash, digest)
                    ) WITHOUT ROWID;
                    CREATE INDEX trash_refs_by_digest ON trash_refs (digest);
                    CREATE TABLE protected_tags (
                        repositories TEXT NOT NULL,
                        tag TEXT NOT NULL,
                        PRIMARY KEY (repositories, tag)
                    ) WITHOUT ROWID;
                    CREATE TABLE quotas (
                        repositories TEXT NOT NULL PRIMARY KEY,
                        bytes INTEGER NOT NULL CHECK (bytes >= 0)
                    ) WITHOUT ROWID;
                    """)
            // What version 1 kept in the journal and in annotations only.
            let events = try Row.fetchCursor(db, sql: "SELECT DISTINCT repository, tag FROM tag_events")
            var highest: [String: Int] = [:]
            while let row = try events.next() {
                guard let number = (try? Tag(row["tag"] as String))?.versionNumber else { continue }
                let repository: String = row["repository"]
                highest[repository] = max(highest[repository] ?? 0, number)
            }
            for (repository, number) in highest {
                try db.execute(
                    sql: "INSERT INTO versions (repository, highest) VALUES (?, ?)", arguments: [repository, number])
            }
            let manifests = try Row.fetchAll(
                db, sql: "SELECT id, annotations FROM manifests WHERE artifact_type = ?",
                arguments: [MediaType.softPrompt])
            for row in manifests {
                let text: String = row["annotations"]
                let members = (try? JSONNode.parse(Array(text.utf8)))?.object ?? [:]
                for label in Database.labels(in: members.compactMapValues(\.string)) {
                    try db.execute(
                        sql: "INSERT OR IGNORE INTO labels (key, value, number, manifest) VALUES (?, ?, ?, ?)",
                        arguments: [label.key, label.value, label.number, row["id"] as Int64])
                }
            }
        }
        // Checked at once: checking the whole catalogue at the end would take longer than the migration.
        migrator.registerMigration("3 search within a base", foreignKeyChecks: .immediate) { db in
            try db.execute(
                sql: """
                    CREATE INDEX manifests_by_repository ON manifests (repository, artifact_type);
                    ALTER TABLE labels ADD COLUMN base INTEGER;
                    CREATE TEMPORARY TABLE prompt_bases (manifest INTEGER PRIMARY KEY, base INTEGER NOT NULL);
                    """)
            let subjects = try String.fetchAll(
                db, sql: "SELECT DISTINCT subject FROM manifests WHERE subject IS NOT NULL AND artifact_type = ?",
                arguments: [MediaType.softPrompt])
            for subject in subjects {
                try db.execute(
                    sql: """
                        INSERT INTO prompt_bases SELECT id, ? FROM manifests INDEXED BY manifests_by_base
                        WHERE subject = ? AND artifact_type = ?
                        """, arguments: [Digest.searchKey(subject), subject, MediaType.softPrompt])
            }
            try db.execute(
                sql: """
                    UPDATE labels SET base = (SELECT base FROM prompt_bases WHERE manifest = labels.manifest);
                    DROP TABLE prompt_bases;
                    CREATE INDEX labels_by_base ON labels (base, key, value, manifest) WHERE base IS NOT NULL;
                    CREATE INDEX labels_by_base_number ON labels (base, key, number)
                        WHERE base IS NOT NULL AND number IS NOT NULL;
                    """)
        }
        migrator.registerMigration("4 totals", foreignKeyChecks: .immediate) { db in
            try db.execute(
                sql: """
                    CREATE TABLE totals (
                        id INTEGER PRIMARY KEY CHECK (id = 1),
                        repositories INTEGER NOT NULL,
                        manifests INTEGER NOT NULL,
                        tags INTEGER NOT NULL,
                        blobs INTEGER NOT NULL,
                        blob_bytes INTEGER NOT NULL,
                        stored_bytes INTEGER NOT NULL,
                        uploads INTEGER NOT NULL,
                        trash INTEGER NOT NULL
                    );
                    INSERT INTO totals VALUES (1,
                        (SELECT count(*) FROM repositories), (SELECT count(*) FROM manifests),
                        (SELECT count(*) FROM tags), (SELECT count(*) FROM blobs),
                        (SELECT coalesce(sum(size), 0) FROM blobs),
                        (SELECT coalesce(sum(stored_size), 0) FROM blobs),
                        (SELECT count(*) FROM uploads), (SELECT count(*) FROM trash));
                    CREATE TRIGGER totals_blob_comes AFTER INSERT ON blobs BEGIN
                        UPDATE totals SET blobs = blobs + 1, blob_bytes = blob_bytes + new.size,
                            stored_bytes = stored_bytes + new.stored_size;
                    END;
                    CREATE TRIGGER totals_blob_goes AFTER DELETE ON blobs BEGIN
                        UPDATE totals SET blobs = blobs - 1, blob_bytes = blob_bytes - old.size,
                            stored_bytes = stored_bytes - old.stored_size;
                    END;
                    CREATE TRIGGER totals_blob_changes AFTER UPDATE OF size, stored_size ON blobs
                    WHEN new.size != old.size OR new.stored_size != old.stored_size BEGIN
                        UPDATE totals SET blob_bytes = blob_bytes + new.size - old.size,
                            stored_bytes = stored_bytes + new.stored_size - old.stored_size;
                    END;
                    """)
            for table in ["repositories", "manifests", "tags", "uploads", "trash"] {
                try db.execute(
                    sql: """
                        CREATE TRIGGER totals_\(table)_come AFTER INSERT ON \(table)
                            BEGIN UPDATE totals SET \(table) = \(table) + 1; END;
                        CREATE TRIGGER totals_\(table)_go AFTER DELETE ON \(table)
                            BEGIN UPDATE totals SET \(table) = \(table) - 1; END;
                        """)
            }
        }
        return migrator
    }
}

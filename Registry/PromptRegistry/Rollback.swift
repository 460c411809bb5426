import OCIArtifacts

extension EmbeddedStore {
    /// Points a tag back at what it meant before its last move.
    ///
    /// - Returns: the move that was made, from and to.
    /// - Throws: `.manifestUnknown` when the tag does not exist, never moved, or what it meant before is gone; `.denied`
    ///   for a version tag, which never moves, and for a protected one that the ``ChangeNote`` in force does not cover.
    @discardableResult
    public func rollback(_ tag: Tag, in repository: RepositoryName) async throws -> (from: Digest, to: Digest) {
        guard tag.versionNumber == nil else {
            throw RegistryError(.denied, "\(repository):\(tag) is a version and never moved", repository: repository)
        }
        guard let current = try await manifest(.tag(tag), in: repository)?.digest else {
            throw RegistryError.unknownManifest(.tag(tag), in: repository)
        }
        // Rollbacks are moves too: what was rolled back from is not returned to, as in an editor's undo.
        var undone: Set<Digest> = [current]
        for event in try await tagEvents(in: repository, tag: tag) {
            if event.why.hasPrefix(Self.rollbackPrefix), let from = event.from { undone.insert(from) }
            guard event.to.map({ undone.contains($0) }) == true, let previous = event.from, !undone.contains(previous)
            else { continue }
            let reason = note.why.isEmpty ? "" : ": \(note.why)"
            let move = ChangeNote(
                who: note.who, why: "\(Self.rollbackPrefix) from \(current.short)\(reason)",
                mayMoveProtectedTags: note.mayMoveProtectedTags)
            try await ChangeNote.$current.withValue(move) { try await setTag(tag, to: previous, in: repository) }
            return (current, previous)
        }
        throw RegistryError(
            .manifestUnknown, "\(repository):\(tag) has no earlier meaning to go back to; see incipit prompt log",
            repository: repository, digest: current)
    }

    private static let rollbackPrefix = "rollback"
}

import OCIArtifacts

/// Which version was made from which.
public struct LineageNode: Hashable, Sendable {
    public let record: PromptRecord
    /// Made from this one, by version number.
    public let children: [LineageNode]
    /// The digest of a parent that is not in the repository (any more).
    public let missingParent: Digest?

    /// The trees of some records: those without a parent among them are the roots.
    ///
    /// A parent is named by digest inside what the child's digest is computed over, so that there are no cycles; records
    /// that claim one all the same become roots.
    public static func trees(of records: [PromptRecord]) -> [LineageNode] {
        let known = Set(records.map(\.digest))
        let children = Dictionary(grouping: records) { record in record.parent.flatMap { known.contains($0) ? $0 : nil }
        }
        var reached: Set<Digest> = []
        func node(_ record: PromptRecord) -> LineageNode {
            reached.insert(record.digest)
            let next = (children[record.digest] ?? []).filter { !reached.contains($0.digest) }
            return LineageNode(
                record: record, children: sorted(next).map(node),
                missingParent: record.parent.flatMap { known.contains($0) ? nil : $0 })
        }
        var roots = sorted(children[nil] ?? []).map(node)
        for record in sorted(records) where !reached.contains(record.digest) { roots.append(node(record)) }
        return roots
    }

    private static func sorted(_ records: [PromptRecord]) -> [PromptRecord] {
        records.sorted { ($0.version ?? .max, $0.digest) < ($1.version ?? .max, $1.digest) }
    }
}

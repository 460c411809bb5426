import Foundation
import OCIArtifacts

/// One line of the journal of tags: who moved a tag, when, from what to what, and why.
public struct TagEvent: Hashable, Sendable {
    public let repository: RepositoryName
    public let tag: Tag
    /// nil when the tag was new.
    public let from: Digest?
    /// nil when the tag was deleted.
    public let to: Digest?
    public let who: String
    public let why: String
    public let at: Date

    public init(
        repository: RepositoryName, tag: Tag, from: Digest?, to: Digest?, who: String, why: String, at: Date
    ) {
        self.repository = repository
        self.tag = tag
        self.from = from
        self.to = to
        self.who = who
        self.why = why
        self.at = at
    }
}

/// Who changes tags, and why: bound around calls that change them, read by stores that keep a journal.
///
///     try await ChangeNote.$current.withValue(ChangeNote(who: "alice", why: "passed the gate")) {
///         try await store.putManifest(…)
///     }
public struct ChangeNote: Hashable, Sendable {
    public var who: String
    public var why: String
    /// Whether this change may move tags that the registry protects.
    public var mayMoveProtectedTags: Bool

    public init(who: String, why: String, mayMoveProtectedTags: Bool = false) {
        self.who = who
        self.why = why
        self.mayMoveProtectedTags = mayMoveProtectedTags
    }

    /// The note in force; nil outside any.
    @TaskLocal public static var current: ChangeNote?
}

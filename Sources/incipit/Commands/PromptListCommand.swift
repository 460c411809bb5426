import ArgumentParser
import Conversion
import OCIArtifacts
import PromptRegistry
import SoftPrompts

struct PromptListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List stored prompts, all or those that belong to a model.",
        discussion: """
            Lists this machine's registry, or another one:

              incipit prompt list --base model.gguf                              what this model can be given
              incipit prompt list registry.example.com/team/task --base model.gguf   the same there, one request
              incipit prompt list registry.example.com/ --base model.gguf            in all repositories it lists

            A registry is asked for what refers to the base's anchor (OCI 1.1), or, if it cannot say, for the list that \
            clients keep under the tag sha256-<anchor>. Prompts that were pushed by tools which keep no such list are found \
            by --every-tag alone.
            """)

    @Argument(help: "Only versions of this prompt: NAME, or HOST[:PORT]/NAME; HOST[:PORT]/ for all of a registry.")
    var name: String?
    @Option(help: "Only prompts trained on this model: a GGUF file or a Hugging Face folder.", completion: .file())
    var base: String?
    @Option(help: "The same by the model's fingerprint, as `incipit fingerprint` prints it.")
    var baseFingerprint: String?
    @Option(help: "Only prompts for this task.") var task: String?
    @Option(help: "Only prompts with this label, KEY=VALUE; may come several times.") var label: [String] = []
    @Option(help: "Only prompts with a metric in this range, NAME>=VALUE or NAME<=VALUE; may come several times.")
    var metric: [String] = []
    @Option(help: "At most so many.") var limit: Int?
    @Option(help: "Leave out so many at the beginning.") var offset = 0
    @Option(help: "Go on behind this row of the same list, NAME@DIGEST: the next page, however far in.")
    var after: String?
    @Flag(help: "In another registry: read the manifest under each tag, whatever its list of referrers says.")
    var everyTag = false
    @OptionGroup var remote: RemoteOptions
    @Flag(help: "Print JSON.") var json = false

    /// Where to look: a host for another registry, and the repository when one is named.
    private struct Place {
        var host: String?
        var repository: RepositoryName?

        init(_ text: String?) throws {
            guard let text else { return }
            if let slash = text.firstIndex(of: "/"), text.index(after: slash) == text.endIndex {
                // A host alone; what can be one, the parser of references knows.
                host = try Reference(text + "any").host
                guard host != nil else {
                    throw CommandFailure(
                        .usage, "“\(text)” names no registry; write HOST/ or HOST:PORT/ with a dot, a port or localhost"
                    )
                }
                return
            }
            let reference: Reference
            do { reference = try Reference(text) } catch {
                throw CommandFailure(.usage, "“\(text)” cannot name a prompt: \(error)")
            }
            guard reference.reference == nil else {
                throw CommandFailure(
                    .usage,
                    "“\(text)” names one version; list all of them by the name alone, "
                        + "\(reference.host.map { $0 + "/" } ?? "")\(reference.repository)")
            }
            host = reference.host
            repository = reference.repository
        }
    }

    func validate() throws {
        if everyTag, !(name ?? "").contains("/") {
            throw ValidationError("--every-tag is for another registry; name it: HOST/NAME or HOST/.")
        }
        if let limit, limit < 1 { throw ValidationError("--limit must be at least 1, not \(limit).") }
        if offset < 0 { throw ValidationError("--offset must be at least 0, not \(offset).") }
        for text in metric where PromptQuery.MetricBound(text) == nil {
            throw ValidationError("--metric is NAME>=VALUE or NAME<=VALUE, not \(text).")
        }
        for text in label where !text.dropFirst().contains("=") {
            throw ValidationError("--label is KEY=VALUE, not \(text).")
        }
    }

    private static func position(_ text: String) throws -> PromptQuery.Position {
        guard let reference = try? Reference(text), case .digest(let digest)? = reference.reference else {
            throw CommandFailure(
                .usage, "--after is NAME@DIGEST, a row of the list with its whole digest (see --json), not “\(text)”")
        }
        return .init(name: reference.repository, digest: digest)
    }

    func run() async throws {
        let home = Home()
        let place = try Place(name)
        let fingerprint = try base.map { path in
            let progress = ByteProgress("hashing")
            defer { progress.finish() }
            return try ModelFingerprint.compute(
                of: try ModelSourceOpening.open(path), cacheFolder: home.cache + "/fingerprints"
            ) { _ = progress.continues($0, of: $1) }.base
        }
        var query = PromptQuery()
        query.base = try fingerprint.map { try Digest($0.fingerprint) }
        if let baseFingerprint { query.base = try Digest(baseFingerprint) }
        query.repository = place.repository
        query.task = task
        for text in label {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            query.labels[String(parts[0])] = String(parts[1])
        }
        query.metrics = metric.compactMap { PromptQuery.MetricBound($0) }
        query.limit = limit
        query.offset = offset
        query.after = try after.map(Self.position)
        let registry =
            if let host = place.host { PromptRegistry(try remote.store(host: host)) } else {
                try PromptStore(home: home).registry
            }
        var records: [PromptRecord]
        do {
            records = try await registry.search(query, readingEveryTag: everyTag)
        } catch let error as RegistryError
            where place.host != nil && query.repository == nil
            && [.nameUnknown, .unsupported, .denied].contains(error.code)
        {
            throw CommandFailure(
                .unavailable,
                "\(place.host ?? "") does not list its repositories (\(error.message)); name one: "
                    + "incipit prompt list \(place.host ?? "")/NAME")
        }
        if place.host == nil, query.metrics.isEmpty, limit == nil, after == nil {
            records.sort { ($0.name, $0.version ?? .max) < ($1.name, $1.version ?? .max) }
        }
        let rows = records.map(PromptRow.init)
        if json { return try Output.json(rows) }
        if rows.isEmpty {
            let base = query.base.map { " for base \($0.short)" } ?? ""
            return Output.line("no prompts\(base)\(place.host.map { " at \($0)" } ?? "; `incipit tune` makes one")")
        }
        Output.line(
            Output.table(
                ["name", "tags", "method", "tokens", "base", "metrics", "digest"],
                rows.map { row in
                    [
                        row.name, row.tags.joined(separator: " "), row.method, row.tokens.map(String.init) ?? "",
                        String(row.base.dropFirst("sha256:".count).prefix(12)),
                        row.metrics.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "),
                        String(row.digest.prefix("sha256:".count + 12)),
                    ]
                }))
        if let limit, let last = records.last, records.count == limit {
            Output.note("the next page: the same with --after \(last.name)@\(last.digest)")
        }
    }
}

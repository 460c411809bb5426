import HTTPTypes
import Hummingbird
import OCIArtifacts
import PromptRegistry

// Tag lists, referrers and the catalogue: end-8, end-12 and Docker's `_catalog`.
extension OCIRoutes {
    /// The size a page of referrers is kept under; clients accept 4 MiB.
    private static let referrersPageSize = 3 << 20

    func listTags(_ name: RepositoryName, _ query: QueryParameters) async throws -> Response {
        let limit = try pageLimit(query, name)
        var tags: [Tag]
        if limit == 0 {
            guard try await store.repositoryExists(name) else {
                throw OCIError(.notFound, .nameUnknown, "there is no repository \(name)", repository: name)
            }
            tags = []
        } else {
            // One more than asked for tells whether there is a next page.
            tags = try await store.tags(in: name, last: query["last"], limit: limit.map { $0 + 1 })
        }
        var headers: HTTPFields = [:]
        if let limit, tags.count > limit {
            tags = Array(tags.prefix(limit))
            headers[.link] = next(
                "/v2/\(name)/tags/list", [("n", String(limit)), ("last", tags.last?.description ?? "")])
        }
        return json(
            .object([
                "name": .string(name.description), "tags": .array(tags.map { .string($0.description) }),
            ]),
            headers: headers)
    }

    func listReferrers(_ text: String, _ name: RepositoryName, _ query: QueryParameters) async throws -> Response {
        guard options.offersReferrers else { throw OCIError.noSuchPath }
        let subject = try digest(text, name)
        let type = query["artifactType"].flatMap { $0.isEmpty ? nil : $0 }
        let all = try await store.referrers(of: subject, artifactType: type, in: name)
        var rest = all[...]
        if let last = query["last"], let index = rest.firstIndex(where: { $0.digest.description == last }) {
            rest = rest[rest.index(after: index)...]
        }
        var page: [Descriptor] = []
        var size = 0
        while let descriptor = rest.first {
            size += descriptor.node.canonical.count + 1
            guard page.isEmpty || size <= Self.referrersPageSize else { break }
            page.append(descriptor)
            rest.removeFirst()
        }
        var headers: HTTPFields = [.contentType: MediaType.imageIndex]
        if type != nil { headers[.ociFiltersApplied] = "artifactType" }
        if !rest.isEmpty, let last = page.last {
            var parameters = [("last", last.digest.description)]
            if let type { parameters.append(("artifactType", type)) }
            headers[.link] = next("/v2/\(name)/referrers/\(subject)", parameters)
        }
        let bytes = ImageIndex(manifests: page).serialized
        return Response(status: .ok, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    func listRepositories(_ query: QueryParameters, _ admitted: Admitted) async throws -> Response {
        let limit = try pageLimit(query, nil)
        var names = try await store.repositories().filter { admitted.mayPull($0) }
        if let last = query["last"] {
            names.removeAll { !last.utf8.lexicographicallyPrecedes($0.description.utf8) }
        }
        var headers: HTTPFields = [:]
        if let limit, names.count > limit {
            names = Array(names.prefix(limit))
            if let last = names.last {
                headers[.link] = next("/v2/_catalog", [("n", String(limit)), ("last", last.description)])
            }
        }
        return json(
            .object(["repositories": .array(names.map { .string($0.description) })]), headers: headers)
    }

    private func pageLimit(_ query: QueryParameters, _ name: RepositoryName?) throws -> Int? {
        guard let text = query["n"] else { return nil }
        guard let limit = parseOffset(text.utf8) else {
            throw OCIError(.badRequest, .unsupported, "n must be a whole number, 0 or more", repository: name)
        }
        return limit
    }

    private func next(_ path: String, _ parameters: [(String, String)]) -> String {
        let query = parameters.map { "\($0.0)=\(QueryParameters.encoded($0.1))" }.joined(separator: "&")
        return "<\(path)?\(query)>; rel=\"next\""
    }
}

import HTTPTypes
import Hummingbird
import Logging
import OCIArtifacts
import PromptRegistry

/// A request that is answered with an error: its status, and the body `{"errors":[{code, message, detail}]}` of the
/// distribution spec.
struct OCIError: Error {
    let status: HTTPResponse.Status
    let code: RegistryError.Code
    let message: String
    var repository: RepositoryName?
    var digest: Digest?
    var headers: HTTPFields

    init(
        _ status: HTTPResponse.Status, _ code: RegistryError.Code, _ message: String,
        repository: RepositoryName? = nil, digest: Digest? = nil, headers: HTTPFields = [:]
    ) {
        self.status = status
        self.code = code
        self.message = message
        self.repository = repository
        self.digest = digest
        self.headers = headers
    }

    static let noSuchPath = OCIError(
        .notFound, .unsupported, "this path is none of the OCI distribution API; see the endpoints under /v2/")

    static func methodNotAllowed(_ allowed: [HTTPRequest.Method]) -> OCIError {
        let list = allowed.map(\.rawValue).joined(separator: ", ")
        return OCIError(
            .methodNotAllowed, .unsupported, "this path answers \(list) only", headers: [.allow: list])
    }

    /// The one place where errors become statuses.
    init(_ error: any Error, logger: Logger) {
        switch error {
        case let error as OCIError:
            self = error
        case let error as RegistryError:
            self = Self.translated(error, logger: logger)
        case let error as OCIArtifactError:
            self = Self.translated(RegistryError(error), logger: logger)
        case is CancellationError:
            self.init(.serviceUnavailable, .unsupported, "the registry is shutting down; try again")
        default:
            logger.error("request failed", metadata: ["error": "\(error)"])
            self.init(.internalServerError, Self.unknown, "the registry failed; its log says why")
        }
    }

    private static let unknown = RegistryError.Code("UNKNOWN")

    private static func translated(_ error: RegistryError, logger: Logger) -> OCIError {
        func answer(_ status: HTTPResponse.Status, as code: RegistryError.Code? = nil) -> OCIError {
            OCIError(
                status, code ?? error.code, error.message, repository: error.repository, digest: error.digest)
        }
        switch error.code {
        case .blobUnknown, .blobUploadUnknown, .manifestUnknown, .nameUnknown, .manifestBlobUnknown:
            return answer(.notFound)
        case .blobUploadInvalid, .digestInvalid, .manifestInvalid, .nameInvalid, .sizeInvalid:
            return answer(.badRequest)
        case .rangeInvalid: return answer(.rangeNotSatisfiable, as: .blobUploadInvalid)
        case .unauthorized: return answer(.unauthorized)
        case .denied: return answer(.forbidden)
        case .unsupported: return answer(.methodNotAllowed)
        case .tooManyRequests:
            var result = answer(.tooManyRequests)
            result.headers[.retryAfter] = "1"
            return result
        default:
            // Messages about files and databases are for the one who runs the registry, not for its clients.
            logger.error("request failed", metadata: ["error": "\(error)"])
            return OCIError(
                .internalServerError, Self.unknown, "the registry failed (\(error.code)); its log says why",
                repository: error.repository, digest: error.digest)
        }
    }

    /// The answer; without a body when `isHead`.
    func response(isHead: Bool) -> Response {
        var detail: [String: JSONNode] = [:]
        if let repository { detail["name"] = .string(repository.description) }
        if let digest { detail["digest"] = .string(digest.description) }
        let item: JSONNode = .object([
            "code": .string(code.description), "message": .string(message), "detail": .object(detail),
        ])
        let bytes = JSONNode.object(["errors": .array([item])]).canonical
        var fields = headers
        fields[.contentType] = "application/json"
        fields[.contentLength] = String(bytes.count)
        return Response(
            status: status, headers: fields, body: isHead ? .init() : .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}

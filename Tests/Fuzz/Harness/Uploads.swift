import OCIArtifacts
import PromptRegistry

/// Reads the bytes as a list of requests to uploads, and compares a registry with a model of what uploads are: the bytes
/// received so far, or gone.
///
/// A request is a line: the letter of the operation, then its text. `b` begins an upload, `1`…`9` turn to one of those
/// begun, `r` says the Content-Range of the next chunk, `a` appends the text, `x` appends it from a body that breaks off,
/// `f` finishes, `w` finishes with a wrong digest, `c` cancels, `g` asks for a range of what was finished last.
@Sendable func driveUploads(_ bytes: [UInt8]) {
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true).prefix(64).map(Array.init)
    runToEnd {
        do {
            var run = try UploadRun()
            try await run.follow(lines)
        } catch {
            preconditionFailure("a request failed in another way: \(error)")
        }
    }
}

private struct Broken: Error {}

private struct UploadRun {
    let store = MemoryStore()
    let name: RepositoryName
    /// Id and bytes of each upload; nil bytes for those that are gone.
    var uploads: [(id: String, bytes: [UInt8]?)] = []
    var current = 0
    var range: ContentRange?
    var finished: [UInt8]?

    init() throws { name = try RepositoryName("fuzz/upload") }

    mutating func follow(_ lines: [[UInt8]]) async throws {
        for line in lines {
            let text = Array(line.dropFirst())
            switch line[0] {
            case UInt8(ascii: "b") where uploads.count < 9:
                let session = try await store.beginUpload(in: name, algorithm: nil)
                precondition(session.offset == 0)
                uploads.append((session.id, []))
            case UInt8(ascii: "1")...UInt8(ascii: "9"):
                current = Int(line[0] - UInt8(ascii: "1"))
            case UInt8(ascii: "r"):
                range = ContentRange(String(decoding: text, as: UTF8.self))
                if let range { precondition(range.count >= 1 && range.first <= range.last) }
            case UInt8(ascii: "a"): try await append(text, breaks: false)
            case UInt8(ascii: "x"): try await append(text, breaks: true)
            case UInt8(ascii: "f"): try await finish(wrong: false)
            case UInt8(ascii: "w"): try await finish(wrong: true)
            case UInt8(ascii: "c"): try await cancel()
            case UInt8(ascii: "g"): try await read(String(decoding: text, as: UTF8.self))
            default: break
            }
            try await compare()
        }
    }

    /// The current upload; nil when none has been begun under this number.
    private var id: String? { current < uploads.count ? uploads[current].id : nil }
    private var expected: [UInt8]? { current < uploads.count ? uploads[current].bytes : nil }

    private mutating func append(_ chunk: [UInt8], breaks: Bool) async throws {
        guard let id else { return }
        let offset = range?.first
        range = nil
        let source = ChunkSource(chunk, chunkSize: 7)
        do {
            let session = try await store.append(to: id, in: name, expectedOffset: offset) {
                if let piece = source.next() { return piece }
                if breaks { throw Broken() }
                return nil
            }
            guard var bytes = expected else { preconditionFailure("an upload that is gone took bytes") }
            precondition(!breaks && (offset ?? bytes.count) == bytes.count, "bytes were taken at another place")
            bytes += chunk
            uploads[current].bytes = bytes
            precondition(session.offset == bytes.count && uploadRange(offset: session.offset).hasPrefix("0-"))
        } catch is Broken {
            // What came before the break counts.
            guard let bytes = expected, breaks, (offset ?? bytes.count) == bytes.count else {
                preconditionFailure("a refused body was read")
            }
            uploads[current].bytes = bytes + chunk
        } catch let error as RegistryError {
            switch error.code {
            case .blobUploadUnknown: precondition(expected == nil, "an open upload is unknown")
            case .rangeInvalid: precondition(offset != nil && offset != expected?.count, "a right offset was refused")
            default: throw error
            }
        }
    }

    private mutating func finish(wrong: Bool) async throws {
        guard let id else { return }
        let digest = Digest.sha256(of: (expected ?? []) + (wrong ? [1] : []))
        do {
            try await store.finishUpload(id, in: name, digest: digest)
            guard let bytes = expected, !wrong else { preconditionFailure("a wrong or missing upload was finished") }
            let stored = try await store.readBlob(digest, in: name)
            precondition(stored == bytes, "the blob has other bytes")
            finished = bytes
        } catch let error as RegistryError {
            switch error.code {
            case .digestInvalid: precondition(wrong && expected != nil, "a right digest was refused")
            case .blobUploadUnknown: precondition(expected == nil, "an open upload is unknown")
            default: throw error
            }
        }
        uploads[current].bytes = nil
    }

    private mutating func cancel() async throws {
        guard let id else { return }
        do {
            try await store.cancelUpload(id, in: name)
            precondition(expected != nil, "an upload that is gone was cancelled")
        } catch let error as RegistryError where error.code == .blobUploadUnknown {
            precondition(expected == nil, "an open upload is unknown")
        }
        uploads[current].bytes = nil
    }

    private func read(_ header: String) async throws {
        guard let finished else { return }
        guard case .part(let part) = RequestedRange(header, size: finished.count) else { return }
        precondition(!part.isEmpty && part.lowerBound >= 0 && part.upperBound <= finished.count, "a range lies outside")
        let collected = ByteCollector()
        try await store.readBlob(.sha256(of: finished), in: name, range: part) { _ = collected.append($0) }
        precondition(collected.bytes == Array(finished[part]), "a range has other bytes")
    }

    /// Every upload stands where the model says.
    private func compare() async throws {
        for upload in uploads {
            let session = try await store.upload(upload.id, in: name)
            precondition(session?.offset == upload.bytes?.count, "an upload stands at another byte")
        }
    }
}

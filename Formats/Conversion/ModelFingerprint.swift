import ByteIO
import Crypto
import Dispatch
import GGUF
import SoftPrompts
import Synchronization
import TensorTypes

/// The identity of a model file: the same numbers give the same fingerprint, whatever the container.
///
/// - A tensor's digest is `SHA256(name ‖ 0 ‖ type ‖ 0 ‖ dims ‖ 0 ‖ SHA256(data))`. F16 and BF16 count as the F32 they
///   widen to; other types are their raw bytes. Dimensions are decimal, in ggml's order, without trailing ones, joined
/// by `x`.
/// - `weights` is the SHA-256 of the tensors' digests in byte order of their names. Left out are `rope_freqs.weight`,
///   which follows from hyperparameters, and an `output.weight` that repeats the token embedding.
/// - `embedding` is the digest of `token_embd.weight`; `tokenizer` and `architecture` are SHA-256 of the canonical
///   JSON of
///   ``TokenizerIdentity`` and ``ArchitectureIdentity``.
/// - `fingerprint` is the SHA-256 of the canonical JSON of those four.
///
/// Not counted: alignment, order of tensors and of metadata, file type, names, licences, chat template.
public struct ModelFingerprint: Sendable, Equatable {
    /// One tensor as it was counted.
    public struct Tensor: Sendable, Equatable {
        public let name: String
        /// `F32` for every float type within F32, else ggml's name.
        public let type: String
        public let dimensions: String
        /// `sha256:<hex>`.
        public let digest: String
    }

    public let base: BaseFingerprint
    /// In byte order of their names.
    public let tensors: [Tensor]
    /// `incipit.source.fingerprint` of the file: what it was made from, where that was us.
    public let source: String?
    /// The canonical JSON that ``BaseFingerprint/tokenizer`` is the digest of would be large; this is beside it:
    /// what differs between converters without changing ids (token types, special ids, add_* flags).
    public let tokenizerDetails: JSONValue
    /// The hyperparameters that entered.
    public let architectureDetails: JSONValue
    /// Whether nothing had to be hashed.
    public let isFromCache: Bool

    /// Computes the fingerprint of a file, or takes it from the cache.
    /// - Parameters:
    ///   - cacheFolder: a folder for results, made when missing; nil does without. A result is used again while the
    ///     path, device, inode, size and modification time (in nanoseconds) of every part are the same. A cache that cannot
    ///     be read or written is ignored.
    ///   - progress: called from several threads with the bytes hashed so far and in all.
    /// - Throws: ``ConversionError`` when the file has no token embedding, `GGUFError` when it has no architecture.
    public static func compute(
        of file: GGUFFile, cacheFolder: String? = nil, progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil
    ) throws -> ModelFingerprint {
        try compute(of: GGUFSource(file), cacheFolder: cacheFolder, progress: progress)
    }

    /// Computes the fingerprint of a model in any container; otherwise as for a file.
    public static func compute(
        of source: any ModelSource, cacheFolder: String? = nil,
        progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil
    ) throws -> ModelFingerprint {
        let cache = cacheFolder.flatMap { FingerprintCache(folder: $0, files: source.files) }
        if let stored = cache?.read() { return stored }
        let result = try hash(source, progress: progress)
        cache?.write(result)
        return result
    }

    private static func hash(
        _ source: any ModelSource, progress: (@Sendable (_ done: Int, _ total: Int) -> Void)?
    ) throws -> ModelFingerprint {
        guard source.tensors.contains(where: { $0.name == TensorDigests.embeddingName }) else {
            throw ConversionError(
                .missingTensor,
                "there is no tensor \(TensorDigests.embeddingName); this is no language model (an adapter, a projector or "
                    + "a part of a split model?)", path: source.path)
        }
        let architecture = try ArchitectureIdentity.json(of: source)
        // A vocabulary takes as long as some hundred megabytes of weights: they are done side by side.
        let vocabulary = Mutex<Result<(digest: String, details: JSONValue), any Error>?>(nil)
        let weights = Mutex<Result<[TensorDigests.Entry], any Error>?>(nil)
        DispatchQueue.concurrentPerform(iterations: 2) { part in
            if part == 0 {
                let result = Result<(digest: String, details: JSONValue), any Error> {
                    let (tokenizer, details) = try TokenizerIdentity.json(of: source.metadata)
                    return (Digests.text(SHA256.hash(data: tokenizer.canonicalBytes())), details)
                }
                vocabulary.withLock { $0 = result }
            } else {
                let result = Result { try TensorDigests.compute(of: source, progress: progress) }
                weights.withLock { $0 = result }
            }
        }
        guard let (tokenizer, details) = try vocabulary.withLock({ $0 })?.get(),
            let digests = try weights.withLock({ $0 })?.get()
        else { preconditionFailure("both parts were done") }

        var all = SHA256()
        for entry in digests { all.update(data: entry.digest) }
        guard let embedding = digests.first(where: { $0.tensor.name == TensorDigests.embeddingName })?.digest else {
            preconditionFailure("the embedding was found above")
        }
        let parts = (
            architecture: Digests.text(SHA256.hash(data: architecture.canonicalBytes())),
            embedding: Digests.text(embedding),
            tokenizer: tokenizer,
            weights: Digests.text(all.finalize())
        )
        let together: JSONValue = [
            "architecture": .string(parts.architecture), "embedding": .string(parts.embedding),
            "tokenizer": .string(parts.tokenizer), "weights": .string(parts.weights),
        ]
        let base = BaseFingerprint(
            fingerprint: Digests.text(SHA256.hash(data: together.canonicalBytes())), weights: parts.weights,
            embedding: parts.embedding, tokenizer: parts.tokenizer, architecture: parts.architecture)
        let root = try? source.metadata.stringIfPresent("incipit.source.fingerprint")
        return ModelFingerprint(
            base: base, tensors: digests.map(\.tensor),
            source: root.flatMap { BaseFingerprint.isDigest($0) ? $0 : nil },
            tokenizerDetails: details, architectureDetails: architecture, isFromCache: false)
    }
}

/// Digests as text.
enum Digests {
    static func text(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text = Array("sha256:".utf8)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}

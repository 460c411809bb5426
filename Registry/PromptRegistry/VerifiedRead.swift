import OCIArtifacts

/// Reads a part of a blob in chunks of a megabyte, off the cooperative pool. A whole blob is hashed on the way and its last
/// chunk is held back until the digest is right, so that damage never passes for a complete blob; a part cannot be verified
/// alone.
///
/// - Parameters:
///   - part: within 0..<`size`, the size of the whole.
///   - path: what messages name.
///   - mismatch: how the message about a wrong digest goes on, before that digest.
///   - read: at most so many bytes from an offset on; none where the file has ended.
/// - Throws: `RegistryError.damaged`, and what `read` and `consume` throw.
func readVerified(
    _ digest: Digest, _ part: Range<Int>, of size: Int, path: String, mismatch: String,
    read: @escaping @Sendable (_ count: Int, _ offset: Int) throws -> [UInt8],
    _ consume: @Sendable ([UInt8]) async throws -> Void
) async throws {
    let isWhole = part.count == size
    var hasher = DigestHasher(algorithm: digest.algorithm)
    var held: [UInt8]?
    var position = part.lowerBound
    while position < part.upperBound {
        let offset = position
        let chunk = try await offload { try read(min(1 << 20, part.upperBound - offset), offset) }
        guard !chunk.isEmpty else { throw RegistryError.damaged(digest, "ends early", path: path) }
        if isWhole { hasher.update(chunk) }
        if let held { try await consume(held) }
        held = chunk
        position += chunk.count
    }
    if isWhole {
        let found = hasher.finalize()
        guard found == digest else { throw RegistryError.damaged(digest, "\(mismatch) \(found)", path: path) }
    }
    if let held { try await consume(held) }
}

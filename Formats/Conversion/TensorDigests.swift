import ByteIO
import Crypto
import Dispatch
import GGUF
import Synchronization
import TensorTypes

/// Hashes the tensors of a model in their canonical form, several at a time.
enum TensorDigests {
    static let embeddingName = "token_embd.weight"
    static let outputName = "output.weight"
    static let derivedNames: Set<String> = ["rope_freqs.weight"]

    struct Entry: Sendable {
        var tensor: ModelFingerprint.Tensor
        /// 32 bytes.
        var digest: [UInt8]
    }

    /// The digests of all tensors that count, in byte order of their names.
    static func compute(
        of source: any ModelSource, progress: (@Sendable (_ done: Int, _ total: Int) -> Void)?
    ) throws -> [Entry] {
        let tensors = source.tensors.filter { !derivedNames.contains($0.name) }
        // Largest first, so that no thread is left with the embedding at the end.
        let order = tensors.indices.sorted { tensors[$0].byteCount > tensors[$1].byteCount }
        let total = tensors.reduce(0) { $0 + $1.byteCount }
        let results = Mutex<[Int: (data: [UInt8], entry: Entry)]>([:])
        let failure = Mutex<(any Error)?>(nil)
        let done = Atomic(0)
        DispatchQueue.concurrentPerform(iterations: order.count) { position in
            let number = order[position]
            let tensor = tensors[number]
            guard failure.withLock({ $0 == nil }) else { return }
            do {
                let data = Array(try dataDigest(of: tensor, in: source))
                let entry = entry(tensor, data: data)
                results.withLock { $0[number] = (data, entry) }
            } catch {
                failure.withLock { $0 = $0 ?? error }
            }
            let now = done.add(tensor.byteCount, ordering: .relaxed).newValue
            progress?(now, total)
        }
        if let error = failure.withLock({ $0 }) { throw error }
        let byNumber = results.withLock { $0 }
        var entries = tensors.indices.compactMap { byNumber[$0]?.entry }
        if let output = tensors.firstIndex(where: { $0.name == outputName }),
            let embedding = tensors.firstIndex(where: { $0.name == embeddingName }),
            byNumber[output]?.data == byNumber[embedding]?.data,
            isSameForm(tensors[output], tensors[embedding])
        {
            entries.removeAll { $0.tensor.name == outputName }
        }
        entries.sort { ExactString($0.tensor.name) < ExactString($1.tensor.name) }
        return entries
    }

    private static func isSameForm(_ left: SourceTensor, _ right: SourceTensor) -> Bool {
        canonicalType(left.type) == canonicalType(right.type)
            && dimensionText(left.dimensions) == dimensionText(right.dimensions)
    }

    static func entry(_ tensor: SourceTensor, data: [UInt8]) -> Entry {
        let type = canonicalType(tensor.type)
        let dimensions = dimensionText(tensor.dimensions)
        var hash = SHA256()
        hash.update(data: Array(tensor.name.utf8) + [0])
        hash.update(data: Array(type.utf8) + [0])
        hash.update(data: Array(dimensions.utf8) + [0])
        hash.update(data: data)
        let digest = Array(hash.finalize())
        return Entry(
            tensor: ModelFingerprint.Tensor(
                name: tensor.name, type: type, dimensions: dimensions, digest: Digests.text(digest)), digest: digest)
    }

    static func canonicalType(_ type: TensorType) -> String {
        type.isFloatWithinF32 ? TensorType.f32.name : type.name
    }

    /// "64x256"; writers differ in whether they keep trailing ones, so none are kept. A scalar is "1".
    static func dimensionText(_ dimensions: [Int]) -> String {
        var kept = dimensions
        while kept.count > 1, kept.last == 1 { kept.removeLast() }
        return kept.isEmpty ? "1" : kept.map(String.init).joined(separator: "x")
    }

    /// Hashes the data; floats are widened in pieces that stay in the first cache.
    private static func dataDigest(of tensor: SourceTensor, in source: any ModelSource) throws -> SHA256.Digest {
        var hash = SHA256()
        let piece = 4096
        try withUnsafeTemporaryAllocation(of: Float.self, capacity: piece) { floats in
            try source.withPieces(of: tensor) { bytes in
                guard tensor.type.isFloatWithinF32, tensor.type != .f32 else {
                    return hash.update(bufferPointer: bytes)
                }
                let size = tensor.type.bytesPerBlock
                var start = 0
                while start < bytes.count {
                    let end = min(start + piece * size, bytes.count)
                    tensor.type.decode(UnsafeRawBufferPointer(rebasing: bytes[start..<end]), into: floats)
                    let count = (end - start) / size
                    hash.update(
                        bufferPointer: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(floats)[..<(count * 4)]))
                    start = end
                }
            }
        }
        return hash.finalize()
    }
}

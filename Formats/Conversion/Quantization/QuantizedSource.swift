import Dispatch
import GGUF
import TensorTypes

/// A model as `incipit quantize` would write it, without a file: each tensor is quantized when it is asked for.
///
/// Bytes, types, order and metadata are those of the quantized file, because plan and encoders are the same ones.
public struct QuantizedSource: ModelSource {
    public let metadata: GGUFMetadata
    public let tensors: [SourceTensor]
    private let source: any ModelSource
    private let entries: [String: QuantizationPlan.Entry]
    private let threads: Int

    /// - Parameter threads: how many quantize one tensor; at least 1.
    /// - Throws: the plan's first problem: a source that is quantized already, a type that needs an importance matrix.
    public init(_ source: any ModelSource, mix: QuantizationMix, threads: Int) throws {
        let plan = try QuantizationPlan(
            source: source, recipe: QuantizationRecipe(mix: mix), importance: nil, allowsRequantizing: false,
            provenance: nil)
        if let problem = plan.problems.first { throw problem }
        self.source = source
        self.threads = max(1, threads)
        metadata = plan.metadata
        tensors = plan.entries.map {
            SourceTensor(name: $0.source.name, type: $0.type, dimensions: $0.source.dimensions)
        }
        entries = Dictionary(plan.entries.map { ($0.source.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    public var path: String { source.path }

    /// Without identities: what was computed of the unquantized files must not be taken for this.
    public var files: [SourceFile] { source.files.map { SourceFile(path: $0.path, identity: nil) } }

    public func withBytes<R>(of tensor: SourceTensor, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
        guard let entry = entries[tensor.name] else { preconditionFailure("\(tensor.name) is no tensor of \(path)") }
        if entry.isCopied { return try source.withBytes(of: entry.source, body) }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: entry.byteCount, alignment: 64)
        defer { memory.deallocate() }
        try source.withBytes(of: entry.source) { bytes in
            guard entry.source.elementCount > 0 else { return }
            let job = EncodingJob(
                bytes: bytes, tensor: entry.source, type: entry.type, importance: nil, path: path, pieceValues: 16384)
            let round = EncodingRound(job: job, pieces: 0..<job.pieceCount, window: memory)
            DispatchQueue.concurrentPerform(iterations: min(threads, job.pieceCount)) { _ in
                let scratch = UnsafeMutableRawBufferPointer.allocate(
                    byteCount: max(job.scratchByteCount, 64), alignment: 64)
                defer { scratch.deallocate() }
                round.work(scratch)
            }
            if let error = round.error { throw error }
        }
        return try body(UnsafeRawBufferPointer(memory))
    }
}

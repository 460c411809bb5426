import ByteIO
import GGUF

/// What was found by looking through a model: its structure, its hyperparameters, its tokenizer, and every value of every
/// tensor.
///
///     let result = try ModelVerification(of: source, record: nil)
///     for finding in result.findings { print(finding.message) }
public struct ModelVerification: Sendable {
    /// Errors first, otherwise in order of discovery.
    public let findings: [Finding]
    /// What the pass over the data gave, in the model's order.
    public let tensors: [TensorScan]
    /// Bytes read.
    public let byteCount: Int

    public var errorCount: Int { findings.count { $0.severity == .error } }

    /// Looks through a model on all cores.
    /// - Parameters:
    ///   - record: digests to compare with.
    ///   - progress: called from several threads with the bytes read so far and in all; false ends the work.
    /// - Throws: ``ByteIO/ByteIOError`` of code `cancelled` when `progress` says so, and what reading throws. What is
    ///   wrong with the model is no error but a finding.
    public init(
        of source: any ModelSource, record: DigestRecord? = nil,
        progress: (@Sendable (_ done: Int, _ total: Int) -> Bool)? = nil
    ) throws {
        var findings: [Finding] = []
        if let file = (source as? GGUFSource)?.file {
            findings += file.warnings.map { .warning("", $0) }
        }
        // Side-cars have neither layers nor vocabulary.
        if (try? source.metadata.stringIfPresent("general.type")) ?? "model" == "model" {
            findings += HyperparameterCheck(source).findings
            findings += TokenizerCheck(source).findings
        }
        tensors = try TensorScan.all(of: source, progress: progress)
        for tensor in tensors { findings += tensor.findings }
        if let record { findings += record.compare(with: tensors) }
        self.findings = findings.filter { $0.severity == .error } + findings.filter { $0.severity == .warning }
        byteCount = source.tensors.reduce(0) { $0 + $1.byteCount }
    }
}

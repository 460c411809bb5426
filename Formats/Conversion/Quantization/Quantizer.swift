import ByteIO
import Foundation
import GGUF
import Synchronization
import TensorTypes

/// Carries out a ``QuantizationPlan``: streams every tensor through the encoders into a new GGUF file.
///
/// Memory is bounded: besides what a source needs for one tensor, a window of some megabytes and one piece of rows a
/// thread. The result does not depend on the number of threads. It appears under its name when it is complete and
/// on disk; nothing is left when anything fails.
public enum Quantizer {
    /// How far the work is, in bytes of the source.
    public struct Progress: Sendable {
        public let tensor: String
        public let done: Int
        public let total: Int
    }

    /// Writes the planned file at `destination`, replacing one that exists: ``Destination`` checks before.
    /// - Parameters:
    ///   - threads: how many encode; at least 1.
    ///   - progress: called on the calling thread, several times a second; what it throws ends the work.
    /// - Throws: the plan's first problem; ``ConversionError`` of code `damaged` for a NaN or infinity, naming tensor and
    ///   position; what reading and writing throw.
    public static func run(
        _ plan: QuantizationPlan, source: any ModelSource, importance: ImportanceMatrix?, to destination: String,
        threads: Int, progress: (Progress) throws -> Void
    ) throws {
        if let problem = plan.problems.first { throw problem }
        let pool = RowEncoder(threads: threads)
        let total = plan.sourceByteCount
        var done = 0
        try withoutActuallyEscaping(progress) { progress in
            let counter = Counter()
            var writer = try GGUFWriter(metadata: plan.metadata)
            for entry in plan.entries {
                let tensor = entry.source
                try writer.add(name: tensor.name, type: entry.type, dimensions: tensor.dimensions) { output in
                    func report(_ bytes: Int) throws {
                        try progress(Progress(tensor: tensor.name, done: counter.done + bytes, total: total))
                    }
                    let weights = entry.usesImportance ? importance?.importance(of: tensor.name) : nil
                    try source.withBytes(of: tensor) { bytes in
                        try pool.encode(
                            bytes, of: tensor, as: entry.type, importance: weights, path: source.path, into: &output,
                            progress: report)
                    }
                    counter.done += tensor.byteCount
                }
            }
            try writer.write(to: destination)
            done = counter.done
        }
        precondition(done == total, "every tensor is written once")
    }

    /// Bytes of finished tensors; a reference, because the writer's closures escape.
    private final class Counter { var done = 0 }
}

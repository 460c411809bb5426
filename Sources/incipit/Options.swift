import ArgumentParser
import Conversion
import Foundation
import GGUF
import Kernels
import LanguageModels

/// The model a command works with, and the threads it may use.
struct ModelOptions: ParsableArguments {
    @Argument(help: "Model file (GGUF) or Hugging Face folder.", completion: .file(extensions: ["gguf"]))
    var model: String

    @Option(
        help: "Quantize the weights while they are loaded, as `incipit quantize` would: a mix such as Q4_K_M or Q8_0.")
    var quantize: String?

    @Option(help: "Threads to compute with (default: the cores this process may use).")
    var threads: Int?

    func validate() throws {
        if let threads, threads < 1 || threads > 1024 {
            throw ValidationError("--threads must lie in 1…1024, not \(threads).")
        }
        if let quantize, QuantizationMix(name: quantize) == nil {
            throw ValidationError(
                "--quantize knows no “\(quantize)”; mixes are "
                    + QuantizationMix.all.map(\.name).joined(separator: ", ") + ".")
        }
    }

    /// The pool the engine computes on.
    func makePool() -> ThreadPool { ThreadPool(threadCount: threads ?? CPUTopology.usableCoreCount) }

    /// Opens, checks and repacks the model.
    func load(adapters: AdapterOptions? = nil) throws -> LoadedModel {
        let pool = makePool()
        var source = try ModelSourceOpening.open(model)
        let scaled = try adapters?.open(for: source) ?? []
        if let quantize, let mix = QuantizationMix(name: quantize) {
            source = try QuantizedSource(source, mix: mix, threads: pool.threadCount)
        }
        return try ModelLoader.load(source, adapters: scaled, pool: pool)
    }
}

/// Numbers written with a unit of time or count are checked here once.
extension Optional where Wrapped == Double {
    func checked(_ name: String, in range: ClosedRange<Double>) throws {
        if let value = self, !(value.isFinite && range.contains(value)) {
            throw ValidationError("\(name) must lie in \(range.lowerBound)…\(range.upperBound), not \(value).")
        }
    }
}

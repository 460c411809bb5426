import ArgumentParser
import ByteIO
import Conversion
import Foundation
import TensorTypes

struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Convert a model between a Hugging Face folder and a GGUF file, in either direction.",
        discussion: """
            The direction follows from SOURCE: a folder (config.json, *.safetensors, tokenizer files) becomes a GGUF file, \
            a GGUF file becomes a folder. Tensors are streamed, so that a model of any size needs little memory; the result \
            appears only when it is complete.

              incipit convert SmolLM2-135M smollm2.gguf                      BF16 stays, everything else becomes F16
              incipit convert Qwen3-0.6B qwen3-q8.gguf --type q8_0           quantized on the way
              incipit convert Qwen3-8B qwen3.gguf --max-size 4G              parts qwen3-00001-of-0000N.gguf
              incipit convert smollm2.gguf SmolLM2-back --dtype bf16         back into a folder
              incipit convert Qwen3-8B x.gguf --dry-run                      what would be done, tensor by tensor

            Vectors, norms and routers of a GGUF file stay F32. Weights packed by GPTQ, as FP8 with scales, by \
            compressed-tensors or as MXFP4 are unpacked. A quantized GGUF file becomes a folder of floats that are as exact \
            as the quantization was.

            The result names its source's fingerprint and how it was made (incipit.source.fingerprint, incipit.recipe). \
            Computing the fingerprint reads the source once more, unless it is cached; --no-fingerprint leaves it out.
            """)

    @Argument(help: "Hugging Face folder or GGUF file.", completion: .file()) var source: String
    @Argument(help: "GGUF file or folder to write.", completion: .file()) var destination: String
    @Option(help: "Matrices of a GGUF file: auto, f32, f16, bf16, q8_0, tq1_0, tq2_0.") var type = "auto"
    @Option(help: "Tensors of a folder: auto (the file's own; f16 when quantized), f32, f16, bf16.") var dtype = "auto"
    @Option(help: "Split a GGUF file into parts of at most this size, such as 500M or 4G.") var maxSize: String?
    @Option(help: "Split a folder's tensors into files of at most this size.") var maxShardSize = "5G"
    @Option(help: "Name of the pre-tokenizer, where it is not recognised, such as llama-bpe or qwen2.") var pre: String?
    @Flag(help: "Print what would be done and write nothing.") var dryRun = false
    @Flag(help: "Replace what exists at the destination.") var force = false
    @Flag(help: "Do not record the fingerprint of the source.") var noFingerprint = false
    @Flag(help: "Convert NaN and infinity instead of refusing them.") var allowNonFinite = false
    @Option(help: "Threads that prepare tensors; all processors when not given.") var threads: Int?
    @Flag(help: "Print JSON.") var json = false

    private struct Report: Encodable {
        struct Tensor: Encodable {
            let name, storedAs, type: String
            let origins: [String]
            let dimensions: [Int]
            let sourceBytes, bytes: Int
        }
        let direction, source, destination, architecture, modelClass: String
        let isDryRun: Bool
        let parameters, tensorBytes, fileBytes, peakMemory: Int
        let bitsPerValue: Double
        let files: [String]
        let fingerprint: String?
        let seconds: Double?
        let warnings: [String]
        let tensors: [Tensor]?
    }

    func run() throws {
        let options = try options()
        let converter = try Converter(source: source, options: options)
        let plan = converter.plan
        for warning in plan.warnings where !json { Output.note("note: \(warning)") }
        if dryRun { return try show(plan) }

        let fingerprint = try noFingerprint ? nil : fingerprint(of: converter)
        // Until here Ctrl-C ends the process at once: nothing has been written.
        let start = ContinuousClock.now
        let result = try ByteProgress.writing(total: plan.fileBytes) {
            try converter.write(
                to: destination, existing: force ? .replace : .refuse, rootFingerprint: fingerprint, shouldContinue: $0)
        }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        if json {
            return try Output.json(
                report(plan, files: result.paths, result.warnings, fingerprint: fingerprint, seconds: seconds))
        }
        for warning in result.warnings { Output.note("note: \(warning)") }
        Output.line(
            "\(result.paths[0])\(result.paths.count > 1 ? " and \(result.paths.count - 1) more" : ""): "
                + "\(Output.bytes(result.bytes)), \(plan.tensors.count) tensors, \(Self.rate(result.bytes, seconds))")
        if let fingerprint { Output.line("  made from  \(fingerprint)") }
    }

    private func options() throws -> ConversionOptions {
        var options = ConversionOptions()
        options.type = try Self.tensorType(type, "--type")
        options.dataType = try Self.tensorType(dtype, "--dtype")
        if let dataType = options.dataType, !dataType.isFloatWithinF32 {
            throw CommandFailure(.usage, "--dtype \(dtype): a folder's tensors are f32, f16 or bf16")
        }
        options.maximumPartSize = try maxSize.map { try Self.size($0, "--max-size") }
        options.maximumShardSize = try Self.size(maxShardSize, "--max-shard-size")
        options.preTokenizer = pre
        options.checksValues = !allowNonFinite
        if let threads {
            guard (1...1024).contains(threads) else { throw CommandFailure(.usage, "--threads must be 1 to 1024") }
            options.threadCount = threads
        }
        return options
    }

    private static func tensorType(_ name: String, _ option: String) throws -> TensorType? {
        if name.lowercased() == "auto" { return nil }
        guard let type = TensorType(name: name) else {
            throw CommandFailure(.usage, "\(option) \(name): there is no such type; see `incipit help convert`")
        }
        return type
    }

    /// "500M" → 500 000 000; K, M, G, T are powers of 1000, as in file sizes of GGUF tools.
    private static func size(_ text: String, _ option: String) throws -> Int {
        let units: [Character: Int] = ["K": 1000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000]
        let last = text.uppercased().last ?? "0"
        let factor = units[last] ?? 1
        let digits = factor == 1 ? text[...] : text.dropLast()
        guard let number = Int(digits), number > 0 else {
            throw CommandFailure(.usage, "\(option) \(text): give a size such as 500M or 4G")
        }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: factor)
        guard !overflow else { throw CommandFailure(.usage, "\(option) \(text): this is too large") }
        return bytes
    }

    private func fingerprint(of converter: Converter) throws -> String {
        let progress = ByteProgress("hashing")
        let result = try ModelFingerprint.compute(of: converter.source, cacheFolder: Home().cache + "/fingerprints") {
            _ = progress.continues($0, of: $1)
        }
        progress.finish()
        return result.base.fingerprint
    }

    // MARK: - Showing

    private static func rate(_ bytes: Int, _ seconds: Double) -> String {
        "\(Output.bytes(seconds > 0 ? Int(Double(bytes) / seconds) : bytes))/s"
    }

    private func report(
        _ plan: ConversionPlan, files: [String], _ more: [String], fingerprint: String? = nil, seconds: Double? = nil
    ) -> Report {
        Report(
            direction: plan.direction.rawValue, source: plan.source, destination: destination,
            architecture: plan.architecture, modelClass: plan.modelClass, isDryRun: dryRun,
            parameters: plan.parameterCount, tensorBytes: plan.tensorBytes, fileBytes: plan.fileBytes,
            peakMemory: plan.peakMemory, bitsPerValue: plan.bitsPerValue, files: files, fingerprint: fingerprint,
            seconds: seconds, warnings: plan.warnings + more,
            tensors: dryRun
                ? plan.tensors.map {
                    .init(
                        name: $0.name, storedAs: $0.storedAs, type: $0.type.name, origins: $0.origins,
                        dimensions: $0.dimensions, sourceBytes: $0.sourceBytes, bytes: $0.bytes)
                } : nil)
    }

    private func show(_ plan: ConversionPlan) throws {
        if json { return try Output.json(report(plan, files: plan.files.map(\.name), [])) }
        let rows = plan.tensors.map { tensor in
            let first = tensor.origins.first ?? "(computed)"
            return [
                tensor.name, tensor.dimensions.map(String.init).joined(separator: "×"), tensor.storedAs,
                tensor.type.name,
                Output.bytes(tensor.bytes),
                first + (tensor.origins.count > 1 ? " and \(tensor.origins.count - 1) more" : "")
                    + (tensor.isTransformed ? " *" : ""),
            ]
        }
        Output.line(Output.table(["tensor", "shape", "from", "to", "size", "made of"], rows))
        Output.line("* rows rearranged, transposed or shifted")
        Output.line("")
        Output.line("  to            \(plan.direction.rawValue), \(plan.architecture) (\(plan.modelClass))")
        Output.line("  parameters    \(plan.parameterCount)")
        Output.line(
            "  tensors       \(Output.bytes(plan.sourceBytes)) become \(Output.bytes(plan.tensorBytes)), "
                + String(format: "%.2f bits a value", plan.bitsPerValue))
        Output.line(
            "  to write      \(Output.bytes(plan.fileBytes)) in \(plan.files.count) file\(plan.files.count == 1 ? "" : "s")"
        )
        Output.line("  peak memory   \(Output.bytes(plan.peakMemory)), besides mapped files")
    }
}

import ArgumentParser
import Conversion
import Foundation
import GGUF
import TensorTypes

struct QuantizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quantize",
        abstract: "Turn a model's weights into fewer bits (or into floats), all cores, in constant memory.",
        discussion: """
            Writes the bytes llama-quantize would write, with the same types for the same mix. Q4_K_M is the usual choice, \
            Q8_0 the careful one; below 4 bits an importance matrix helps much (`incipit imatrix`).

              incipit quantize model-f16.gguf model-q4.gguf Q4_K_M
              incipit quantize model-f16.gguf small.gguf IQ3_M --imatrix imatrix.gguf
              incipit quantize model-f16.gguf mine.gguf Q4_K_M --tensor-type 'ffn_down=Q6_K' --tensor-type 'attn_v=Q8_0'
              incipit quantize model-q8.gguf model-f16.gguf F16

            A rule's PATTERN is a regular expression found anywhere in a tensor's name; the first rule that matches decides. \
            --output-tensor-type and --token-embedding-type come before rules. Norms, routers and vectors always keep their \
            type. Where rows do not fill a type's blocks (of 256 for K types), the tensor gets a related type of smaller \
            blocks.

            The source is checked for NaN and infinity on the way. `--dry-run` prints what each tensor would become.

            Mixes, with their bits a weight:
            \(mixes)
            """)

    private static let mixes = QuantizationMix.all.map { mix in
        "  " + mix.name.padding(toLength: 10, withPad: " ", startingAt: 0) + " " + mix.summary
    }.joined(separator: "\n")

    @Argument(help: "The model: a GGUF file or a Hugging Face folder.", completion: .file())
    var source: String
    @Argument(help: "The GGUF file to write.", completion: .file(extensions: ["gguf"])) var destination: String
    @Argument(help: "A mix or type, such as Q4_K_M; the list is above.") var mix: String
    @Option(help: "Importance matrix (GGUF, or the legacy .dat).", completion: .file()) var imatrix: String?
    @Option(help: "A rule PATTERN=TYPE; may be given several times.") var tensorType: [String] = []
    @Option(help: "A file of such rules, one a line; they come after those on the command line.", completion: .file())
    var tensorTypeFile: String?
    @Option(help: "Type of output.weight (of the embedding, where that is the output too).")
    var outputTensorType: String?
    @Option(help: "Type of token_embd.weight.") var tokenEmbeddingType: String?
    @Flag(help: "Give every weight the mix's main type.") var pure = false
    @Flag(
        name: [.customLong("leave-output"), .customLong("leave-output-tensor")], help: "Leave output.weight as it is.")
    var leaveOutput = false
    @Flag(help: "Quantize weights that are quantized already; the errors add up.") var allowRequantize = false
    @Flag(
        help: "Leave out incipit.source.fingerprint and incipit.recipe: the file is llama-quantize's, byte for byte.")
    var noProvenance = false
    @Option(help: "Split the result into parts of at most this size, such as 500M or 4G.") var maxSize: String?
    @Option(help: "Threads to encode with (default: all cores).") var threads: Int?
    @Flag(help: "Print the plan, write nothing.") var dryRun = false
    @Flag(help: "Print the plan and the outcome as JSON.") var json = false
    @Flag(help: "Replace the destination if it exists.") var force = false

    func validate() throws {
        if let threads, threads < 1 || threads > 1024 {
            throw ValidationError("--threads must lie in 1…1024, not \(threads).")
        }
    }

    func run() throws {
        let recipe = try recipe()
        let model = try ModelSourceOpening.open(source)
        let matrix = try imatrix.map { try ImportanceMatrix(path: $0) }
        let partSize = try maxSize.map { try Self.size($0) }
        let started = ContinuousClock.now
        var plan = try plan(model, recipe, matrix, fingerprint: nil)
        for warning in plan.warnings { Output.note("warning: \(warning)") }
        if dryRun {
            for problem in plan.problems { Output.note("problem: \(problem.message)") }
            return try show(plan, files: [destination], seconds: nil)
        }
        if let problem = plan.problems.first { throw problem }
        if let imatrix, imatrix == destination {
            throw CommandFailure(.usage, "\(destination) is the importance matrix; write to another file")
        }
        if !noProvenance, let fingerprint = Self.fingerprint(of: model) {
            plan = try self.plan(model, recipe, matrix, fingerprint: fingerprint)
        }
        Interrupt.listen()
        let progress = ByteProgress("quantizing")
        let files = try Quantizer.run(
            plan, source: model, importance: matrix, to: destination, existing: force ? .replace : .refuse,
            maximumPartSize: partSize, threads: threads ?? ProcessInfo.processInfo.activeProcessorCount
        ) { try progress.update($0.done, of: $0.total, $0.tensor) }
        progress.finish()
        try show(plan, files: files, seconds: (ContinuousClock.now - started) / .seconds(1))
    }

    private func recipe() throws -> QuantizationRecipe {
        guard let mix = QuantizationMix(name: mix) else {
            let known = QuantizationMix.all.map(\.name).joined(separator: ", ")
            throw CommandFailure(.usage, "there is no mix \(mix.debugDescription); there are \(known)")
        }
        var recipe = QuantizationRecipe(mix: mix)
        recipe.rules = try tensorType.map { try TensorTypeRule($0) }
        if let tensorTypeFile { recipe.rules += try TensorTypeRule.read(path: tensorTypeFile) }
        recipe.outputType = try outputTensorType.map { try TensorTypeRule.type(named: $0) }
        recipe.embeddingType = try tokenEmbeddingType.map { try TensorTypeRule.type(named: $0) }
        recipe.isPure = pure
        recipe.leavesOutput = leaveOutput
        return recipe
    }

    private func plan(
        _ model: any ModelSource, _ recipe: QuantizationRecipe, _ matrix: ImportanceMatrix?, fingerprint: String?
    ) throws -> QuantizationPlan {
        try QuantizationPlan(
            source: model, recipe: recipe, importance: matrix, allowsRequantizing: allowRequantize,
            provenance: noProvenance ? nil : Provenance(fingerprint: fingerprint, options: optionText(recipe)))
    }

    /// Options that decide about bytes, as one would type them; file names are left out.
    private func optionText(_ recipe: QuantizationRecipe) -> String {
        var words: [String] = []
        if imatrix != nil { words.append("--imatrix") }
        for rule in recipe.rules { words.append("--tensor-type \(rule.pattern)=\(rule.type)") }
        if let type = recipe.outputType { words.append("--output-tensor-type \(type)") }
        if let type = recipe.embeddingType { words.append("--token-embedding-type \(type)") }
        if pure { words.append("--pure") }
        if leaveOutput { words.append("--leave-output") }
        return words.joined(separator: " ")
    }

    /// Nil for what is no language model: then the file says less about where it is from.
    private static func fingerprint(of model: any ModelSource) -> String? {
        try? ModelFingerprint.compute(of: model, cacheFolder: Home().cache + "/fingerprints").base.fingerprint
    }

    /// "500M" → 500 000 000; K, M, G, T are powers of 1000, as in the sizes of GGUF tools.
    private static func size(_ text: String) throws -> Int {
        let units: [Character: Int] = ["K": 1000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000]
        let unit = text.uppercased().last.flatMap { units[$0] }
        let number = Int(unit == nil ? text[...] : text.dropLast()) ?? 0
        let bytes = number.multipliedReportingOverflow(by: unit ?? 1)
        guard number > 0, !bytes.overflow else {
            throw CommandFailure(.usage, "--max-size \(text): give a size such as 500M or 4G")
        }
        return bytes.partialValue
    }

    // MARK: Output

    private struct Report: Encodable {
        struct Tensor: Encodable {
            let name, from, to: String
            let dimensions: [Int]
            let bytesBefore, bytesAfter: Int
            let instead: String?
            let importance: Bool
        }
        let source, mix: String
        let files: [String]
        let dryRun: Bool
        let tensors: [Tensor]
        let bytesBefore, bytesAfter, weights: Int
        let bitsPerWeight: Double
        let warnings, problems: [String]
        let seconds: Double?
    }

    private func show(_ plan: QuantizationPlan, files: [String], seconds: Double?) throws {
        if json {
            return try Output.json(
                Report(
                    source: source, mix: mix.uppercased(), files: files, dryRun: dryRun,
                    tensors: plan.entries.map {
                        .init(
                            name: $0.source.name, from: $0.source.type.name, to: $0.type.name,
                            dimensions: $0.source.dimensions, bytesBefore: $0.source.byteCount,
                            bytesAfter: $0.byteCount, instead: $0.replaced?.name, importance: $0.usesImportance)
                    }, bytesBefore: plan.sourceByteCount, bytesAfter: plan.byteCount, weights: plan.elementCount,
                    bitsPerWeight: plan.bitsPerWeight, warnings: plan.warnings,
                    problems: plan.problems.map(\.message), seconds: seconds))
        }
        if dryRun {
            let rows = plan.entries.map { entry in
                [
                    entry.source.name, entry.source.dimensions.map(String.init).joined(separator: "×"),
                    entry.source.type.name, entry.isCopied ? "=" : entry.type.name,
                    Output.bytes(entry.source.byteCount), Output.bytes(entry.byteCount),
                    String(format: "%.3f", entry.type.bitsPerValue), entry.replaced.map { "for \($0)" } ?? "",
                ]
            }
            Output.line(
                Output.table(["tensor", "shape", "from", "to", "before", "after", "bits", "note"], rows) + "\n")
        }
        let speed = seconds.map { seconds in
            let perSecond = Output.bytes(Int(Double(plan.sourceByteCount) / max(seconds, 1e-3)))
            return String(format: ", %.1f s", seconds) + ", \(perSecond)/s"
        }
        Output.line(
            "\(dryRun ? "would write" : "wrote") \(files[0])\(files.count > 1 ? " and \(files.count - 1) more" : ""): \(Output.bytes(plan.sourceByteCount)) → "
                + "\(Output.bytes(plan.byteCount)), \(String(format: "%.2f", plan.bitsPerWeight)) bits a weight"
                + (speed ?? ""))
    }
}

import ArgumentParser
import Conversion
import Foundation
import GGUF

struct MergeLoRACommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge-lora", abstract: "Write a model with LoRA adapters merged into its weights.",
        discussion: """
            What the adapters change becomes W + scale · B·A; then all weights become TYPE, a mix as `incipit quantize` \
            knows them. The result is a GGUF file that runs everywhere and is a base of its own: soft prompts trained on \
            the unmerged model do not belong to it. `incipit run --lora` applies adapters without merging.

              incipit merge-lora SmolLM2-135M merged.gguf --lora adapter --type F16
              incipit merge-lora model-f16.gguf merged.gguf --lora style.gguf:0.5 --lora task.gguf --type Q4_K_M

            Merge into the F16, BF16 or F32 original where there is one. Weights of a quantized model that no adapter \
            changes stay as they are if TYPE is theirs; to round weights a second time takes --allow-requantize.
            """)

    @Argument(help: "The model: a GGUF file or a Hugging Face folder.", completion: .file()) var source: String
    @Argument(help: "The GGUF file to write.", completion: .file(extensions: ["gguf"])) var destination: String
    @OptionGroup var adapters: AdapterOptions
    @Option(help: "Mix or type of the result, such as F16, Q8_0 or Q4_K_M.") var type = "F16"
    @Flag(help: "Quantize weights that are quantized already; the errors add up.") var allowRequantize = false
    @Option(help: "Threads to encode with (default: all cores).") var threads: Int?
    @Flag(help: "Print the outcome as JSON.") var json = false
    @Flag(help: "Replace the destination if it exists.") var force = false

    func validate() throws {
        if adapters.adapters.isEmpty { throw ValidationError("Name at least one adapter with --lora.") }
        if let threads, threads < 1 || threads > 1024 {
            throw ValidationError("--threads must lie in 1…1024, not \(threads).")
        }
        if QuantizationMix(name: type) == nil {
            throw ValidationError(
                "--type knows no “\(type)”; there are \(QuantizationMix.all.map(\.name).joined(separator: ", ")).")
        }
    }

    private struct Report: Encodable {
        let source, file, type: String
        let adapters: [String]
        let changedTensors, bytes: Int
    }

    func run() throws {
        guard let mix = QuantizationMix(name: type) else { return }
        let model = try ModelSourceOpening.open(source)
        let scaled = try adapters.open(for: model)
        let merged = MergedSource(model, adapters: scaled)
        let plan = try QuantizationPlan(
            source: merged, recipe: QuantizationRecipe(mix: mix), importance: nil, allowsRequantizing: allowRequantize,
            provenance: nil)
        for warning in plan.warnings { Output.note("warning: \(warning)") }
        if let problem = plan.problems.first { throw problem }
        Interrupt.listen()
        let progress = ByteProgress("merging")
        let files = try Quantizer.run(
            plan, source: merged, importance: nil, to: destination, existing: force ? .replace : .refuse,
            threads: threads ?? ProcessInfo.processInfo.activeProcessorCount
        ) { try progress.update($0.done, of: $0.total, $0.tensor) }
        progress.finish()
        let changed = Set(scaled.flatMap { $0.adapter.pairs.keys }).count
        if json {
            return try Output.json(
                Report(
                    source: source, file: files[0], type: mix.name, adapters: adapters.adapters,
                    changedTensors: changed, bytes: plan.byteCount))
        }
        Output.line(
            "wrote \(files[0]): \(changed) tensors changed by \(scaled.count) "
                + "\(scaled.count == 1 ? "adapter" : "adapters"), \(Output.bytes(plan.byteCount))")
    }
}

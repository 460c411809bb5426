import ArgumentParser
import ByteIO
import Evaluation
import Foundation
import Kernels
import LanguageModels

struct PerplexityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "perplexity",
        abstract: "How well a model predicts a text, and how far quantization took it from a reference.",
        discussion: """
            Perplexity is exp(mean of −ln p) of the text's tokens; lower is better. The text is cut into windows side by \
            side, and the second half of each is scored, as llama.cpp does; --score all scores all but each first token. \
            --stride slides the window and scores only the last tokens of each: slower, and closer to what a long context \
            gives.

              incipit perplexity MODEL --file wiki.test.txt
              incipit perplexity MODEL.Q4_K_M.gguf --file wiki.test.txt --kl-divergence MODEL.F16.gguf
              incipit perplexity MODEL.F16.gguf --file wiki.test.txt --save-logits f16.logits
              incipit perplexity MODEL.Q4_K_M.gguf --kl-divergence f16.logits

            With --kl-divergence each distribution is compared with the reference model's in the same place: the mean \
            Kullback-Leibler divergence KL(reference ‖ model), how often both hold the same token likeliest, and by how much \
            the right token's probability differs. Where both do not fit into memory, --save-logits writes the reference's \
            distributions to a file, llama.cpp's for --kl-divergence-base (2 bytes a token of the vocabulary and position), \
            which holds the text too.
            """)

    @OptionGroup var options: ModelOptions
    @Option(help: "Text to measure; “-” or none reads standard input.", completion: .file()) var file: String?
    @Option(help: "Tokens in a window.") var window = 512
    @Option(help: "half: the second half of each window, as llama.cpp; all: everything but each first token.")
    var score = PerplexityWindows.Style.half
    @Option(help: "Tokens from one window to the next; the last ones of each window are scored.") var stride: Int?
    @Option(help: "Windows at most (default: the whole text).") var chunks: Int?
    @Option(help: "Tokens of the text at most.") var tokens: Int?
    @Option(
        help: "Model to compare with, usually the unquantized one, or a file of its saved logits.",
        completion: .file(extensions: ["gguf"]))
    var klDivergence: String?
    @Option(help: "Write the distributions to this file.", completion: .file()) var saveLogits: String?
    @Option(help: "Number format of cached keys and values: f16, f32 or q8_0.") var cacheType = "f16"
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
        if window < 4 || window > 1 << 20 { throw ValidationError("--window must lie in 4…1048576, not \(window).") }
        if let stride, stride < 1 || stride >= window {
            throw ValidationError("--stride must lie in 1…\(window - 1), below the window, not \(stride).")
        }
        for (name, value) in [("--chunks", chunks), ("--tokens", tokens)] {
            if let value, value < 1 { throw ValidationError("\(name) must be at least 1, not \(value).") }
        }
        if saveLogits != nil, score != .half || stride != nil {
            throw ValidationError("--save-logits goes with windows side by side whose second half is scored.")
        }
        if KVElement(rawValue: cacheType) == nil {
            throw ValidationError("--cache-type must be f16, f32 or q8_0, not \(cacheType).")
        }
    }

    private struct Report: Encodable {
        let model: String
        let window, windows, scored: Int
        let perplexity, perplexityError, loss: Double
        let reference: Reference?
    }

    private struct Reference: Encodable {
        let model: String
        let perplexity, meanKL, meanKLError, medianKL, kl99, maximumKL, topAgreement: Double
        let meanProbabilityDifference, rootMeanSquareProbabilityDifference: Double
    }

    func run() throws {
        let saved = try klDivergence.flatMap { SavedLogits.isSaved(at: $0) ? try SavedLogits(path: $0) : nil }
        if saved != nil, file != nil || stride != nil || score != .half {
            throw CommandFailure(
                .usage, "the saved logits hold their text and windows; leave out --file, --stride and --score")
        }
        let text = saved == nil ? try TextFile.read(file ?? "-") : ""
        let pool = options.makePool()
        let loaded = try ModelLoader.load(path: options.model, pool: pool)
        let model = loaded.model
        let reference: PerplexityReference? =
            if let saved { .saved(saved) } else {
                try klDivergence.map { .model(try ModelLoader.load(path: $0, pool: pool).model) }
            }
        let length = saved?.windowLength ?? window
        guard length <= model.shape.contextLength else {
            throw CommandFailure(
                .usage, "windows of \(length) are longer than this model's context of \(model.shape.contextLength)")
        }
        var windows = try saved?.windows() ?? cut(text, loaded)
        if let chunks { windows = Array(windows.prefix(chunks)) }
        Interrupt.listen()
        let measurement = PerplexityMeasurement(model: model, cacheElement: KVElement(rawValue: cacheType) ?? .f16)
        var outcome: (report: PerplexityReport, done: Int)
        if let saveLogits {
            outcome = (PerplexityReport(), 0)
            let size = SavedLogits.byteCount(
                windows: windows.count, windowLength: length, vocabularySize: model.shape.vocabularySize)
            try AtomicFile.write(to: saveLogits, expectedSize: size) { writer in
                try writer.write(SavedLogits.header(windows, vocabularySize: model.shape.vocabularySize))
                outcome = try measure(measurement, windows, reference, saves: true) { try writer.write($0) }
                if outcome.done < windows.count {
                    throw CommandFailure(.interrupted, "interrupted; \(saveLogits) was not written")
                }
            }
        } else {
            outcome = try measure(measurement, windows, reference, saves: false) { _ in }
        }
        try show(outcome.report, outcome.done)
        if outcome.done < windows.count {
            throw CommandFailure(.interrupted, "interrupted; the figures are of \(outcome.done) windows")
        }
    }

    private func cut(_ text: String, _ loaded: LoadedModel) throws -> [PerplexityWindows.Window] {
        // As llama.cpp's tool, the whole text begins with the beginning token where the model wants one.
        var ids = loaded.tokenizer.encode(text, parseSpecial: false, addSpecial: score == .half)
        if let tokens { ids = Array(ids.prefix(tokens)) }
        var cut = PerplexityWindows()
        (cut.length, cut.style, cut.stride, cut.limit) = (window, score, stride, chunks)
        return try cut.cut(
            ids, beginning: loaded.tokenizer.addsBeginning ? loaded.tokenizer.special.beginningOfSequence : nil)
    }

    private func measure(
        _ measurement: PerplexityMeasurement, _ windows: [PerplexityWindows.Window], _ reference: PerplexityReference?,
        saves: Bool, save: ([UInt8]) throws -> Void
    ) throws -> (PerplexityReport, Int) {
        let line = ProgressLine()
        defer { line.finish() }
        var done = 0
        let report = try measurement.measure(windows, reference: reference, saves: saves, save: save) { count, report in
            done = count
            line.update(
                "\(ProgressLine.bar(Double(count) / Double(windows.count))) \(count)/\(windows.count) windows  "
                    + String(format: "perplexity %.4f", report.perplexity))
            return !Interrupt.isRequested
        }
        return (report, done)
    }

    private func show(_ report: PerplexityReport, _ done: Int) throws {
        let kl = report.divergence
        let agreement = Double(report.agreements) / Double(max(1, kl.count))
        if json {
            return try Output.json(
                Report(
                    model: options.model, window: window, windows: done, scored: report.loss.count,
                    perplexity: report.perplexity, perplexityError: report.perplexityError, loss: report.loss.mean,
                    reference: klDivergence.map { reference in
                        Reference(
                            model: reference, perplexity: report.referencePerplexity, meanKL: kl.mean,
                            meanKLError: kl.error, medianKL: report.divergenceQuantile(0.5),
                            kl99: report.divergenceQuantile(0.99), maximumKL: report.divergences.max() ?? 0,
                            topAgreement: agreement, meanProbabilityDifference: report.probabilityDifference.mean,
                            rootMeanSquareProbabilityDifference: report.rootMeanSquareDifference)
                    }))
        }
        var rows = [
            ["perplexity", String(format: "%.4f ± %.4f", report.perplexity, report.perplexityError)],
            ["tokens scored", "\(report.loss.count) in \(done) windows"],
        ]
        if klDivergence != nil {
            rows += [
                ["reference's perplexity", String(format: "%.4f", report.referencePerplexity)],
                ["mean KL divergence", String(format: "%.6f ± %.6f", kl.mean, kl.error)],
                [
                    "median, 99 %, maximum",
                    String(
                        format: "%.6f, %.6f, %.6f", report.divergenceQuantile(0.5), report.divergenceQuantile(0.99),
                        report.divergences.max() ?? 0),
                ],
                ["same likeliest token", Output.percent(agreement)],
                [
                    "right token's probability",
                    String(
                        format: "%+.3f %% on average, %.3f %% RMS", 100 * report.probabilityDifference.mean,
                        100 * report.rootMeanSquareDifference),
                ],
            ]
        }
        Output.line(Output.table(["figure", "value"], rows))
    }
}

extension PerplexityWindows.Style: ExpressibleByArgument {}

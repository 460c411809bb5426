import Foundation
import Kernels
import LanguageModels
import Layers

/// Perplexity of a text, counted as `perplexity_llama_cpp.py` counts it.
enum PerplexityMeasurement {
    static let usage = "MODEL TEXT [--tokens 16384] [--window 512] [--threads N] [--cache f16|f32] [--json]"

    /// The first ids of the text, without a beginning-of-text token, in windows that do not overlap: every id of a window
    /// but its first is predicted from those before it.
    static func run(_ words: [String]) throws {
        let arguments = try Arguments(
            words, positional: ["MODEL", "TEXT"], options: ["--tokens", "--window", "--threads", "--cache"],
            flags: ["--json"])
        let limit = try arguments.int("--tokens", default: 16384)
        let window = try arguments.int("--window", default: 512, minimum: 2)
        let pool = ThreadPool(threadCount: try arguments.int("--threads", default: CPUTopology.usableCoreCount))
        let element: KVElement = arguments.string("--cache") == "f32" ? .f32 : .f16
        let loaded = try ModelLoader.load(path: arguments.positional[0], pool: pool)
        let model = loaded.model
        let bytes = try Data(contentsOf: URL(fileURLWithPath: arguments.positional[1]))
        let ids = loaded.tokenizer.encode(
            String(decoding: bytes, as: UTF8.self), parseSpecial: false, addSpecial: false
        ).prefix(limit)
        let windowCount = ids.count / window
        guard windowCount > 0 else { throw MeasureError("the text has \(ids.count) tokens, fewer than one window") }

        let workspace = InferenceWorkspace()
        let vocabulary = model.shape.vocabularySize
        var total = 0.0
        for index in 0..<windowCount {
            let part = Array(ids[index * window..<(index + 1) * window])
            let cache = model.makeCache(element: element, capacity: window)
            let logits = try model.forward(
                .tokens(part.dropLast()), cache: cache, workspace: workspace, logitCount: window - 1)
            for (row, target) in part.dropFirst().enumerated() {
                total += Double(
                    CrossEntropy.forward(
                        logits.baseAddress! + row * vocabulary, count: vocabulary, target: target))
            }
        }
        let count = windowCount * (window - 1)
        try Report.print(
            [
                ("engine", "incipit"), ("perplexity", Report.rounded(exp(total / Double(count)), 5)),
                ("loss", Report.rounded(total / Double(count), 6)), ("losses", count),
                ("tokens", windowCount * window), ("window", window),
            ], json: arguments.has("--json"))
    }
}

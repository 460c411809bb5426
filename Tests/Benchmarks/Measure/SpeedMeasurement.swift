import Kernels
import LanguageModels
import Layers

/// Prefill and decode speed, measured as `peers/speed_llama_cpp.py` measures llama.cpp.
enum SpeedMeasurement {
    static let usage = "MODEL [--threads N] [--prefill 512] [--decode 128] [--depth 0] [--repeat 3] [--json]"

    /// Prefill: that many tokens at once in an empty context, logits of the last. Decode: tokens one at a time in an empty
    /// context (or after `--depth` tokens), logits of each. One warm-up is not counted; the median of the repeats is.
    static func run(_ words: [String]) throws {
        let arguments = try Arguments(
            words, positional: ["MODEL"], options: ["--threads", "--prefill", "--decode", "--depth", "--repeat"],
            flags: ["--json"])
        let prefill = try arguments.int("--prefill", default: 512)
        let decode = try arguments.int("--decode", default: 128)
        let depth = try arguments.int("--depth", default: 0, minimum: 0)
        let repeats = try arguments.int("--repeat", default: 3)
        let pool = ThreadPool(threadCount: try arguments.int("--threads", default: CPUTopology.usableCoreCount))
        let model = try ModelLoader.load(path: arguments.positional[0], pool: pool).model
        let vocabulary = model.shape.vocabularySize
        let context = max(prefill, depth + decode)
        let ids = (0..<context).map { (7919 * $0 + 13) % vocabulary }
        let cache = model.makeCache(capacity: context)
        let workspace = InferenceWorkspace()
        func run(_ range: Range<Int>) throws {
            _ = try model.forward(.tokens(Array(ids[range])), cache: cache, workspace: workspace, logitCount: 1)
        }
        func prefillRate() throws -> Double {
            cache.truncate(to: 0)
            return Double(prefill) / (try seconds { try run(0..<prefill) })
        }
        func decodeRate(_ count: Int) throws -> Double {
            cache.truncate(to: 0)
            if depth > 0 { try run(0..<depth) }
            return Double(count) / (try seconds { for index in depth..<depth + count { try run(index..<index + 1) } })
        }
        _ = try prefillRate()
        _ = try decodeRate(min(16, decode))
        let prefillRates = try (0..<repeats).map { _ in try prefillRate() }
        let decodeRates = try (0..<repeats).map { _ in try decodeRate(decode) }
        try Report.print(
            [
                ("engine", "incipit"), ("threads", pool.threadCount), ("prefill", prefill), ("decode", decode),
                ("depth", depth), ("prefillTokensPerSecond", Report.rounded(prefillRates.median, 2)),
                ("decodeTokensPerSecond", Report.rounded(decodeRates.median, 2)),
                ("peakMemoryMegabytes", Report.peakMemoryMegabytes),
            ], json: arguments.has("--json"))
    }
}

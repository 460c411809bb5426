import Generation
import Kernels
import LanguageModels

/// Decode speed of many sequences at once, measured as `peers/batch_llama_cpp.py` measures llama.cpp.
enum BatchMeasurement {
    static let usage = """
        MODEL [--threads N] [--sequences 16] [--decode 64] [--depth 32] [--prompts 0] [--virtual 32] [--repeat 3] [--json]
        """

    /// Draws nothing: the tokens of all engines are the same.
    private struct FixedTokens: TokenChooser {
        var position: Int
        let vocabulary: Int
        mutating func observe(_ tokens: [Int]) {}
        mutating func next(logits: UnsafeBufferPointer<Float>) -> Int {
            position += 1
            return (7919 * position + 13) % vocabulary
        }
    }

    /// Every sequence reads `--depth` tokens of its own; then the steps that give all of them a token are timed. With
    /// `--prompts`, sequences begin with that many different soft prompts of `--virtual` keys and values, in turn.
    static func run(_ words: [String]) throws {
        let arguments = try Arguments(
            words, positional: ["MODEL"],
            options: ["--threads", "--sequences", "--decode", "--depth", "--prompts", "--virtual", "--repeat"],
            flags: ["--json"])
        let sequences = try arguments.int("--sequences", default: 16)
        let decode = try arguments.int("--decode", default: 64)
        let depth = try arguments.int("--depth", default: 32)
        let promptCount = try arguments.int("--prompts", default: 0, minimum: 0)
        let virtual = try arguments.int("--virtual", default: 32)
        let repeats = try arguments.int("--repeat", default: 3)
        let pool = ThreadPool(threadCount: try arguments.int("--threads", default: CPUTopology.usableCoreCount))
        let model = try ModelLoader.load(path: arguments.positional[0], pool: pool).model
        let vocabulary = model.shape.vocabularySize
        let prompts = try (0..<promptCount).map { number in
            let values = (0..<virtual * model.shape.keyValueElementsPerToken).map { index in
                Float((index * 37 + number * 101) % 257) / 257 - 0.5
            }
            return try ResidentPrompt(
                PromptAttachment(virtualTokenCount: virtual, entry: .cache(values)), model: model)
        }
        func rate() throws -> Double {
            let scheduler = try BatchScheduler(
                model: model, limits: BatchLimits(sequences: sequences, rows: max(512, sequences)))
            for number in 0..<sequences {
                _ = try scheduler.submit(
                    BatchRequest(
                        tokens: (0..<depth).map { (7919 * $0 + 13 + number) % vocabulary },
                        prompt: prompts.isEmpty ? nil : prompts[number % prompts.count],
                        chooser: FixedTokens(position: depth, vocabulary: vocabulary), maximumTokens: decode + 1))
            }
            var events = 0
            while events < sequences { events += try scheduler.step().count }
            let time = try seconds { for _ in 0..<decode { _ = try scheduler.step() } }
            return Double(sequences * decode) / time
        }
        _ = try rate()
        let rates = try (0..<repeats).map { _ in try rate() }
        try Report.print(
            [
                ("engine", "incipit"), ("threads", pool.threadCount), ("sequences", sequences), ("decode", decode),
                ("depth", depth), ("prompts", promptCount),
                ("batchTokensPerSecond", Report.rounded(rates.median, 2)),
                ("peakMemoryMegabytes", Report.peakMemoryMegabytes),
            ], json: arguments.has("--json"))
    }
}

import ArgumentParser
import Foundation
import GGUF
import Kernels
import LanguageModels
import Layers

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure how fast a model reads and writes on this machine.",
        discussion: """
            Tests are named as llama-bench's: pp512 reads 512 tokens at once, tg128 writes 128 one by one; “@ d1024” has 1024 \
            tokens in the context before. Each runs once to warm up and then --repetitions times; given are the mean and the \
            standard deviation in tokens a second. Lists separated by commas are measured in all combinations.

              incipit bench MODEL
              incipit bench MODEL -p 512 -n 128 -d 0,1024 --threads-list 1,2 --json

            Nothing else should run beside it; on a busy machine the deviations tell.
            """)

    @OptionGroup var options: ModelOptions
    @Option(name: [.customShort("p"), .long], help: "Tokens to read; 0: no such test.") var prompt = "512"
    @Option(name: [.customShort("n"), .long], help: "Tokens to write; 0: no such test.") var generate = "128"
    @Option(name: [.customShort("d"), .long], help: "Tokens in the context before.") var depth = "0"
    @Option(help: "Threads, as a list; replaces --threads.") var threadsList: String?
    @Option(name: [.customShort("r"), .long], help: "Times each test is measured.") var repetitions = 5
    @Option(help: "Number format of cached keys and values: f16, f32 or q8_0.") var cacheType = "f16"
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
        for (name, text, range) in [
            ("--prompt", prompt, 0...1_000_000), ("--generate", generate, 0...1_000_000),
            ("--depth", depth, 0...1_000_000),
            ("--threads-list", threadsList ?? "1", 1...1024),
        ] {
            guard let values = Self.list(text), !values.isEmpty, values.allSatisfy(range.contains) else {
                throw ValidationError(
                    "\(name) is a number or a list of numbers in \(range.lowerBound)…\(range.upperBound), such as 128,512; not "
                        + "“\(text)”.")
            }
        }
        if !(1...1000).contains(repetitions) { throw ValidationError("--repetitions must lie in 1…1000.") }
        if KVElement(rawValue: cacheType) == nil {
            throw ValidationError("--cache-type must be f16, f32 or q8_0, not \(cacheType).")
        }
    }

    private static func list(_ text: String) -> [Int]? {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        let values = parts.compactMap { Int($0) }
        return values.count == parts.count ? values : nil
    }

    private struct Report: Encodable {
        let model, path, kernels: String
        let bytes, parameters: Int
        let tests: [Row]
    }

    private struct Row: Encodable {
        let test: String
        let prompt, generate, depth, threads: Int
        let tokensPerSecond, standardDeviation: Double
        let samples: [Double]
    }

    private struct Case {
        let prompt, generate, depth: Int
        /// Positions it takes.
        var length: Int { depth + max(prompt, generate) }
        var name: String {
            (prompt > 0 ? "pp\(prompt)" : "tg\(generate)") + (depth > 0 ? " @ d\(depth)" : "")
        }
    }

    func run() throws {
        let threads = threadsList.flatMap(Self.list) ?? [options.threads ?? CPUTopology.usableCoreCount]
        let depths = Self.list(depth) ?? []
        var cases: [Case] = []
        for depth in depths {
            for count in Self.list(prompt) ?? [] where count > 0 {
                cases.append(Case(prompt: count, generate: 0, depth: depth))
            }
            for count in Self.list(generate) ?? [] where count > 0 {
                cases.append(Case(prompt: 0, generate: count, depth: depth))
            }
        }
        guard !cases.isEmpty else { throw ValidationError("There is nothing to measure: -p and -n are both 0.") }
        Interrupt.listen()
        let line = ProgressLine()
        var rows: [Row] = []
        var loaded: LoadedModel?
        let total = cases.count * threads.count
        for count in threads {
            let model = try ModelLoader.load(path: options.model, pool: ThreadPool(threadCount: count))
            loaded = model
            for item in cases { try check(item, model.model) }
            for item in cases {
                line.update("\(rows.count + 1)/\(total)  \(item.name), \(count) threads")
                rows.append(try measure(item, model.model))
            }
        }
        line.finish()
        guard let loaded else { return }
        let info = loaded.source.tensors.reduce(into: (bytes: 0, elements: 0)) { sum, tensor in
            sum.bytes += tensor.byteCount
            sum.elements += tensor.elementCount
        }
        if json {
            return try Output.json(
                Report(
                    model: loaded.name, path: options.model, kernels: KernelTable.current.name, bytes: info.bytes,
                    parameters: info.elements, tests: rows))
        }
        Output.line(
            "\(loaded.name), \(Output.bytes(info.bytes)), \(String(format: "%.2f", Double(info.elements) / 1e6)) M parameters, "
                + "kernels \(KernelTable.current.name)")
        Output.line(
            Output.table(
                ["test", "threads", "tokens/s"],
                rows.map {
                    [$0.test, "\($0.threads)", String(format: "%.2f ± %.2f", $0.tokensPerSecond, $0.standardDeviation)]
                }))
    }

    private func check(_ item: Case, _ model: any LanguageModel) throws {
        guard item.length <= model.shape.contextLength else {
            throw CommandFailure(
                .usage,
                "\(item.name) needs \(item.length) positions; this model's context has \(model.shape.contextLength)")
        }
    }

    private func measure(_ item: Case, _ model: any LanguageModel) throws -> Row {
        let vocabulary = model.shape.vocabularySize
        // Which tokens does not matter to the time; these are spread over the table.
        let ids = (0..<item.length).map { (7919 * $0 + 13) % vocabulary }
        let workspace = InferenceWorkspace()
        let element = KVElement(rawValue: cacheType) ?? .f16
        let clock = ContinuousClock()
        func sample(generate: Int) throws -> Double {
            let cache = model.makeCache(element: element)
            func run(_ range: Range<Int>) throws {
                _ = try model.forward(.tokens(Array(ids[range])), cache: cache, workspace: workspace, logitCount: 1)
            }
            if item.depth > 0 { try run(0..<item.depth) }
            let start = clock.now
            if item.prompt > 0 {
                try run(item.depth..<item.depth + item.prompt)
            } else {
                for place in item.depth..<item.depth + generate {
                    if Interrupt.isRequested { throw CommandFailure(.interrupted, "interrupted") }
                    try run(place..<place + 1)
                }
            }
            let time = clock.now - start
            let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) * 1e-18
            return Double(item.prompt > 0 ? item.prompt : generate) / seconds
        }
        _ = try sample(generate: min(item.generate, 16))
        let samples = try (0..<repetitions).map { _ in
            if Interrupt.isRequested { throw CommandFailure(.interrupted, "interrupted") }
            return try sample(generate: item.generate)
        }
        let mean = samples.reduce(0, +) / Double(samples.count)
        let squares = samples.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return Row(
            test: item.name, prompt: item.prompt, generate: item.generate, depth: item.depth,
            threads: model.pool.threadCount, tokensPerSecond: mean,
            standardDeviation: samples.count > 1 ? (squares / Double(samples.count - 1)).squareRoot() : 0,
            samples: samples)
    }
}

import Foundation
import Kernels
import LanguageModels
import PromptTuning

/// Training from given values on rows in the file's order, as `peft_losses.py` trains with PEFT.
enum TrainMeasurement {
    static let usage = """
        MODEL --method prompt-tuning|prefix-tuning --data ROWS.jsonl [--init VALUES.npy] [--tokens 32] [--batch 16]
              [--steps 10] [--optimizer sgd|adamw] [--lr X] [--weights-memory auto|float|tiles] [--precision float|int8-forward|int8]
              [--threads N] [--json]
        """

    /// Step s takes training rows (s · batch + i) mod count. Speed leaves out the first two steps.
    static func run(_ words: [String]) throws {
        let arguments = try Arguments(
            words, positional: ["MODEL"],
            options: [
                "--method", "--data", "--init", "--tokens", "--batch", "--steps", "--optimizer", "--lr",
                "--weights-memory", "--threads", "--precision",
            ], flags: ["--json"])
        let batchSize = try arguments.int("--batch", default: 16)
        let steps = try arguments.int("--steps", default: 10)
        let learningRate = try arguments.double("--lr", default: 0.1)
        let memoryName = arguments.string("--weights-memory") ?? WeightsMemory.auto.rawValue
        guard let weightsMemory = WeightsMemory(rawValue: memoryName) else {
            throw MeasureError("--weights-memory must be auto, float or tiles, not “\(memoryName)”")
        }
        let precisionName = arguments.string("--precision") ?? TrainingPrecision.float.rawValue
        guard let precision = TrainingPrecision(rawValue: precisionName) else {
            throw MeasureError("--precision must be float, int8-forward or int8, not “\(precisionName)”")
        }
        let method = try MethodCatalog.method(named: try arguments.required("--method"))
        let pool = ThreadPool(threadCount: try arguments.int("--threads", default: CPUTopology.usableCoreCount))
        let loaded = try ModelLoader.load(path: arguments.positional[0], pool: pool)
        let encoder = ExampleEncoder(tokenizer: loaded.tokenizer, template: .standard, learnsEnd: false)
        let examples = try Dataset(path: try arguments.required("--data"))[.train].map(encoder.encode)
        guard !examples.isEmpty else { throw MeasureError("the data has no training rows") }

        let shape = loaded.model.shape
        var tokens = try arguments.int("--tokens", default: 32)
        var parameters: [Float]
        if let path = arguments.string("--init") {
            let array = try NumPyArray(path: path)
            tokens = array.rows
            guard array.values.count == method.parameterCount(tokens: tokens, shape: shape) else {
                throw MeasureError("\(path): \(array.columns) columns do not fit \(method.name) on this model")
            }
            parameters = method.parameters(fromStored: array.values, tokens: tokens, shape: shape)
        } else {
            parameters = try method.initialParameters(
                .vocabulary(seed: 0), tokens: tokens, model: loaded.model, tokenizer: loaded.tokenizer)
        }
        var optimizer = try OptimizerCatalog.make(
            arguments.string("--optimizer") ?? "sgd", parameterCount: parameters.count, weightDecay: 0)
        let graph = try loaded.model.differentiable(weightsMemory: weightsMemory)
        graph.precision = precision
        var gradient = [Float](repeating: 0, count: parameters.count)
        var losses: [NSDecimalNumber] = []
        var times: [Double] = []
        var tokenCounts: [Int] = []
        for step in 0..<steps {
            let batch = TrainingBatch((0..<batchSize).map { examples[(step * batchSize + $0) % examples.count] })
            times.append(
                try seconds {
                    let result = try parameters.withUnsafeBufferPointer { values in
                        try gradient.withUnsafeMutableBufferPointer {
                            try graph.loss(
                                of: batch, prompt: method.view(values.baseAddress!, tokens: tokens),
                                gradient: $0.baseAddress!)
                        }
                    }
                    optimizer.step(parameters: &parameters, gradients: gradient, learningRate: learningRate)
                    losses.append(Report.rounded(result.loss, 6))
                })
            tokenCounts.append(batch.examples.reduce(0) { $0 + $1.tokens.count })
        }
        let skipped = min(2, steps - 1)
        let time = times.dropFirst(skipped).reduce(0, +)
        try Report.print(
            [
                ("engine", "incipit"), ("method", method.name), ("virtualTokens", tokens), ("batch", batchSize),
                ("steps", steps), ("losses", losses),
                ("examplesPerSecond", Report.rounded(Double((steps - skipped) * batchSize) / time, 3)),
                ("tokensPerSecond", Report.rounded(Double(tokenCounts.dropFirst(skipped).reduce(0, +)) / time, 1)),
                ("floatWeightMegabytes", graph.residentByteCount >> 20),
                ("peakMemoryMegabytes", Report.peakMemoryMegabytes),
            ], json: arguments.has("--json"))
    }
}

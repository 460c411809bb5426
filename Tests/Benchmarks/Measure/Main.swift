import Foundation

/// What can be measured: one line each.
private let measurements: [(name: String, usage: String, run: @Sendable ([String]) throws -> Void)] = [
    ("logits", LogitsMeasurement.usage, LogitsMeasurement.run),
    ("perplexity", PerplexityMeasurement.usage, PerplexityMeasurement.run),
    ("speed", SpeedMeasurement.usage, SpeedMeasurement.run),
    ("batch", BatchMeasurement.usage, BatchMeasurement.run),
    ("train", TrainMeasurement.usage, TrainMeasurement.run),
    ("limits", LimitsMeasurement.usage, LimitsMeasurement.run),
    ("kernels", KernelMeasurement.usage, KernelMeasurement.run),
    ("encode", EncodeMeasurement.usage, EncodeMeasurement.run),
    ("decode", DecodeMeasurement.usage, DecodeMeasurement.run),
    ("open", OpenMeasurement.usage, OpenMeasurement.run),
    ("vocabulary", VocabularyMeasurement.usage, VocabularyMeasurement.run),
    ("fingerprint", FingerprintMeasurement.usage, FingerprintMeasurement.run),
]

@main
enum Main {
    static func main() {
        let words = CommandLine.arguments.dropFirst()
        guard let name = words.first, let measurement = measurements.first(where: { $0.name == name }) else {
            let known = measurements.map { "  incipit-measure \($0.name) \($0.usage)\n" }.joined()
            fail("Measures the engine, for the scripts in Tests/Benchmarks and Tests/Oracles.\n\(known)", status: 64)
        }
        do {
            try measurement.run(Array(words.dropFirst()))
        } catch {
            fail("error: \(error)\n", status: 1)
        }
    }

    private static func fail(_ text: String, status: Int32) -> Never {
        FileHandle.standardError.write(Data(text.utf8))
        exit(status)
    }
}

import Foundation
import Kernels
import LanguageModels

/// Teacher-forced logits of given ids, for `compare_logits.py`.
enum LogitsMeasurement {
    static let usage = "MODEL ids.json out.f32 [--threads N] [--cache f16|f32]"

    /// Writes the logits after every id of every sequence, `(position, vocabulary)` F32, sequences one after the other.
    static func run(_ words: [String]) throws {
        let arguments = try Arguments(
            words, positional: ["MODEL", "ids.json", "out.f32"], options: ["--threads", "--cache"], flags: [])
        let pool = ThreadPool(threadCount: try arguments.int("--threads", default: CPUTopology.usableCoreCount))
        let model = try ModelLoader.load(path: arguments.positional[0], pool: pool).model
        let element: KVElement = arguments.string("--cache") == "f32" ? .f32 : .f16
        let sequences = try JSONDecoder().decode(
            [[Int]].self, from: Data(contentsOf: URL(fileURLWithPath: arguments.positional[1])))
        let path = arguments.positional[2]
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let file = FileHandle(forWritingAtPath: path)
        else { throw MeasureError("\(path) cannot be written") }
        defer { try? file.close() }
        let workspace = InferenceWorkspace()
        for ids in sequences {
            let cache = model.makeCache(element: element, capacity: ids.count)
            let logits = try model.forward(.tokens(ids), cache: cache, workspace: workspace, logitCount: ids.count)
            try file.write(contentsOf: Data(buffer: logits))
        }
    }
}

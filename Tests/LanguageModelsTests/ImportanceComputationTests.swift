import Conversion
import Fixtures
import Foundation
import GGUF
import Kernels
import Testing

@testable import LanguageModels

/// Sums of squares against those of forward hooks on transformers' linear layers.
@Suite("Importance matrices")
struct ImportanceComputationTests {
    private struct Golden: Decodable {
        struct Entry: Decodable {
            let sums: [Double]
            let count: Float
        }
        let chunks: [[Int]]
        let entries: [String: Entry]
    }

    @Test("every column of every weight of the tiny model has the sum that transformers sees")
    func golden() throws {
        let golden = try JSONDecoder().decode(
            Golden.self, from: Data(contentsOf: Fixtures.url("Golden/tiny-importance.json")))
        let file = try GGUFFile(path: Fixtures.Models.tinyLlama.path)
        let model = try LlamaArchitecture.load(file, pool: ThreadPool(threadCount: 2))
        var computation = ImportanceComputation()
        computation.chunkSize = golden.chunks[0].count - 1
        let matrix = try computation.gather(
            model.differentiable(weightsMemory: .float), chunks: golden.chunks)
        #expect(Set(matrix.entries.keys) == Set(golden.entries.keys))
        #expect(matrix.chunkCount == golden.chunks.count)
        for (name, expected) in golden.entries {
            let entry = try #require(matrix.entries[name], "\(name)")
            #expect(entry.counts == [expected.count], "\(name)")
            #expect(entry.sums.count == expected.sums.count, "\(name)")
            for (column, (ours, theirs)) in zip(entry.sums, expected.sums).enumerated() {
                #expect(abs(Double(ours) - theirs) <= 1e-3 * theirs, "\(name) column \(column)")
            }
        }
    }

    @Test("each expert has the rows that were sent to it, and the shared one all", arguments: ["mixtral", "qwen2moe"])
    func experts(name: String) throws {
        let file = try GGUFFile(path: Fixtures.url("Models/architectures/\(name).gguf").path)
        let model = try ModelCatalog.architecture(for: file, path: file.path).load(
            file, pool: ThreadPool(threadCount: 2))
        let used = try file.metadata.int("\(file.metadata.architecture()).expert_used_count")
        let chunk = (0..<33).map { 3 + $0 % 16 }
        let matrix = try ImportanceComputation().gather(model.differentiable(weightsMemory: .float), chunks: [chunk])
        for tensor in file.tensors where tensor.name.hasPrefix("blk.") && tensor.dimensions.count >= 2 {
            let entry = try #require(matrix.entries[tensor.name], "\(tensor.name)")
            let experts = tensor.dimensions.count > 2 ? tensor.dimensions[2] : 1
            #expect(entry.counts.count == experts, "\(tensor.name)")
            #expect(entry.sums.count == tensor.dimensions[0] * experts, "\(tensor.name)")
            #expect(entry.counts.reduce(0, +) == Float(experts > 1 ? 32 * used : 32), "\(tensor.name)")
        }
        // What the router sees, each of its rows `used` times, is what the experts' gates see together.
        let router = try #require(matrix.entries["blk.0.ffn_gate_inp.weight"])
        let gates = try #require(matrix.entries["blk.0.ffn_gate_exps.weight"])
        for column in router.sums.indices {
            let sum = stride(from: column, to: gates.sums.count, by: router.sums.count).reduce(Float(0)) {
                $0 + gates.sums[$1]
            }
            #expect(abs(sum - Float(used) * router.sums[column]) <= 1e-4 * sum, "column \(column)")
        }
    }

    @Test("a text gives a matrix that is read back as it was, and a short one is refused")
    func text() throws {
        let loaded = try ModelLoader.load(
            path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 2))
        var computation = ImportanceComputation()
        computation.chunkSize = 32
        computation.chunkLimit = 3
        let text = String(repeating: "The otter sleeps near the river. ", count: 40)
        var seen: [Int] = []
        let matrix = try computation.run(loaded, text: text, dataset: "otters") { seen.append($0.chunk) }
        #expect(seen == [1, 2, 3])
        #expect(matrix.entries["blk.0.ffn_down.weight"]?.counts == [96])
        #expect(matrix.entries["output.weight"] == nil)
        let path = FileManager.default.temporaryDirectory.appending(path: "importance-\(UUID().uuidString).gguf").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try matrix.write(to: path)
        let back = try ImportanceMatrix(path: path)
        #expect(back.entries == matrix.entries)
        #expect(back.datasets == ["otters"])
        #expect(throws: ModelError.self) { try computation.run(loaded, text: "too short", dataset: "x") }
    }
}

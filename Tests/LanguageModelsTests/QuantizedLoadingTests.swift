import Conversion
import Fixtures
import Foundation
import GGUF
import Kernels
import LanguageModels
import Testing

/// `--quantize` on load gives the model of the file that `incipit quantize` writes.
@Suite struct QuantizedLoadingTests {
    private let ids = [67, 279, 341, 82, 454, 9, 12, 40, 11, 3]

    private func logits(_ model: any LanguageModel) throws -> [UInt32] {
        let workspace = InferenceWorkspace()
        return try withExtendedLifetime(workspace) {
            try model.forward(
                .tokens(ids), cache: model.makeCache(), workspace: workspace, logitCount: ids.count
            ).map(\.bitPattern)
        }
    }

    @Test(arguments: ["Q4_1", "Q8_0", "Q4_K_M"], [true, false])
    func quantizingWhileLoadingGivesTheBitsOfTheQuantizedFile(mix name: String, isFolder: Bool) throws {
        let mix = try #require(QuantizationMix(name: name))
        let pool = ThreadPool(threadCount: 2)
        let original: any ModelSource =
            isFolder
            ? try HuggingFaceSource(folder: Fixtures.Models.tinyLlamaFolder.path)
            : GGUFSource(try GGUFFile(path: Fixtures.Models.tinyLlama.path))
        let path = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString).gguf").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Quantizer.run(
            QuantizationPlan(
                source: original, recipe: QuantizationRecipe(mix: mix), importance: nil, allowsRequantizing: false,
                provenance: nil), source: original, importance: nil, to: path, threads: 2)
        let file = try ModelLoader.load(path: path, pool: pool)
        let direct = try ModelLoader.load(QuantizedSource(original, mix: mix, threads: 2), pool: pool)
        #expect(try logits(direct.model) == logits(file.model))
        #expect(try direct.fingerprint().base == file.fingerprint().base)
        #expect(direct.model.residentByteCount == file.model.residentByteCount)
        // Training reads the blocks again, which packing has let go of.
        let batch = TrainingBatch([.init(tokens: [67, 279, 341, 82, 454], targetStart: 2)])
        let losses = try [direct, file].map {
            try $0.model.differentiable(weightsMemory: .tiles).loss(of: batch, prompt: .none, gradient: nil).loss
        }
        #expect(losses[0] == losses[1])
    }

    @Test func whatIsQuantizedAlreadyIsRefused() throws {
        let source = GGUFSource(try GGUFFile(path: Fixtures.Models.tinyLlamaQ4_1.path))
        let mix = try #require(QuantizationMix(name: "Q8_0"))
        #expect(throws: ConversionError.self) { try QuantizedSource(source, mix: mix, threads: 1) }
    }
}

import Conversion
import Fixtures
import Foundation
import GGUF
import Kernels
import LanguageModels
import Testing

/// A Hugging Face folder runs as it is, with the numbers of the GGUF file made of it.
@Suite struct FolderLoadingTests {
    private func logits(_ model: any LanguageModel, _ ids: [Int]) throws -> [Float] {
        let workspace = InferenceWorkspace()
        return try withExtendedLifetime(workspace) {
            Array(
                try model.forward(
                    .tokens(ids), cache: model.makeCache(element: .f32), workspace: workspace, logitCount: ids.count))
        }
    }

    @Test func aFolderGivesTheBitsOfTheFileMadeOfIt() throws {
        let pool = ThreadPool(threadCount: 2)
        let folder = try ModelLoader.load(path: Fixtures.Models.tinyLlamaFolder.path, pool: pool)
        let path = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString).gguf").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        var writer = try GGUFWriter(metadata: folder.source.metadata)
        for tensor in folder.source.tensors {
            let values = try folder.source.withBytes(of: tensor) { bytes in
                var values = [Float](repeating: 0, count: tensor.elementCount)
                values.withUnsafeMutableBufferPointer { tensor.type.decode(bytes, into: $0) }
                return values
            }
            try writer.add(name: tensor.name, type: tensor.type, dimensions: tensor.dimensions, floats: values)
        }
        try writer.write(to: path)
        let file = try ModelLoader.load(path: path, pool: pool)
        let text = "Every otter in the catalogue is listed under"
        let ids = folder.tokenizer.encode(text, parseSpecial: false, addSpecial: true)
        #expect(ids == file.tokenizer.encode(text, parseSpecial: false, addSpecial: true))
        let found = try logits(folder.model, ids)
        #expect(found.map(\.bitPattern) == (try logits(file.model, ids)).map(\.bitPattern))
        #expect(try folder.fingerprint().base == file.fingerprint().base)

        // The F32 file of the same run holds the same values.
        let known = try logits(ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: pool).model, ids)
        #expect(zip(found, known).allSatisfy { abs($0 - $1) < 1e-3 })
    }

    @Test func aFolderCanBeTrainedOn() throws {
        let folder = try ModelLoader.load(
            path: Fixtures.Models.tinyLlamaFolder.path, pool: ThreadPool(threadCount: 1))
        let file = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 1))
        let batch = TrainingBatch([.init(tokens: [67, 279, 341, 82, 454], targetStart: 2)])
        for memory in [WeightsMemory.float, .tiles] {
            let losses = try [folder, file].map {
                try $0.model.differentiable(weightsMemory: memory).loss(of: batch, prompt: .none, gradient: nil).loss
            }
            #expect(abs(losses[0] - losses[1]) < 1e-4)
        }
    }

    @Test func aFolderThatIsNoModelIsRefused() {
        let path = Fixtures.url("Golden").path
        #expect(throws: (any Error).self) {
            try ModelLoader.load(path: path, pool: ThreadPool(threadCount: 1))
        }
    }
}

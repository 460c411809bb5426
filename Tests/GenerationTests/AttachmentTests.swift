import Fixtures
import Foundation
import Generation
import Kernels
import LanguageModels
import SoftPrompts
import Testing

/// A soft prompt made of a text's own keys and values, or embeddings, must act as that text.
@Suite struct AttachmentTests {
    /// The same numbers by two routes in single precision.
    private let tolerance: Float = 1e-3
    private let digest = "sha256:" + String(repeating: "a", count: 64)

    private func load(_ url: URL = Fixtures.Models.tinyLlama) throws -> LoadedModel {
        try ModelLoader.load(path: url.path, pool: ThreadPool(threadCount: 1))
    }

    private func attachment(
        _ placement: SoftPrompt.Placement, _ values: [Float], tokens: Int, _ shape: DecoderShape
    ) throws -> PromptAttachment {
        let base = BaseFingerprint(
            fingerprint: digest, weights: digest, embedding: digest, tokenizer: digest, architecture: digest)
        let prompt = try SoftPrompt(
            placement: placement, virtualTokenCount: tokens, values: values, shape: shape.promptShape, base: base,
            baseName: "tiny", method: "test")
        return try PromptAttachment(prompt, shape: shape)
    }

    @Test(
        arguments: [Fixtures.Models.tinyLlama, Fixtures.Models.tinyLlamaQ4_1],
        [SoftPrompt.Placement.inputEmbeddings, .keysAndValues])
    func attachedTextActsAsText(url: URL, placement: SoftPrompt.Placement) throws {
        let loaded = try load(url)
        let model = loaded.model
        let shape = model.shape
        let text = loaded.tokenizer.encode("Every otter in the catalogue", parseSpecial: false, addSpecial: true)
        let rest = loaded.tokenizer.encode(" is listed under", parseSpecial: false, addSpecial: false)
        var values: [Float]
        switch placement {
        case .inputEmbeddings:
            values = [Float](repeating: 0, count: text.count * shape.hiddenSize)
            values.withUnsafeMutableBufferPointer { buffer in
                for (row, id) in text.enumerated() {
                    model.embedding(of: id, into: buffer.baseAddress! + row * shape.hiddenSize)
                }
            }
        case .keysAndValues:
            let cache = model.makeCache(element: .f32)
            _ = try model.forward(.tokens(text), cache: cache, workspace: InferenceWorkspace(), logitCount: 0)
            values = shape.storedPrefix(fromCache: cache.prefix(tokens: text.count), tokens: text.count)
        case .adaptionPrompt: return
        }
        let attached = try Session(
            model: model, attachment: attachment(placement, values, tokens: text.count, shape), cacheElement: .f32)
        #expect(attached.position == text.count)
        let found = Array(try attached.append(rest))
        let plain = try Session(model: model, cacheElement: .f32)
        let expected = try withExtendedLifetime(plain) { Array(try plain.append(text + rest)) }
        #expect(zip(found, expected).allSatisfy { abs($0 - $1) < tolerance })

        attached.reset()
        #expect(attached.position == text.count)
        #expect(Array(try attached.append(rest)) == found)
    }

    @Test func greedyTextIsTheKnownAnswer() throws {
        let loaded = try load()
        let generator = Generator(session: try Session(model: loaded.model), tokenizer: loaded.tokenizer)
        var pieces = ""
        let result = try generator.generate(
            "Every otter in the catalogue is listed under", settings: .greedy, maximumTokens: 40, stop: ["."],
            onText: { pieces += $0 })
        #expect(result.text == " animal, with a rare mark")
        #expect(result.ending == .stopString)
        #expect(pieces == result.text)
    }

    @Test func aTextBeyondTheContextIsRefused() throws {
        let session = try Session(model: load().model)
        #expect {
            try session.append([Int](repeating: 67, count: session.remaining + 1))
        } throws: { ($0 as? ModelError)?.code == .contextFull }
    }

    @Test func aSeedRepeatsItsText() throws {
        let loaded = try load()
        func text(_ seed: UInt64) throws -> [Int] {
            try Generator(session: Session(model: loaded.model), tokenizer: loaded.tokenizer).generate(
                "The", settings: SamplerSettings(temperature: 1.5, topK: 0, topP: 1, minP: 0, seed: seed),
                maximumTokens: 12
            ).tokens
        }
        #expect(try text(4) == text(4))
        #expect(try Set((0..<4).map(text)).count > 1)
    }
}

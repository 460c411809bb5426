import Fixtures
import Foundation
import GGUF
import Generation
import Kernels
import LanguageModels
import SoftPrompts
import Testing

@Suite struct SessionTests {
    private let digest = "sha256:" + String(repeating: "b", count: 64)

    private func load(_ url: URL = Fixtures.Models.tinyLlamaQ4_1) throws -> any LanguageModel {
        try ModelLoader.load(path: url.path, pool: ThreadPool(threadCount: 2)).model
    }

    private var base: BaseFingerprint {
        BaseFingerprint(
            fingerprint: digest, weights: digest, embedding: digest, tokenizer: digest, architecture: digest)
    }

    private func prompt(_ model: any LanguageModel) -> PromptAttachment {
        let count = 4 * model.shape.keyValueElementsPerToken
        return PromptAttachment(virtualTokenCount: 4, entry: .cache((0..<count).map { sin(Float($0)) }))
    }

    private func text(_ count: Int, _ seed: Int, _ model: any LanguageModel) -> [Int] {
        (0..<count).map { ($0 * 53 + seed * 17) % model.shape.vocabularySize }
    }

    private func withFolder(_ body: (URL) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder)
    }

    @Test func whatAnewTextSharesWithTheOldIsNotComputedAgain() throws {
        let model = try load()
        let session = try Session(model: model, attachment: prompt(model))
        let first = text(30, 1, model)
        let second = Array(first[..<20]) + text(15, 9, model)
        #expect(try session.replace(with: first).reused == 0)
        let (logits, reused) = try session.replace(with: second)
        #expect(reused == 20)
        let found = Array(logits)
        let plain = try Session(model: model, attachment: prompt(model))
        #expect(try Array(plain.append(second)).map(\.bitPattern) == found.map(\.bitPattern))
        #expect(try session.replace(with: second).reused == second.count - 1)
        #expect(session.tokens == second)
        #expect(throws: ModelError.self) { try session.replace(with: []) }
    }

    @Test(arguments: KVElement.allCases) func aSavedSessionGoesOnAsIfNothingHadHappened(element: KVElement) throws {
        let model = try load()
        guard element.fits(headDimension: model.shape.headDimension) else { return }
        try withFolder { folder in
            let path = folder.appending(path: "state").path
            let session = try Session(model: model, attachment: prompt(model), cacheElement: element)
            _ = try session.append(text(80, 2, model))
            try session.save(to: path, base: base, promptIdentity: "sha256:p")
            let next = text(5, 3, model)
            let expected = try Array(session.append(next)).map(\.bitPattern)

            let other = try Session(model: model, attachment: prompt(model), cacheElement: element)
            _ = try other.append(text(11, 7, model))
            try other.load(from: path, base: base, promptIdentity: "sha256:p")
            #expect(other.tokens == text(80, 2, model))
            #expect(try Array(other.append(next)).map(\.bitPattern) == expected)
            // The same state, the same bytes.
            other.reset(to: other.position - 5)
            let again = folder.appending(path: "again").path
            try other.save(to: again, base: base, promptIdentity: "sha256:p")
            #expect(try Data(contentsOf: URL(filePath: path)) == Data(contentsOf: URL(filePath: again)))
        }
    }

    @Test func aForeignOrDamagedStateIsRefused() throws {
        let model = try load()
        try withFolder { folder in
            let file = folder.appending(path: "state")
            let session = try Session(model: model, attachment: prompt(model))
            _ = try session.append(text(12, 2, model))
            try session.save(to: file.path, base: base, promptIdentity: "sha256:p")
            func refused(_ session: Session, _ base: BaseFingerprint, _ identity: String?, _ words: String) {
                #expect {
                    try session.load(from: file.path, base: base, promptIdentity: identity)
                } throws: {
                    ($0 as? ModelError)?.code == .invalidState && "\($0)".contains(words)
                }
            }
            var foreign = base
            foreign.fingerprint = "sha256:" + String(repeating: "c", count: 64)
            refused(session, foreign, "sha256:p", "another base")
            refused(session, base, "sha256:q", "another attached prompt")
            refused(try Session(model: model), base, "sha256:p", "another attached tokens")
            refused(
                try Session(model: model, attachment: prompt(model), cacheElement: .f32), base, "sha256:p",
                "another cache type")
            let bytes = try Data(contentsOf: file)
            for count in [0, 7, 100, bytes.count - 1] {
                try bytes[..<count].write(to: file)
                refused(session, base, "sha256:p", "no saved session")
            }
            var broken = bytes  // a token outside the vocabulary
            let tokens = try #require(
                bytes.range(
                    of: Data(
                        session.tokens.flatMap { id in
                            withUnsafeBytes(of: Int64(id).littleEndian) { Array($0) }
                        })))
            broken[tokens.lowerBound + 6] = 0x7f
            try broken.write(to: file)
            refused(session, base, "sha256:p", "outside the vocabulary")
            #expect(session.tokens == text(12, 2, model))
            #expect(try session.append([1]).count == model.shape.vocabularySize)
        }
    }

    @Test func aFullContextMakesRoomBehindWhatIsPinned() throws {
        let model = try load(Fixtures.Models.tinyLlama)
        let session = try Session(model: model, attachment: prompt(model), cacheElement: .f32)
        let context = model.shape.contextLength
        let whole = text(session.remaining, 4, model)
        _ = try session.append(whole)
        let before = session.cache.prefix(tokens: 14)
        #expect(throws: ModelError.self) { try session.append([1]) }
        let gone = try session.makeRoom(for: 3, pinned: 10)
        #expect(gone == (whole.count - 10) / 2)
        #expect(session.position == context - gone)
        #expect(session.tokens == Array(whole[..<10]) + Array(whole[(10 + gone)...]))
        #expect(session.cache.prefix(tokens: 14) == before)
        // The first layer's keys depend on token and position alone: those of the kept text at its new positions.
        let plain = try Session(model: model, attachment: prompt(model), cacheElement: .f32)
        _ = try plain.append(session.tokens)
        let plane = model.shape.keyValueHeadCount * session.position * model.shape.headDimension
        let found = session.cache.prefix(tokens: session.position)[..<(2 * plane)]
        let expected = plain.cache.prefix(tokens: session.position)[..<(2 * plane)]
        #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1e-4 })
        #expect(try session.makeRoom(for: 3) == 0)
        _ = try session.append(text(3, 5, model))
        #expect(throws: ModelError.self) { try session.makeRoom(for: context, pinned: 0) }
    }

    @Test func learnedPositionsAreNotMoved() throws {
        let url = Fixtures.url("Models/architectures/gpt2.gguf")
        let model = try ModelCatalog.architecture(for: GGUFFile(path: url.path), path: url.path).load(
            GGUFFile(path: url.path), pool: ThreadPool(threadCount: 1))
        let session = try Session(model: model)
        _ = try session.append(text(session.remaining, 1, model))
        #expect { try session.makeRoom(for: 1) } throws: { ($0 as? ModelError)?.code == .invalidInput }
        #expect(session.remaining == 0)
    }

    @Test func anAttachedPromptIsOneCopyForAllSessions() throws {
        let model = try load()
        let resident = try ResidentPrompt(prompt(model), model: model)
        let sessions = try (0..<3).map { _ in try Session(model: model, prompt: resident) }
        #expect(sessions.allSatisfy { $0.cache.byteCount == 0 && $0.position == 4 })
        let logits = try sessions.map { try Array($0.append([5, 6, 7])) }
        #expect(logits[0] == logits[1] && logits[1] == logits[2])
    }
}

import Fixtures
import Foundation
import Kernels
import LanguageModels
import Testing

@testable import PromptTuning

@Suite struct TeacherRecordingTests {
    private let loaded: LoadedModel

    init() throws {
        loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 1))
    }

    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    private var jobs: [TeacherRecorder.Job] {
        SelfStudy.jobs(count: 7, tokens: 5, temperature: 1, tokenizer: loaded.tokenizer)
    }

    private func teacher() throws -> Teacher {
        try Teacher(
            model: loaded.model, tokenizer: loaded.tokenizer,
            context: .text(loaded.tokenizer.encode("The cat is an animal", parseSpecial: false, addSpecial: false)),
            keptTokens: 4)
    }

    private func recorder(_ folder: String?) -> TeacherRecorder {
        var recorder = TeacherRecorder(folder: folder, identity: "test")
        recorder.portion = 3
        return recorder
    }

    @Test func anInterruptedRecordingGoesOnAndIsTheSame() throws {
        let whole = try recorder(nil).record(jobs, teacher: teacher)
        #expect(whole.sequences.count == 7)
        try withFolder { folder in
            var asked = 0
            #expect(throws: CancellationError.self) {
                try recorder(folder).record(
                    jobs, teacher: teacher,
                    shouldStop: {
                        asked += 1
                        return asked > 5
                    })
            }
            let continued = try recorder(folder).record(jobs, teacher: teacher)
            #expect(continued == whole)
            // Everything is there now: no teacher is needed.
            struct Asked: Error {}
            let read = try recorder(folder).record(jobs, teacher: { throw Asked() })
            #expect(read == whole)
        }
    }

    @Test func aDamagedPortionIsMadeAgain() throws {
        try withFolder { folder in
            let whole = try recorder(folder).record(jobs, teacher: teacher)
            let path = folder + "/000001.safetensors"
            let bytes = try Data(contentsOf: URL(filePath: path))
            for length in [0, 9, bytes.count / 2, bytes.count - 1] {
                try bytes.prefix(length).write(to: URL(filePath: path))
                #expect(TeacherRecording.read(from: path, identity: "x") == nil)
                let again = try recorder(folder).record(jobs, teacher: teacher)
                #expect(again == whole)
            }
        }
    }

    @Test func probabilitiesAreTheModelsLikeliestFirst() throws {
        var draw = SplitMix64(seed: 5)
        let sequence = try #require(
            try teacher().record([], inputWeight: 0, continuation: .init(tokens: 4), draw: &draw))
        for distribution in sequence.distributions {
            #expect(distribution.probabilities == distribution.probabilities.sorted(by: >))
            #expect(distribution.probabilities.allSatisfy { $0 > 0 } && distribution.tail >= 0)
        }
        // Greedy: each written token is the likeliest one.
        #expect(
            sequence.tokens.suffix(sequence.distributions.count)
                == sequence.distributions.map { Int($0.tokens[0]) }[...])
    }
}

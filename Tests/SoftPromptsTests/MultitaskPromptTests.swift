import ByteIO
import Foundation
import Safetensors
import Testing

@testable import SoftPrompts

@Suite("Multitask prompts") struct MultitaskPromptTests {
    private let shape = ModelShape(
        layerCount: 2, hiddenSize: 3, headCount: 2, keyValueHeadCount: 1, headDimension: 4)

    private func prompt() throws -> MultitaskPrompt {
        try MultitaskPrompt(
            tokenCount: 2, width: 3, taskCount: 2, rank: 2, shared: [1, 2, 3, 4, 5, 6],
            columns: [1, 0, 1, 1, 2, 1, 0, 3], rows: [1, 1, 1, 0, 2, 4, 1, 10, 100, 5, 0, 1])
    }

    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder.path)
    }

    @Test("a task's prompt is the shared one times the product of its factors")
    func fold() throws {
        // Factors of task 1: (2, 1) · rows = (7, 20, 201) and (0, 3) · rows = (15, 0, 3).
        #expect(try prompt().values(ofTask: 1) == [7, 40, 603, 60, 0, 18])
        #expect(try prompt().only(task: 1).values(ofTask: 0) == [7, 40, 603, 60, 0, 18])
    }

    @Test("the average is of columns and of rows, not of their products")
    func average() throws {
        let mean = try prompt().average
        #expect(mean.columns == [1.5, 0.5, 0.5, 2])
        #expect(mean.rows == [1, 5.5, 50.5, 2.5, 1, 2.5])
        #expect(mean.taskCount == 1 && mean.shared == [1, 2, 3, 4, 5, 6])
    }

    @Test("what is written comes back, the same bytes each time, and PEFTFolder reads it as well")
    func roundTrip() throws {
        try withFolder { folder in
            let prompt = try prompt()
            try prompt.write(toFolder: folder, baseName: "base", shape: shape)
            #expect(try MultitaskPrompt(folder: folder) == prompt)
            #expect(try PEFTFolder(path: folder, task: 1).values == prompt.values(ofTask: 1))
            let first = try Data(contentsOf: URL(filePath: folder + "/adapter_model.safetensors"))
            try prompt.write(toFolder: folder, baseName: "base", shape: shape)
            #expect(try Data(contentsOf: URL(filePath: folder + "/adapter_model.safetensors")) == first)
            let text = try String(contentsOfFile: folder + "/adapter_config.json", encoding: .utf8)
            let json = try JSONValue.parse(text: text)
            #expect(json["peft_type"]?.stringValue == "MULTITASK_PROMPT_TUNING")
            #expect(json["num_tasks"]?.intValue == 2 && json["num_ranks"]?.intValue == 2)
            #expect(json["num_virtual_tokens"]?.intValue == 2 && json["token_dim"]?.intValue == 3)
        }
    }

    @Test("counts that do not fit, and numbers that are none, are refused")
    func refusals() {
        func make(_ shared: [Float], _ columns: [Float], _ rows: [Float], tasks: Int = 1) throws -> MultitaskPrompt {
            try MultitaskPrompt(
                tokenCount: 1, width: 2, taskCount: tasks, rank: 1, shared: shared, columns: columns, rows: rows)
        }
        #expect(throws: Never.self) { try make([1, 2], [1], [1, 1]) }
        #expect(throws: SoftPromptError.self) { try make([1, 2, 3], [1], [1, 1]) }
        #expect(throws: SoftPromptError.self) { try make([1, 2], [1], [1, 1], tasks: 2) }
        #expect(throws: SoftPromptError.self) { try make([1, 2], [1], [1, 1], tasks: .max) }
        #expect(throws: SoftPromptError.self) { try make([1, .nan], [1], [1, 1]) }
    }

    @Test("a folder of another kind is refused by name")
    func otherKind() throws {
        try withFolder { folder in
            var writer = SafetensorsWriter()
            try writer.add(name: "prompt_embeddings", shape: [1, 2], floats: [1, 2])
            try AtomicFile.write(try writer.serialized(), to: folder + "/adapter_model.safetensors")
            try AtomicFile.write(
                Array(#"{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 1}"#.utf8),
                to: folder + "/adapter_config.json")
            #expect { try MultitaskPrompt(folder: folder) } throws: { "\($0)".contains("PROMPT_TUNING") }
        }
    }
}

import ByteIO
import Foundation
import Safetensors
import Testing

@testable import SoftPrompts

/// Adaption prompts in PEFT's layout.
struct AdaptionTensorsTests {
    private static let name = "base_model.model.model.layers."
    private static let hidden = 24

    private func folder(
        _ tensors: [(name: String, shape: [Int])], configuration: String = #"{"peft_type":"ADAPTION_PROMPT"}"#
    ) throws -> String {
        let path = NSTemporaryDirectory() + "/incipit-tests-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        var writer = SafetensorsWriter(metadata: [("format", "pt")])
        for (index, tensor) in tensors.enumerated() {
            let count = tensor.shape.reduce(1, *)
            try writer.add(
                name: tensor.name, type: .f32, shape: tensor.shape,
                floats: (0..<count).map { Float($0 + index) / 16 + 1 })
        }
        try Data(try writer.serialized()).write(to: URL(fileURLWithPath: path + "/adapter_model.safetensors"))
        try Data(configuration.utf8).write(to: URL(fileURLWithPath: path + "/adapter_config.json"))
        return path
    }

    private func layer(_ index: Int, tokens: Int = 3, hidden: Int = hidden) -> [(name: String, shape: [Int])] {
        [
            ("\(Self.name)\(index).self_attn.adaption_prompt", [1, tokens, hidden]),
            ("\(Self.name)\(index).self_attn.adaption_gate", [1]),
        ]
    }

    @Test func topmostLayersAreReadAndTheOthersAreZero() throws {
        let path = try folder(
            layer(1), configuration: #"{"peft_type":"ADAPTION_PROMPT","adapter_len":3,"adapter_layers":1}"#)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let prompt = try PEFTFolder(path: path).prompt(
            shape: SoftPromptFileTests.shape, base: SoftPromptFileTests.base, baseName: "tiny")
        let layout = AdaptionLayout(prompt.shape)
        #expect(prompt.method == "adaption-prompt")
        #expect(layout.firstAdaptedLayer(prompt.values) == 1)
        #expect(prompt.values[layout.gate(ofLayer: 1)] == 1.0625)
        #expect(prompt.values[layout.columns + layout.gate(ofLayer: 1)] == 0)
        #expect(prompt.values[layout.columns + layout.row(ofLayer: 1).lowerBound] == 2.5)
        #expect(prompt.values[layout.row(ofLayer: 0)].allSatisfy { $0 == 0 })
        let file = try SafetensorsFile(bytes: SoftPromptFile(prompt).tensors, name: "written")
        #expect(Set(file.tensors.map(\.name)) == Set(layer(1).map(\.name)))
        let written = try JSONValue.parse(SoftPromptFile(prompt).peftConfiguration)
        #expect(written["adapter_layers"]?.intValue == 1)
        #expect(written["adapter_len"]?.intValue == 3)
    }

    @Test(
        "what is no adaption prompt is refused",
        arguments: ["gap", "gate", "missing", "extra", "said", "rank", "huge", "gpt2"])
    func refusals(_ kind: String) throws {
        var tensors = layer(0) + layer(1)
        var configuration = #"{"peft_type":"ADAPTION_PROMPT"}"#
        switch kind {
        case "gap": tensors = layer(0) + layer(2)
        case "gate": tensors[3].shape = [2]
        case "missing": tensors.remove(at: 1)
        case "extra": tensors.append(("base_model.score.weight", [2, 2]))
        case "said": configuration = #"{"peft_type":"ADAPTION_PROMPT","adapter_len":4}"#
        case "rank": tensors[2].shape = [3, Self.hidden]
        case "huge": tensors = layer(16_000_000)
        default: configuration = #"{"peft_type":"ADAPTION_PROMPT","target_modules":"attn"}"#
        }
        let path = try folder(tensors, configuration: configuration)
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(throws: (any Error).self) { try PEFTFolder(path: path) }
    }

    @Test func aPromptOfAnotherModelIsRefused() throws {
        let path = try folder(layer(0) + layer(1) + layer(2))
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(throws: SoftPromptError.self) {
            try PEFTFolder(path: path).prompt(
                shape: SoftPromptFileTests.shape, base: SoftPromptFileTests.base, baseName: "tiny")
        }
    }

    @Test func eightBitsAreRefused() throws {
        let prompt = try SoftPromptFileTests.prompt(.adaptionPrompt)
        #expect(throws: SoftPromptError.self) { try SoftPromptFile(prompt, type: .i8) }
        #expect(try SoftPromptFile(prompt, type: .bf16).prompt().placement == .adaptionPrompt)
    }
}

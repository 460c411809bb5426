import ByteIO
import Foundation
import Safetensors
import Testing

@testable import SoftPrompts

struct SoftPromptFileTests {
    static func digest(_ digit: Character) -> String { "sha256:" + String(repeating: digit, count: 64) }

    static let base = BaseFingerprint(
        fingerprint: digest("a"), weights: digest("b"), embedding: digest("c"), tokenizer: digest("d"),
        architecture: digest("e"))
    static let shape = ModelShape(layerCount: 2, hiddenSize: 24, headCount: 6, keyValueHeadCount: 2, headDimension: 4)

    static func prompt(_ placement: SoftPrompt.Placement, tokens: Int = 3) throws -> SoftPrompt {
        let columns = SoftPrompt.columns(placement, shape)
        var values = (0..<tokens * columns).map { Float($0) / 7 - 3 }
        if placement == .adaptionPrompt {
            let layout = AdaptionLayout(shape)
            for token in 1..<tokens {
                for layer in 0..<layout.layerCount { values[token * columns + layout.gate(ofLayer: layer)] = 0 }
            }
        }
        let methods: [SoftPrompt.Placement: String] = [
            .inputEmbeddings: "prompt-tuning", .keysAndValues: "prefix-tuning", .adaptionPrompt: "adaption-prompt",
        ]
        return try SoftPrompt(
            placement: placement, virtualTokenCount: tokens, values: values,
            shape: shape, base: base, baseName: "tiny", baseSource: digest("f"), method: methods[placement] ?? "",
            training: ["seed": 42, "loss": 0.25, "data": ["name": "gloss"]])
    }

    @Test("the tensor file of 20 vectors of 3072 is PEFT's, byte for byte")
    func peftBytes() throws {
        let shape = ModelShape(
            layerCount: 28, hiddenSize: 3072, headCount: 24, keyValueHeadCount: 8, headDimension: 128)
        let prompt = try SoftPrompt(
            placement: .inputEmbeddings, virtualTokenCount: 20, values: [Float](repeating: 0.5, count: 20 * 3072),
            shape: shape,
            base: Self.base, baseName: "meta-llama/Llama-3.2-3B", method: "p-tuning")
        let bytes = try SoftPromptFile(prompt).tensors
        let header =
            "{\"__metadata__\":{\"format\":\"pt\"},\"prompt_embeddings\":{\"dtype\":\"F32\",\"shape\":[20,3072],\"data_offsets\":[0,245760]}}"
        #expect(bytes.count == 245_880)
        #expect(Array(bytes[..<8]) == [112, 0, 0, 0, 0, 0, 0, 0])
        #expect(Array(bytes[8..<120]) == Array(header.utf8) + [UInt8](repeating: 0x20, count: 112 - header.utf8.count))
        #expect(Array(bytes[120..<124]) == [0, 0, 0, 0x3F])
    }

    @Test("a prompt read back is the prompt written", arguments: SoftPrompt.Placement.allCases)
    func roundTrip(placement: SoftPrompt.Placement) throws {
        let prompt = try Self.prompt(placement)
        let file = try SoftPromptFile(prompt)
        #expect(try file.prompt() == prompt)
        #expect(try SoftPromptFile(file.prompt()) == file)
        let folder = NSTemporaryDirectory() + "/incipit-tests-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try file.write(toFolder: folder)
        #expect(try SoftPromptFile(folder: folder) == file)
        let imported = try PEFTFolder(path: folder).prompt(
            shape: Self.shape, base: Self.base, baseName: "tiny", baseSource: Self.digest("f"),
            training: prompt.training)
        #expect(imported == prompt)
    }

    @Test("halves round and say so", arguments: [SafetensorsType.f16, .bf16])
    func halves(type: SafetensorsType) throws {
        let prompt = try Self.prompt(.keysAndValues)
        let back = try SoftPromptFile(prompt, type: type).prompt()
        #expect(back != prompt)
        #expect(zip(prompt.values, back.values).allSatisfy { ($0 - $1).magnitude <= max($0.magnitude / 128, 1e-3) })
        var large = prompt
        large.values[0] = 70000
        if type == .f16 { #expect(throws: SoftPromptError.self) { try SoftPromptFile(large, type: type) } }
    }

    @Test("parts keep the type each was given, and every other type is told")
    func mixed() throws {
        let prompt = try Self.prompt(.keysAndValues)
        let parts = PromptPart.parts(prompt.placement, prompt.shape)
        #expect(parts.count == PromptPart.count(prompt.placement, prompt.shape))
        #expect(parts.first?.columns.lowerBound == 0 && parts.last?.columns.upperBound == prompt.columns)
        for (left, right) in zip(parts, parts.dropFirst()) {
            #expect(left.columns.upperBound == right.columns.lowerBound)
        }
        let types = parts.indices.map { SoftPromptFile.types[$0 % SoftPromptFile.types.count] }
        let encoding = PromptEncoding(parts: types)
        let file = try SoftPromptFile(prompt, encoding: encoding)
        #expect(try SoftPromptConfiguration(bytes: file.configuration).encoding == encoding)
        let back = try file.prompt()
        for (index, value) in prompt.values.enumerated() {
            let part = try #require(parts.firstIndex { $0.columns.contains(index % prompt.columns) })
            let alone = try SoftPromptFile(prompt, type: types[part]).prompt()
            #expect(back.values[index] == alone.values[index], "\(value) in \(types[part])")
        }
        // Written again the same bytes come out: what was rounded is not rounded further.
        #expect(try SoftPromptFile(back, encoding: encoding) == file)
        // One type for all parts is the plain form.
        let alike = PromptEncoding(parts: types.map { _ in .bf16 })
        #expect(try SoftPromptFile(prompt, encoding: alike) == SoftPromptFile(prompt, type: .bf16))
        let short = PromptEncoding(parts: Array(types.dropLast()))
        #expect(throws: SoftPromptError.self) { try SoftPromptFile(prompt, encoding: short) }
        for (old, new) in [("\"I8\"", "\"U8\""), ("\"I8\"", "\"F16\""), ("\"MIXED\"", "\"F32\"")] {
            var damaged = file
            let text = String(decoding: file.configuration, as: UTF8.self)
            damaged.configuration = Array(text.replacingOccurrences(of: old, with: new).utf8)
            #expect(throws: (any Error).self) { try damaged.prompt() }
        }
    }

    @Test("the PEFT configuration has the keys that every version loads")
    func peftConfiguration() throws {
        let embeddings = try JSONValue.parse(SoftPromptFile(Self.prompt(.inputEmbeddings)).peftConfiguration)
        #expect(
            embeddings == [
                "auto_mapping": nil, "base_model_name_or_path": "tiny", "inference_mode": true,
                "num_attention_heads": 6,
                "num_layers": 2, "num_transformer_submodules": 1, "num_virtual_tokens": 3, "peft_type": "PROMPT_TUNING",
                "prompt_tuning_init": "RANDOM", "prompt_tuning_init_text": nil, "revision": nil,
                "task_type": "CAUSAL_LM",
                "token_dim": 24, "tokenizer_kwargs": nil, "tokenizer_name_or_path": nil,
            ])
        let prefix = try JSONValue.parse(SoftPromptFile(Self.prompt(.keysAndValues)).peftConfiguration)
        #expect(
            prefix == [
                "auto_mapping": nil, "base_model_name_or_path": "tiny", "encoder_hidden_size": 8,
                "inference_mode": true,
                "num_attention_heads": 2, "num_layers": 2, "num_transformer_submodules": 1, "num_virtual_tokens": 3,
                "peft_type": "PREFIX_TUNING", "prefix_projection": false, "revision": nil, "task_type": "CAUSAL_LM",
                "token_dim": 8,
            ])
    }

    @Test("values that are not finite, wrong counts and absurd shapes are refused")
    func validation() throws {
        let good = try Self.prompt(.inputEmbeddings)
        for change: (inout SoftPrompt) -> Void in [
            { $0.values[5] = .nan }, { $0.values[5] = -.infinity }, { $0.values.removeLast() },
            { $0.virtualTokenCount = 0 },
            { $0.virtualTokenCount = .max }, { $0.shape.hiddenSize = 0 }, { $0.shape.layerCount = -1 },
            { $0.shape.headDimension = .max }, { $0.shape.keyValueHeadCount = 4 }, { $0.base.weights = "sha256:abc" },
            { $0.method = "" }, { $0.placement = .keysAndValues },
        ] {
            var bad = good
            change(&bad)
            #expect(throws: SoftPromptError.self) { try bad.validate() }
            #expect(throws: SoftPromptError.self) { try SoftPromptFile(bad) }
        }
    }

    @Test("a tensor file that is not what the configuration says is refused")
    func contradictions() throws {
        let file = try SoftPromptFile(Self.prompt(.inputEmbeddings))
        let other = try SoftPromptFile(Self.prompt(.inputEmbeddings, tokens: 4))
        let prefix = try SoftPromptFile(Self.prompt(.keysAndValues))
        let half = try SoftPromptFile(Self.prompt(.inputEmbeddings), type: .f16)
        for tensors in [other.tensors, prefix.tensors, half.tensors, try SafetensorsWriter().serialized()] {
            var bad = file
            bad.tensors = tensors
            #expect(throws: (any Error).self) { try bad.prompt() }
        }
        var notFinite = file
        notFinite.tensors.replaceSubrange((notFinite.tensors.count - 4)..., with: [0, 0, 0xC0, 0x7F])
        #expect { try notFinite.prompt() } throws: { ($0 as? SoftPromptError)?.code == .notFinite }
    }

    @Test(
        "configurations that lack something or come from the future are refused",
        arguments: [
            ("schemaVersion", JSONValue.integer(2)), ("schemaVersion", .null), ("base", .null), ("prompt", .null),
            ("prompt", ["placement": "elsewhere"]), ("method", ""), ("training", "x"), ("base", ["name": "x"]),
        ] as [(String, JSONValue)])
    func configurations(key: String, value: JSONValue) throws {
        var object = try #require(
            SoftPromptConfiguration(Self.prompt(.inputEmbeddings), encoding: PromptEncoding(.f32)).json.objectValue)
        object[key] = .some(value)
        #expect(throws: SoftPromptError.self) {
            try SoftPromptConfiguration(bytes: JSONValue.object(object).canonicalBytes())
        }
    }

    @Test("unknown members of a configuration are ignored")
    func unknownMembers() throws {
        var object = try #require(
            SoftPromptConfiguration(Self.prompt(.inputEmbeddings), encoding: PromptEncoding(.f32)).json.objectValue)
        object["later"] = ["x": 1]
        let bytes = JSONValue.object(object).canonicalBytes()
        #expect(
            try SoftPromptConfiguration(bytes: bytes)
                == SoftPromptConfiguration(Self.prompt(.inputEmbeddings), encoding: PromptEncoding(.f32)))
    }

    @Test(
        "adapters that are no soft prompts are refused with the reason",
        arguments: [
            (["peft_type": "LORA", "num_virtual_tokens": 2], "no soft prompt"),
            (["peft_type": "ADAPTION_PROMPT", "adapter_len": 2], "adaption_prompt"),
            (["peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2, "num_transformer_submodules": 2], "encoder"),
            (["peft_type": "PROMPT_TUNING"], "num_virtual_tokens"), ([:], "peft_type"),
            (["peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3], "3 rows"),
        ] as [(JSONValue, String)])
    func peftRefusals(configuration: JSONValue, word: String) throws {
        var writer = SafetensorsWriter()
        try writer.add(name: "prompt_embeddings", shape: [2, 4], floats: [1, 2, 3, 4, 5, 6, 7, 8])
        let file = try SafetensorsFile(bytes: writer.serialized())
        #expect { try PEFTFolder(path: "adapter", json: configuration, file: file, task: nil) } throws: {
            "\($0)".contains(word)
        }
    }

    @Test("a multi-task prompt folds to the prompt of one task")
    func multitask() throws {
        var writer = SafetensorsWriter()
        try writer.add(name: "prompt_embeddings", shape: [2, 3], floats: [1, 2, 3, 4, 5, 6])
        try writer.add(name: "prefix_task_cols", shape: [2, 2, 1], floats: [1, 1, 2, 3])
        try writer.add(name: "prefix_task_rows", shape: [2, 1, 3], floats: [1, 1, 1, 1, 10, 100])
        let file = try SafetensorsFile(bytes: writer.serialized())
        let json: JSONValue = ["peft_type": "MULTITASK_PROMPT_TUNING", "num_virtual_tokens": 2]
        #expect(try PEFTFolder(path: "x", json: json, file: file, task: 1).values == [2, 40, 600, 12, 150, 1800])
        #expect(throws: SoftPromptError.self) { try PEFTFolder(path: "x", json: json, file: file, task: nil) }
        #expect(throws: SoftPromptError.self) { try PEFTFolder(path: "x", json: json, file: file, task: 2) }
    }
}

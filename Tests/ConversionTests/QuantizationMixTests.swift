import Fixtures
import Foundation
import GGUF
import TensorTypes
import Testing

@testable import Conversion

/// llama.cpp's own snapshots of the types that real models get, beside the package on the machines of its developers.
private struct MixSnapshot {
    /// A mix, its main type, and what tensors get that differ from it.
    struct Section {
        let mix, type: String
        var others: [String: String]
    }

    var numbers: [String: Int] = [:]
    var sections: [Section] = []

    init(_ url: URL) throws {
        for line in try String(contentsOf: url, encoding: .utf8).split(separator: "\n") {
            if line.hasPrefix("# n_embd") {
                for field in line.dropFirst(2).split(separator: ",") {
                    let parts = field.split(separator: "=")
                    numbers[parts[0].trimmingCharacters(in: .whitespaces)] = Int(parts[1])
                }
            } else if line.hasPrefix("[") {
                let parts = line.dropFirst().split(separator: "]")
                sections.append(
                    Section(mix: String(parts[0]), type: parts[1].trimmingCharacters(in: .whitespaces), others: [:]))
            } else if !line.hasPrefix("#"), let space = line.lastIndex(of: " ") {
                sections[sections.count - 1].others[String(line[..<space])] = String(
                    line[line.index(after: space)...])
            }
        }
    }

    /// Every tensor that some mix treats apart. What the snapshot does not say is inferred from one mix that is not
    /// judged by it: TQ1_0 replaces the type of rows that are no multiple of 256, and of none else.
    var tensors: [SourceTensor] {
        let ternary = sections.first { $0.mix == "TQ1_0" }?.others ?? [:]
        return Set(sections.flatMap(\.others.keys)).map { name in
            let isShort =
                name == "output.weight" || name == "token_embd.weight"
                ? (numbers["n_embd"] ?? 0) % 256 != 0 : ternary[name] == "q4_0"
            let isStack = ["_exps.", "attn_k_b.", "attn_v_b."].contains(where: name.contains)
            return SourceTensor(name: name, type: .f16, dimensions: [isShort ? 2880 : 4096, 2] + (isStack ? [4] : []))
        }
    }

    func model(_ architecture: String) -> MixModel {
        MixModel(
            architecture: architecture, layerCount: numbers["n_layer"] ?? 0, headCount: numbers["n_head"] ?? 0,
            keyValueHeadCount: numbers["n_head_kv"] ?? 0, expertCount: numbers["n_expert"] ?? 0)
    }
}

@Suite("Quantization mixes")
struct QuantizationMixTests {
    @Test("every tensor of twelve real models gets llama.cpp's type in every mix")
    func snapshots() throws {
        guard let folder = Fixtures.externalVectors("quantization-mixes") else { return }
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .filter { $0.pathExtension == "schema" }
        #expect(files.count == 12)
        var judged = 0
        for file in files {
            let snapshot = try MixSnapshot(file)
            let tensors = QuantizationRecipe.ordered(snapshot.tensors)
            let isLlama = file.lastPathComponent.contains("llama")
            for section in snapshot.sections {
                let mix = try #require(QuantizationMix(name: section.mix), "\(section.mix)")
                #expect(mix.type == TensorType(name: section.type), "\(section.mix)")
                let choices = QuantizationRecipe(mix: mix).types(
                    of: tensors, model: snapshot.model(isLlama ? "llama" : "other"), hasImportance: false)
                for (tensor, choice) in zip(tensors, choices) {
                    let expected = section.others[tensor.name] ?? section.type
                    #expect(
                        choice.type.name.lowercased() == expected.lowercased(),
                        "\(file.lastPathComponent) \(section.mix) \(tensor.name)")
                    judged += 1
                }
            }
        }
        #expect(judged > 100_000)
    }

    /// A model of 16 layers, rows of 512, with and without an output of its own.
    private func tensors(layers: Int = 16, rowLength: Int = 512, tied: Bool = true) -> [SourceTensor] {
        let parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
        var names = ["token_embd.weight"] + (tied ? [] : ["output.weight"])
        for layer in 0..<layers { names += parts.map { "blk.\(layer).\($0).weight" } }
        let matrices = names.map { SourceTensor(name: $0, type: .f16, dimensions: [rowLength, 4]) }
        return QuantizationRecipe.ordered(
            matrices + [
                SourceTensor(name: "output_norm.weight", type: .f32, dimensions: [rowLength]),
                SourceTensor(name: "blk.0.ffn_gate_inp.weight", type: .f32, dimensions: [rowLength, 8]),
                SourceTensor(name: "blk.0.attn_q.bias", type: .f32, dimensions: [rowLength]),
            ])
    }

    private func types(
        _ recipe: QuantizationRecipe, _ tensors: [SourceTensor], heads: (Int, Int) = (8, 8), experts: Int = 0,
        layers: Int = 16, architecture: String = "llama", hasImportance: Bool = false
    ) -> [String: String] {
        let model = MixModel(
            architecture: architecture, layerCount: layers, headCount: heads.0, keyValueHeadCount: heads.1,
            expertCount: experts)
        let choices = recipe.types(of: tensors, model: model, hasImportance: hasImportance)
        return Dictionary(uniqueKeysWithValues: zip(tensors.map(\.name), choices.map(\.type.name)))
    }

    private func recipe(_ name: String) throws -> QuantizationRecipe {
        QuantizationRecipe(mix: try #require(QuantizationMix(name: name)))
    }

    @Test("Q4_K_M gives more bits to the ends and each third layer between, and keeps what is no matrix")
    func middleMix() throws {
        let types = types(try recipe("q4_k"), tensors())
        let more = (0..<16).filter { types["blk.\($0).attn_v.weight"] == "Q6_K" }
        #expect(more == [0, 1, 4, 7, 10, 13, 14, 15])
        #expect((0..<16).filter { types["blk.\($0).ffn_down.weight"] == "Q6_K" } == more)
        #expect(types["blk.3.attn_q.weight"] == "Q4_K")
        #expect(types["token_embd.weight"] == "Q6_K", "it is the output as well")
        #expect(types["output_norm.weight"] == "F32")
        #expect(types["blk.0.ffn_gate_inp.weight"] == "F32")
        #expect(types["blk.0.attn_q.bias"] == "F32")
        let untied = self.types(try recipe("Q4_K_M"), tensors(tied: false))
        #expect(untied["token_embd.weight"] == "Q4_K")
        #expect(untied["output.weight"] == "Q6_K")
    }

    /// SmolLM2-135M: 30 layers, rows of 576 (no multiple of 256) but for 1536 in the down projection, tied output.
    private var smolLM2: [SourceTensor] {
        tensors(layers: 30, rowLength: 576).filter { !$0.name.contains("ffn_gate_inp") }.map { tensor in
            guard tensor.name.contains("ffn_down") else { return tensor }
            return SourceTensor(name: tensor.name, type: .f16, dimensions: [1536, 4])
        }
    }

    @Test(
        "SmolLM2 gets the types that llama.cpp gives it",
        arguments: [
            ("Q4_K_M", ["Q8_0": 15, "Q5_0": 166, "Q6_K": 14, "Q4_K": 16]),
            ("Q3_K_M", ["Q8_0": 1, "Q5_1": 2, "Q5_0": 58, "Q4_0": 120, "Q5_K": 1, "Q4_K": 29]),
            ("IQ4_XS", ["Q8_0": 1, "IQ4_NL": 180, "Q5_K": 3, "IQ4_XS": 27]),
            ("Q8_0", ["Q8_0": 211]),
        ])
    func smolLM2Table(mix: String, expected: [String: Int]) throws {
        let types = types(try recipe(mix), smolLM2, heads: (9, 3), layers: 30)
        var counts: [String: Int] = [:]
        for (name, type) in types where name.hasSuffix("weight") && !name.contains("norm") {
            counts[type, default: 0] += 1
        }
        #expect(counts == expected)
    }

    @Test("grouped heads, eight experts, 80 layers and falcon change the choice")
    func models() throws {
        let tensors = tensors()
        #expect(try types(recipe("Q2_K"), tensors)["blk.0.attn_v.weight"] == "Q3_K")
        #expect(try types(recipe("Q2_K"), tensors, heads: (8, 2))["blk.0.attn_v.weight"] == "Q4_K")
        let experts = types(try recipe("Q4_K_M"), tensors, experts: 8)
        #expect(experts["blk.3.attn_v.weight"] == "Q8_0")
        #expect(experts["blk.3.attn_k.weight"] == "Q8_0")
        #expect(experts["blk.3.attn_output.weight"] == "Q5_K")
        let large = types(try recipe("Q3_K_S"), self.tensors(layers: 80), heads: (8, 1), layers: 80)
        #expect(large["blk.40.attn_v.weight"] == "Q5_K")
        let falcon = types(try recipe("Q4_K_M"), tensors, architecture: "falcon")
        #expect(falcon["blk.0.ffn_down.weight"] == "Q6_K")
        #expect(falcon["blk.1.ffn_down.weight"] == "Q5_K")
        #expect(falcon["token_embd.weight"] == "Q8_0")
    }

    @Test("an importance matrix guards the first layers of Q4_0 and frees those of IQ4_XS")
    func importance() throws {
        #expect(try types(recipe("Q4_0"), tensors())["blk.0.ffn_down.weight"] == "Q4_0")
        #expect(try types(recipe("Q4_0"), tensors(), hasImportance: true)["blk.0.ffn_down.weight"] == "Q4_1")
        #expect(try types(recipe("IQ4_XS"), tensors())["blk.0.ffn_down.weight"] == "Q5_K")
        #expect(try types(recipe("IQ4_XS"), tensors(), hasImportance: true)["blk.0.ffn_down.weight"] == "IQ4_XS")
    }

    @Test("rows that do not fill blocks get a type of smaller blocks, or F16")
    func fallback() throws {
        let short = types(try recipe("Q4_K_M"), tensors(rowLength: 576))
        #expect(short["blk.3.attn_q.weight"] == "Q5_0")
        #expect(short["blk.0.attn_v.weight"] == "Q8_0")
        #expect(short["token_embd.weight"] == "Q8_0")
        #expect(try types(recipe("IQ4_XS"), tensors(rowLength: 96))["blk.9.attn_q.weight"] == "IQ4_NL")
        #expect(try types(recipe("Q4_0"), tensors(rowLength: 40))["blk.9.attn_q.weight"] == "F16")
    }

    @Test("options come before rules, rules before the mix, and the first rule that matches decides")
    func rules() throws {
        var recipe = try recipe("Q4_K_M")
        recipe.rules = [
            try TensorTypeRule(#"blk\.(0|1)\.ffn_down=q8_0"#), try TensorTypeRule("FFN_DOWN=Q5_K"),
            try TensorTypeRule("token_embd=Q4_0"),
        ]
        recipe.embeddingType = .q8_0
        let types = types(recipe, tensors(tied: false))
        #expect(types["blk.1.ffn_down.weight"] == "Q8_0")
        #expect(types["blk.2.ffn_down.weight"] == "Q5_K")
        #expect(types["blk.15.ffn_down.weight"] == "Q5_K")
        #expect(types["token_embd.weight"] == "Q8_0")
        recipe.isPure = true
        recipe.leavesOutput = true
        let pure = self.types(recipe, tensors(tied: false))
        #expect(pure["blk.0.attn_v.weight"] == "Q4_K")
        #expect(pure["output.weight"] == "F16")
    }

    @Test("rules that cannot be read are refused with what is wrong")
    func badRules() {
        for text in ["ffn_down", "=Q4_K", "ffn_down=Q9", "(=Q4_K", "attn=Q8_K", ""] {
            #expect(throws: ConversionError.self, "\(text)") { try TensorTypeRule(text) }
        }
    }

    @Test("names of mixes are found in any case, and file types are those of llama.cpp")
    func names() throws {
        #expect(QuantizationMix(name: "q5_k")?.name == "Q5_K_M")
        #expect(QuantizationMix(name: "Q9") == nil)
        let fileTypes = QuantizationMix.all.map(\.fileType)
        #expect(Set(fileTypes).count == fileTypes.count)
        #expect(Set(fileTypes) == Set([0, 1, 2, 3, 7] + (8...32) + (36...41)))
    }
}

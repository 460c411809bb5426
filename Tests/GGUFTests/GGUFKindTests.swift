import Testing

@testable import GGUF

struct GGUFKindTests {
    private static func file(
        _ metadata: GGUFMetadata, _ tensors: [(String, [Int])] = []
    ) throws -> GGUFFile {
        var writer = try GGUFWriter(metadata: metadata)
        for (name, dimensions) in tensors {
            try writer.add(
                name: name, dimensions: dimensions, floats: [Float](repeating: 1, count: dimensions.reduce(1, *)))
        }
        return try GGUFFile(bytes: writer.serialized())
    }

    private static func facts(_ file: GGUFFile) -> [String: String] {
        Dictionary(GGUFKind.of(file).facts(of: file).map { ($0.name, $0.value) }) { first, _ in first }
    }

    @Test("a LoRA adapter shows rank, alpha and layers, and a pair that is not one")
    func lora() throws {
        let file = try Self.file(
            [
                "general.type": .text("adapter"), "general.architecture": .text("llama"), "adapter.type": .text("lora"),
                "adapter.lora.alpha": .float32(16),
            ],
            [
                ("blk.0.attn_q.weight.lora_a", [64, 8]), ("blk.0.attn_q.weight.lora_b", [8, 64]),
                ("blk.3.attn_q.weight.lora_a", [64, 8]), ("blk.3.attn_q.weight.lora_b", [8, 64]),
                ("blk.5.attn_q.weight.lora_a", [64, 8]),
            ])
        #expect(GGUFKind.of(file).name == "lora")
        let facts = Self.facts(file)
        #expect(facts["rank"] == "8")
        #expect(facts["alpha"] == "16.0")
        #expect(facts["scale"]?.hasPrefix("2.0") == true)
        #expect(facts["layers"] == "0–5")
        #expect(facts["incomplete"]?.contains("blk.5.attn_q.weight.lora_a") == true)
    }

    @Test("a control vector shows its layers and width")
    func controlVector() throws {
        let file = try Self.file(
            ["general.architecture": .text("controlvector")], [("direction.1", [32]), ("direction.7", [32])])
        #expect(GGUFKind.of(file).name == "control-vector")
        #expect(Self.facts(file)["layers"] == "1–7, 2 of them")
        #expect(Self.facts(file)["width"] == "32")
    }

    @Test("an importance matrix shows datasets and chunks, and sums without counts")
    func importanceMatrix() throws {
        let file = try Self.file(
            [
                "general.type": .text("imatrix"), "imatrix.datasets": .array(GGUFArray(["wiki.txt"])),
                "imatrix.chunk_count": .uint32(100), "imatrix.chunk_size": .uint32(512),
            ],
            [
                ("blk.0.attn_q.weight.in_sum2", [64, 1]), ("blk.0.attn_q.weight.counts", [1, 1]),
                ("blk.1.attn_q.weight.in_sum2", [64, 1]),
            ])
        #expect(GGUFKind.of(file).name == "imatrix")
        let facts = Self.facts(file)
        #expect(facts["datasets"] == "wiki.txt")
        #expect(facts["chunks"] == "100")
        #expect(facts["weights"] == "2")
        #expect(facts["incomplete"]?.contains("blk.1") == true)
    }

    @Test("projectors, vocabularies and models are told apart")
    func others() throws {
        let projector = try Self.file([
            "general.architecture": .text("clip"), "general.type": .text("mmproj"),
            "clip.has_vision_encoder": .bool(true),
            "clip.vision.block_count": .uint32(24), "clip.projector_type": .text("mlp"),
        ])
        #expect(GGUFKind.of(projector).name == "mmproj")
        #expect(Self.facts(projector)["vision encoder"]?.contains("24 layers") == true)
        let vocabulary = try Self.file([
            "general.architecture": .text("llama"), "tokenizer.ggml.model": .text("gpt2"),
            "tokenizer.ggml.tokens": .array(GGUFArray(["a", "b"])),
        ])
        #expect(GGUFKind.of(vocabulary).name == "vocabulary")
        #expect(Self.facts(vocabulary)["tokens"] == "2")
        let model = try Self.file(["general.architecture": .text("llama")], [("token_embd.weight", [4, 2])])
        #expect(GGUFKind.of(model).name == "model")
    }
}

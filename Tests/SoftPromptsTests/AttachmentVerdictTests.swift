import Testing

@testable import SoftPrompts

struct AttachmentVerdictTests {
    private static let digest = SoftPromptFileTests.digest

    private func model(_ change: (inout AttachmentVerdict.Model) -> Void = { _ in }) -> AttachmentVerdict.Model {
        var model = AttachmentVerdict.Model(
            base: SoftPromptFileTests.base, shape: SoftPromptFileTests.shape, name: "Other", argument: "my model.gguf")
        change(&model)
        return model
    }

    @Test("the same fingerprint attaches")
    func same() throws {
        let prompt = try SoftPromptFileTests.prompt(.keysAndValues)
        let verdict = AttachmentVerdict(prompt: prompt, promptName: "demo:v1", model: model())
        #expect(verdict.answer == .attach)
        #expect(verdict.message.isEmpty)
        #expect(verdict.differences.isEmpty)
    }

    @Test("another model is refused with both names, both fingerprints, the parts and the command")
    func other() throws {
        let prompt = try SoftPromptFileTests.prompt(.keysAndValues)
        let model = model {
            $0.base.fingerprint = Self.digest("1")
            $0.base.weights = Self.digest("2")
            $0.base.embedding = Self.digest("4")
            $0.base.tokenizer = Self.digest("3")
        }
        for allow in [false, true] {
            let verdict = AttachmentVerdict(prompt: prompt, promptName: "demo:v1", model: model, allowRelated: allow)
            #expect(verdict.answer == .refusal)
            #expect(verdict.differences == ["weights", "tokenizer"])
            #expect(
                verdict.message
                    == "prompt demo:v1 was learned on tiny (fingerprint aaaaaaaaaaaa) and cannot be attached to Other "
                    + "(fingerprint 111111111111): they differ in weights and tokenizer. To see the prompts that fit this model: "
                    + "incipit prompt list --base 'my model.gguf'")
        }
    }

    @Test("a relative is refused unless the user insists")
    func related() throws {
        let prompt = try SoftPromptFileTests.prompt(.inputEmbeddings)
        for source in [Self.digest("f"), SoftPromptFileTests.base.fingerprint] {
            let model = model {
                $0.base.fingerprint = Self.digest("1")
                $0.base.weights = Self.digest("2")
                $0.source = source
            }
            let verdict = AttachmentVerdict(prompt: prompt, promptName: "p", model: model)
            #expect(verdict.answer == .relatedRefusal)
            #expect(verdict.message.contains("--allow-related-base"))
            #expect(
                AttachmentVerdict(prompt: prompt, promptName: "p", model: model, allowRelated: true).answer == .attach)
        }
        // The prompt's base made from this model.
        let root = model { $0.base.fingerprint = Self.digest("f") }
        #expect(AttachmentVerdict(prompt: prompt, promptName: "p", model: root).answer == .relatedRefusal)
    }

    @Test("wrong shapes are refused whatever else is the same", arguments: SoftPrompt.Placement.allCases)
    func shapes(placement: SoftPrompt.Placement) throws {
        let prompt = try SoftPromptFileTests.prompt(placement)
        let model = model {
            $0.shape.hiddenSize = 48
            $0.shape.layerCount = 3
            $0.source = SoftPromptFileTests.base.fingerprint
        }
        let verdict = AttachmentVerdict(prompt: prompt, promptName: "p", model: model, allowRelated: true)
        #expect(verdict.answer == .refusal)
        #expect(verdict.message.contains("never be forced"))
        #expect(!verdict.message.contains("--allow-related-base"))
    }

    @Test(
        "digests are checked strictly",
        arguments: [
            ("sha256:" + String(repeating: "a", count: 64), true),
            ("sha256:" + String(repeating: "A", count: 64), false),
            ("sha256:" + String(repeating: "a", count: 63), false),
            ("sha512:" + String(repeating: "a", count: 64), false), ("", false),
        ])
    func digests(text: String, isValid: Bool) {
        #expect(BaseFingerprint.isDigest(text) == isValid)
    }
}

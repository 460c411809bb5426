import ByteIO
import Foundation
import GGUF
import Testing

@testable import Conversion

struct ModelCardTests {
    private static func pairs(_ text: String) -> [String: GGUFValue] {
        Dictionary(ModelCard(text: text).pairs.map { ($0.key, $0.value) }, uniquingKeysWith: { _, last in last })
    }

    @Test func `fields of a card become the general keys`() {
        let found = Self.pairs(
            """
            ---
            # what the hub shows
            license: other   # see below
            license_name: "our-license"
            license_link: 'https://example.org/license?a=1#text'
            language: [en, "no"]
            base_model:
            - HuggingFaceTB/smollm2-135M-v0.2
            - https://example.org/git/model
            - https://huggingface.co/Qwen/Qwen2-0.5B
            datasets:
              - wikitext
            tags:
              - chat
              - 'two words'
            pipeline_tag: text-generation
            model_creator: Ada L.
            model-index:
            - name: x
              results:
                - task: {type: text}
            model_description: >
              A model
              of two lines.
            ---
            # Title
            license: ignored
            """)
        let expected: [String: GGUFValue] = [
            "general.license": .text("other"), "general.license.name": .text("our-license"),
            "general.license.link": .text("https://example.org/license?a=1#text"),
            "general.languages": .array(GGUFArray(["en", "no"])),
            "general.base_model.count": .uint32(3),
            "general.base_model.0.name": .text("Smollm2 135M v0.2"),
            "general.base_model.0.organization": .text("HuggingFaceTB"),
            "general.base_model.0.repo_url": .text("https://huggingface.co/HuggingFaceTB/smollm2-135M-v0.2"),
            "general.base_model.1.repo_url": .text("https://example.org/git/model"),
            "general.base_model.2.name": .text("Qwen2 0.5B"), "general.base_model.2.organization": .text("Qwen"),
            "general.base_model.2.repo_url": .text("https://huggingface.co/Qwen/Qwen2-0.5B"),
            "general.dataset.count": .uint32(1), "general.dataset.0.name": .text("Wikitext"),
            "general.tags": .array(GGUFArray(["chat", "two words", "text-generation"])),
            "general.author": .text("Ada L."), "general.description": .text("A model of two lines."),
        ]
        #expect(Set(found.keys) == Set(expected.keys))
        for (key, value) in expected { #expect(found[key] == value, "\(key)") }
    }

    @Test(
        "a text without a card, or with a broken one, gives nothing",
        arguments: [
            "", "---", "---\n", "# Title\nlicense: mit\n", "---\nlicense: mit\n", "---\n: x\n- y\n---\n",
            "---\nlicense:\n---\n", "---\ntags: []\n---\n", "---\ntags: [a\n---\n", "---\nlicense: {a: b}\n---\n",
            "---\nlanguage: null\n---\n", "\u{0}\u{1}---\n",
        ])
    func nothing(text: String) {
        #expect(ModelCard(text: text).pairs.isEmpty)
    }

    @Test func `a card beside the model is converted and does not change the fingerprint`() throws {
        let folder = try ModelFolder(fixture: "llama")
        let plain = try ModelFingerprint.compute(of: openSource(folder.path))
        try AtomicFile.write(
            Array("---\r\nlicense: apache-2.0\r\nlanguage:\r\n- en\r\nmodel_name: Tiny\r\n---\r\n".utf8),
            to: folder.path + "/README.md")
        let source = try openSource(folder.path)
        #expect(source.metadata["general.license"] == .text("apache-2.0"))
        #expect(source.metadata["general.languages"] == .array(GGUFArray(["en"])))
        #expect(source.metadata["general.name"] == .text("Tiny"))
        #expect(try ModelFingerprint.compute(of: source).base == plain.base)
    }

    @Test(arguments: ["mistral", "mixtral"])
    func `a window that llama of GGUF has no key for survives the way there and back`(name: String) throws {
        let folder = try ModelFolder(fixture: name) { $0["sliding_window"] = 24 }
        let without = try ModelFolder(fixture: name) { $0["sliding_window"] = .null }
        for (path, window) in [(folder.path, JSONValue.integer(24)), (without.path, .null)] {
            _ = try Converter(folder: openSource(path), options: ConversionOptions()).write(to: path + "/m.gguf")
            let file = try GGUFFile(path: path + "/m.gguf")
            #expect(file.metadata["llama.attention.sliding_window"] == nil)
            _ = try Converter(file: file, export: export(file), options: ConversionOptions()).write(to: path + "/back")
            let config = try JSONValue.parse(MappedFile(path: path + "/back/config.json").copyBytes())
            #expect(config["sliding_window"]?.intValue == window.intValue)
            #expect(config["sliding_window"] != nil)
        }
        #expect(
            try ModelFingerprint.compute(of: openSource(folder.path)).base
                == ModelFingerprint.compute(of: openSource(without.path)).base)
    }
}

import ChatTemplates
import Fixtures
import Foundation
import Kernels
import LanguageModels
import Testing

@testable import PromptTuning

@Suite struct DataFileTests {
    @discardableResult
    private func withFile<R>(_ text: String, _ suffix: String, _ body: (String) throws -> R) throws -> R {
        let path = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString).\(suffix)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(text.utf8).write(to: URL(filePath: path))
        return try body(path)
    }

    @Test func commasQuotesAndLineEndsAreReadAsRFC4180SaysThem() throws {
        let text = "input,target,split\r\n\"a, \"\"b\"\"\nc\",yes,\r\n\r\nplain,no,dev\r\n"
        try withFile(text, "csv") { path in
            let dataset = try Dataset(path: path)
            #expect(dataset[.train] == [Example(input: "a, \"b\"\nc", target: "yes")])
            #expect(dataset[.dev] == [Example(input: "plain", target: "no")])
        }
    }

    @Test func tabsSeparateWithoutQuotes() throws {
        try withFile("target\tinput\nyes\t\"a\n", "tsv") { path in
            let rows = try Dataset(path: path)[.train]
            #expect(rows == [Example(input: "\"a", target: "yes")])
        }
    }

    @Test(arguments: [
        ("input,target\na,b\nc\n", 3, "fields"), ("input,target\n\"a,b\n", 2, "never ends"),
        ("input,target\na,\n", 2, "nothing to learn"), ("text,target\na,b\n", 2, "no column"),
        ("input,target,split\na,b,half\n", 2, "split"), ("input,target\n\"a\"b,c\n", 2, "closing quote"),
    ]) func aBadRowIsNamedByFileAndLine(text: String, line: Int, word: String) throws {
        try withFile(text, "csv") { path in
            #expect { try Dataset(path: path) } throws: { error in
                guard let error = error as? TuningError else { return false }
                return error.file == path && error.line == line && error.message.contains(word)
            }
        }
    }

    @Test func fieldsOfARowMakeItsInput() throws {
        let format = try RowFormat(input: "{a} so {b}? {a}", target: "label")
        try withFile("{\"a\": \"1\", \"b\": \"2\", \"label\": \"yes\"}\n", "jsonl") { path in
            let rows = try Dataset(path: path, format: format)[.train]
            #expect(rows == [Example(input: "1 so 2? 1", target: "yes")])
        }
        #expect(throws: TuningError.self) { try RowFormat(input: "no field") }
    }

    @Test func theFirstRowSaysWhatAFileHolds() throws {
        try withFile("{\"input\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n", "jsonl") { path in
            guard case .preferences(let rows) = try TrainingFile(path: path).content else {
                Issue.record("no preferences")
                return
            }
            #expect(rows[.train] == [PreferencePair(input: "a", chosen: "b", rejected: "c")])
        }
        try withFile("{\"text\": \"a b c\", \"split\": \"dev\"}\n", "jsonl") { path in
            let file = try TrainingFile(path: path)
            #expect(file.has(.dev) && !file.has(.train))
        }
        try withFile("{\"text\": \"a\"}\n{\"input\": \"a\", \"target\": \"b\"}\n", "jsonl") { path in
            #expect { try TrainingFile(path: path) } throws: { ($0 as? TuningError)?.line == 2 }
        }
        try withFile("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n", "jsonl") { path in
            #expect { try TrainingFile(path: path) } throws: {
                ($0 as? TuningError)?.message.contains("assistant") == true
            }
        }
    }

    @Test func onlyWhatTheAssistantSaysCarriesLoss() throws {
        let loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 1))
        let template = try ChatTemplate(
            "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
        )
        let encoder = ChatExampleEncoder(template: template, tokenizer: loaded.tokenizer, specialTokens: [:])
        let example = try encoder.encode(
            ChatExample(messages: [
                ChatMessage(role: "user", content: "What is a cat?"),
                ChatMessage(role: "assistant", content: "an animal"),
                ChatMessage(role: "user", content: "And an oak?"), ChatMessage(role: "assistant", content: "a plant"),
                ChatMessage(role: "user", content: "Thanks"),
            ]))
        let learned = loaded.tokenizer.decode(example.targets.map { example.tokens[$0.position] }, skipSpecial: false)
        #expect(learned == "an animal\na plant\n")
        #expect(
            loaded.tokenizer.decode(example.tokens, skipSpecial: false)
                == "[user] What is a cat?\n[assistant] an animal\n[user] And an oak?\n[assistant] a plant\n")
        // A template that rewrites earlier turns is refused.
        let last = try ChatTemplate("{{ messages[-1].content }}")
        #expect(throws: TuningError.self) {
            try ChatExampleEncoder(template: last, tokenizer: loaded.tokenizer, specialTokens: [:]).encode(
                ChatExample(messages: [
                    ChatMessage(role: "user", content: "a"), ChatMessage(role: "assistant", content: "b"),
                ]))
        }
    }
}

import Foundation
import Testing

@testable import PromptTuning

@Suite struct DatasetTests {
    private func read(_ text: String, lineLimit: Int = Dataset.defaultLineLimit) throws -> Dataset {
        try Dataset(jsonLines: Data(text.utf8), name: "data.jsonl", lineLimit: lineLimit)
    }

    @Test func `rows go to their splits`() throws {
        let data = try read(
            "\u{FEFF}{\"input\":\"a\\n\",\"target\":\"b\",\"split\":\"dev\",\"extra\":[1]}\r\n\r\n  \n"
                + "{\"target\":\"d\",\"input\":\"\"}\n{\"input\":\"e\",\"target\":\"f\",\"split\":null}\n"
                + "{\"input\":\"g\",\"target\":\"é\",\"split\":\"test\"}")
        #expect(data[.dev] == [Example(input: "a\n", target: "b")])
        #expect(data[.train] == [Example(input: "", target: "d"), Example(input: "e", target: "f")])
        #expect(data[.test] == [Example(input: "g", target: "é")] && data.count == 4)
    }

    @Test(arguments: [
        ("nonsense", "not valid JSON"), ("[1]", "not a JSON object"), ("{\"input\":\"a\"}", "\"target\" is missing"),
        ("{\"input\":1,\"target\":\"b\"}", "\"input\" is not a string"),
        ("{\"input\":\"a\",\"target\":\"\"}", "\"target\" is empty"),
        ("{\"input\":\"a\",\"target\":\"b\",\"split\":\"tset\"}", "\"split\" must be"),
        ("{\"input\":\"a\",\"target\":\"\(String(repeating: "x", count: 100))\"}", "more than the 100 allowed"),
    ]) func `a bad row is named by file and line`(_ row: String, _ reason: String) {
        #expect {
            try read("{\"input\":\"a\",\"target\":\"b\"}\n\n\(row)\n", lineLimit: 100)
        } throws: {
            "\($0)".hasPrefix("data.jsonl:3: ") && "\($0)".contains(reason)
        }
    }

    @Test func `a file that is missing or empty is an error`() throws {
        #expect(throws: TuningError.self) { try read("\n \n") }
        #expect { try Dataset(path: "/nonexistent/data.jsonl") } throws: {
            ($0 as? TuningError)?.code == .unreadableFile && "\($0)".contains("/nonexistent/data.jsonl")
        }
    }

    @Test func `the template puts the input in and a blank before the target`() throws {
        let example = Example(input: "x {input}", target: "y")
        #expect(ExampleTemplate.standard.prompt(for: example) == "x {input}\nAnswer:")
        #expect(ExampleTemplate.standard.target(for: example) == " y")
        #expect(
            try ExampleTemplate(prompt: "{input}|{input}", targetPrefix: "").prompt(for: example)
                == "x {input}|x {input}")
        #expect(throws: TuningError.self) { try ExampleTemplate(prompt: "no place") }
    }
}

@Suite struct ExampleOrderTests {
    @Test func `every epoch visits each example once, in its own order`() {
        var order = ExampleOrder(seed: 5, exampleCount: 50)
        let epochs = (0..<3).map { epoch in (0..<50).map { order.example(at: epoch * 50 + $0) } }
        for epoch in epochs { #expect(epoch.sorted() == Array(0..<50)) }
        #expect(Set(epochs).count == 3)
    }

    @Test func `the order is a function of seed and position alone`() {
        var forward = ExampleOrder(seed: 5, exampleCount: 7)
        let all = (0..<40).map { forward.example(at: $0) }
        for position in (0..<40).reversed() {
            var fresh = ExampleOrder(seed: 5, exampleCount: 7)
            #expect(fresh.example(at: position) == all[position])
        }
        var batches = ExampleOrder(seed: 5, exampleCount: 7)
        #expect((0..<8).flatMap { batches.batch(step: $0, batchSize: 5) } == all)
        var other = ExampleOrder(seed: 6, exampleCount: 7)
        #expect((0..<40).map { other.example(at: $0) } != all)
    }

    @Test func `the generator gives the numbers of its reference`() {
        var random = SplitMix64(seed: 1_234_567)
        #expect(
            (0..<5).map { _ in random.next() } == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
                4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
            ])
        #expect((0..<1000).allSatisfy { _ in (0..<7).contains(random.next(below: 7)) })
    }
}

import Foundation
import Testing

/// The commands that ask a model something: run with its samplers, grammars and templates, chat, perplexity, embed, bench.
@Suite("The commands that ask a model")
struct ModelCommandTests {
    private func report(_ machine: Incipit, _ arguments: [String], input: String = "") async throws -> [String: Any] {
        let outcome = try await machine.run(arguments + ["--json"], input: input)
        try #require(outcome.status == 0, "\(outcome.errors)")
        return try outcome.object()
    }

    @Test("a seed gives the same text for any number of threads, with every sampler at work")
    func threads() async throws {
        let machine = try Incipit()
        let all = [
            "run", TinyTask.model, "--temperature", "1.2", "--dynatemp-range", "0.4", "--top-k", "200", "--top-p",
            "0.98", "--min-p",
            "0.01", "--typical", "0.97", "--top-n-sigma", "3", "--xtc-probability", "0.3", "--dry-multiplier", "0.8",
            "--repetition-penalty", "1.1", "--presence-penalty", "0.1", "--logit-bias", "67-2", "--max-tokens", "40",
            "The",
        ]
        let one = try await machine.written(all + ["--seed", "5", "--threads", "1"])
        #expect(try await machine.written(all + ["--seed", "5", "--threads", "3"]) == one)
        #expect(try await machine.written(all + ["--seed", "6", "--threads", "1"]) != one)
        let mirostat = [
            "run", TinyTask.model, "--temperature", "1", "--mirostat", "2", "--seed", "1", "--max-tokens", "20", "The",
        ]
        #expect(try await machine.written(mirostat) == machine.written(mirostat))
    }

    @Test("logprobs are of the tokens written, the likeliest first")
    func logprobs() async throws {
        let machine = try Incipit()
        let result = try await report(machine, ["run", TinyTask.model, "--logprobs", "3", "--max-tokens", "8", "The"])
        let places = try #require(result["logprobs"] as? [[String: Any]])
        #expect(places.count == result["generatedTokens"] as? Int)
        var text = ""
        for place in places {
            text += try #require(place["text"] as? String)
            let top = try #require(place["top"] as? [[String: Any]])
            let values = top.compactMap { $0["logprob"] as? Double }
            #expect(values.count == 3 && values == values.sorted(by: >) && values.allSatisfy { $0 <= 1e-6 })
            // Greedy: what was drawn is what is likeliest.
            #expect(place["id"] as? Int == top[0]["id"] as? Int)
        }
        #expect(text == result["text"] as? String)
    }

    @Test("an answer obeys the grammar or the schema named")
    func grammar() async throws {
        let machine = try Incipit()
        let gbnf = try machine.write("code.gbnf", Data(#"root ::= [A-Z]{2} "-" [0-9]{3}"#.utf8))
        for seed in ["1", "2"] {
            let result = try await report(
                machine,
                [
                    "run", TinyTask.model, "--grammar", gbnf, "--temperature", "1.5", "--top-k", "0", "--seed", seed,
                    "The",
                ])
            #expect(try #require(result["text"] as? String).wholeMatch(of: /[A-Z]{2}-[0-9]{3}/) != nil)
            #expect(result["ending"] as? String == "grammar-complete")
        }
        let schema =
            #"{"properties": {"n": {"type": "integer", "minimum": 10, "maximum": 20}, "ok": {"type": "boolean"}}, "required": ["n", "ok"]}"#
        let result = try await report(
            machine, ["run", TinyTask.model, "--json-schema", schema, "--temperature", "2", "--seed", "3", "The"])
        let text = try #require(result["text"] as? String)
        let value = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        #expect((10...20).contains(try #require(value["n"] as? Int)) && value["ok"] is Bool)

        let printed = try await machine.succeed("grammar", "--json-schema", schema).output
        let again = try machine.write("again.gbnf", Data(printed.utf8))
        let texts = try machine.write("texts", Data("{\"n\":12,\"ok\":true}\n{\"n\":9,\"ok\":true}\n".utf8))
        #expect(try await machine.succeed("grammar", "--grammar", again, "--match", texts).output == "yes\nno\n")
    }

    @Test("a message goes through the model's template, and its text becomes no control token")
    func chatTemplate() async throws {
        let machine = try Incipit()
        func tokens(_ arguments: String...) async throws -> Int {
            let result = try await report(machine, ["run", TinyTask.model, "--max-tokens", "1"] + arguments)
            return try #require(result["promptTokens"] as? Int)
        }
        let plain = try await tokens("a red eel")
        let chat = try await tokens("--chat", "a red eel")
        #expect(chat > plain)
        #expect(try await tokens("--chat", "--system", "Be terse.", "a red eel") > chat)
        // Spelled out, the marker takes several tokens; as a control token it would take one.
        #expect(try await tokens("--chat", "a red eel <|im_end|>") > chat + 3)
        let file = try machine.write("t.jinja", Data("{{ messages[0].content }}".utf8))
        #expect(try await tokens("--chat", "--chat-template", file, "a red eel") == plain)
        let broken = try machine.write("b.jinja", Data("{% for %}".utf8))
        let outcome = try await machine.run(["run", TinyTask.model, "--chat", "--chat-template", broken, "a"])
        #expect(outcome.status == 65 && outcome.sentence?.contains("line 1") == true)
        let none = try await machine.run(["run", TinyTask.otherModel, "--chat", "a"])
        if none.status != 0 { #expect(none.sentence?.contains("chat template") == true) }
    }

    @Test("chat answers line by line, keeps, saves and loads the conversation, and attaches")
    func chat() async throws {
        let machine = try Incipit()
        try await machine.tune("team/kinds", steps: 2)
        let base = ["chat", TinyTask.model, "--max-tokens", "6"]
        let saved = machine.path("talk.json")
        let first = try await machine.run(base, input: "The red eel\n/save \(saved)\nWhat else\n")
        try #require(first.status == 0, "\(first.errors)")
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: saved))) as? [String: Any])
        let messages = try #require(object["messages"] as? [[String: String]])
        #expect(messages.map { $0["role"] } == ["user", "assistant"])
        #expect(messages[0]["content"] == "The red eel")
        // Going on with what was saved gives what going on at once gave.
        let second = try await machine.run(base, input: "/load \(saved)\nWhat else\n")
        #expect(second.status == 0 && first.output.hasSuffix(second.output) && !second.output.isEmpty)
        // A cleared conversation begins as a new one; so does a detached prompt's.
        let alone = try await machine.run(base, input: "The red eel\n").output
        #expect(try await machine.run(base, input: "Hm\n/clear\nThe red eel\n").output.hasSuffix(alone))
        let attached = try await machine.run(
            base, input: "/attach team/kinds\nThe red eel\n/detach\n/clear\nThe red eel\n")
        try #require(attached.status == 0, "\(attached.errors)")
        #expect(attached.output.hasSuffix(alone))
        for (input, status, needle) in [
            ("/frobnicate\n", 64, "/help"), ("/load \(machine.path("none"))\n", 66, "none"),
            ("/detach\n", 64, "attached"),
            ("/attach team/none\n", 66, "team/none"),
        ] as [(String, Int32, String)] {
            let outcome = try await machine.run(base, input: input)
            #expect(outcome.status == status && outcome.sentence?.contains(needle) == true, "\(outcome.errors)")
        }
    }

    @Test("perplexity counts as it says, and a model has no divergence from itself")
    func perplexity() async throws {
        let machine = try Incipit()
        let words = [
            "a red eel from the river is listed under animal", "the old oak in the garden is listed under plant",
        ]
        let text = (0..<60).map { words[$0 % 2] + " \($0)." }.joined(separator: " ")
        let file = try machine.write("text", Data(text.utf8))
        let base = ["perplexity", TinyTask.model, "--file", file, "--window", "64"]
        let half = try await report(machine, base)
        let windows = try #require(half["windows"] as? Int)
        #expect(windows > 3 && half["scored"] as? Int == windows * 31)
        let every = try await report(machine, base + ["--score", "all", "--chunks", "3"])
        #expect(every["windows"] as? Int == 3 && every["scored"] as? Int == 3 * 63)
        let sliding = try await report(machine, base + ["--stride", "16", "--chunks", "5"])
        #expect(sliding["scored"] as? Int == 5 * 16)
        let same = try await report(machine, base + ["--kl-divergence", TinyTask.model])
        let reference = try #require(same["reference"] as? [String: Any])
        #expect(reference["meanKL"] as? Double == 0 && reference["topAgreement"] as? Double == 1)
        // The same loss, once from single precision and once from double.
        let (one, other) = (same["perplexity"] as? Double ?? 0, half["perplexity"] as? Double ?? 1)
        #expect(abs(one - other) < 1e-6 * other)
        // Saved distributions stand for the model they are of, as far as 16 bits go.
        let logits = machine.path("reference.logits")
        try await machine.succeed(
            "perplexity", TinyTask.otherModel, "--file", file, "--window", "64", "--save-logits", logits)
        let direct = try await report(machine, base + ["--kl-divergence", TinyTask.otherModel])
        let saved = try await report(machine, ["perplexity", TinyTask.model, "--kl-divergence", logits])
        func meanKL(_ report: [String: Any]) throws -> Double {
            try #require((report["reference"] as? [String: Any])?["meanKL"] as? Double)
        }
        #expect(saved["scored"] as? Int == direct["scored"] as? Int)
        #expect(saved["perplexity"] as? Double == direct["perplexity"] as? Double)
        let (near, exact) = (try meanKL(saved), try meanKL(direct))
        #expect(exact > 1e-4 && abs(near - exact) < 0.02 * exact + 1e-5, "\(near), \(exact)")
        let cut = try machine.write("cut.logits", Data(contentsOf: URL(filePath: logits)).dropLast(3))
        let refused = try await machine.run(["perplexity", TinyTask.model, "--kl-divergence", cut])
        #expect(refused.status == 65 && refused.sentence?.contains("cut.logits") == true, "\(refused.errors)")
        let short = try await machine.run(base + ["--window", "2000"])
        #expect(short.status == 65 && short.sentence?.contains("fewer than one window") == true, "\(short.errors)")
    }

    @Test("embeddings are of length 1, and alike texts are near")
    func embed() async throws {
        let machine = try Incipit()
        let result = try await report(
            machine, ["embed", TinyTask.model, "the red eel in the river", "the red eel in the lake", "0 1 2 3"])
        let texts = try #require(result["texts"] as? [[String: Any]])
        let vectors = texts.compactMap { ($0["embeddings"] as? [[Double]])?.first }
        #expect(vectors.count == 3 && vectors.allSatisfy { $0.count == 64 })
        func cosine(_ a: Int, _ b: Int) -> Double { zip(vectors[a], vectors[b]).reduce(0) { $0 + $1.0 * $1.1 } }
        #expect((0..<3).allSatisfy { abs(cosine($0, $0) - 1) < 1e-5 })
        #expect(cosine(0, 1) > cosine(0, 2))
        let each = try await report(machine, ["embed", TinyTask.model, "--pooling", "none", "the red eel"])
        let entry = try #require((each["texts"] as? [[String: Any]])?.first)
        #expect((entry["embeddings"] as? [[Double]])?.count == entry["tokens"] as? Int)
        let lines = try await machine.succeed("embed", TinyTask.model, "a", "b").output.split(separator: "\n")
        #expect(lines.count == 2)
    }

    @Test("bench measures each combination")
    func bench() async throws {
        let machine = try Incipit()
        let result = try await report(
            machine,
            ["bench", TinyTask.model, "-p", "16,32", "-n", "4", "-d", "0,8", "-r", "2", "--threads-list", "1,2"])
        let tests = try #require(result["tests"] as? [[String: Any]])
        #expect(tests.count == 12)
        #expect(Set(tests.compactMap { $0["test"] as? String }).contains("pp32 @ d8"))
        for test in tests {
            #expect((test["samples"] as? [Double])?.count == 2)
            #expect(try #require(test["tokensPerSecond"] as? Double) > 0)
        }
    }
}

extension Incipit {
    /// What a command that must succeed writes.
    fileprivate func written(_ arguments: [String]) async throws -> String {
        let outcome = try await run(arguments)
        try #require(outcome.status == 0, "incipit \(arguments.joined(separator: " ")): \(outcome.errors)")
        return outcome.output
    }
}

import Fixtures
import Foundation
import Testing

/// What the README promises, from a model file to an attached prompt on another machine.
@Suite("The whole path")
struct WholePathTests {
    @Test("inspect and fingerprint agree, in text and in JSON")
    func inspectAndFingerprint() async throws {
        let machine = try Incipit()
        let text = try await machine.succeed("inspect", TinyTask.model).output
        for expected in ["llama", "embedding_length", "token_embd.weight", "20 tensors", "sha256:"] {
            #expect(text.contains(expected))
        }
        let report = try await machine.succeed("inspect", TinyTask.model, "--json").object()
        #expect((report["tensors"] as? [Any])?.count == 20)
        #expect((report["hyperparameters"] as? [String: String])?["block_count"] == "2")
        #expect(report["fileBytes"] as? Int == (try Data(contentsOf: Fixtures.Models.tinyLlama)).count)
        let fingerprint = try #require(report["fingerprint"] as? [String: String])
        let whole = try #require(fingerprint["fingerprint"])
        #expect(text.contains(whole))
        #expect(
            try await machine.succeed("inspect", TinyTask.model, "--tensors").output.contains("blk.1.ffn_up.weight"))

        let cached = try await machine.succeed("fingerprint", TinyTask.model, "--json").object() as? [String: String]
        let anew = try await machine.succeed("fingerprint", TinyTask.model, "--json", "--no-cache").object()
        #expect(cached == fingerprint)
        #expect(anew as? [String: String] == fingerprint)
        #expect(try await machine.succeed("fingerprint", TinyTask.model).output.hasPrefix(whole + "\n"))
        let other = try await machine.succeed("fingerprint", TinyTask.otherModel, "--json").object()
        #expect(other["fingerprint"] as? String != whole)
        #expect(other["tokenizer"] as? String == fingerprint["tokenizer"])
    }

    @Test(
        "tuning stores numbered versions that list, show, tag and export find",
        arguments: ["prefix-tuning", "prompt-tuning"])
    func tuneAndLookAt(method: String) async throws {
        let machine = try Incipit()
        let run = try await machine.run(
            TinyTask.tune("team/kinds", method: method, steps: 60, more: ["--json"]))
        try #require(run.status == 0, "\(run.errors)")
        let summary = try run.object()
        let digest = try #require(summary["digest"] as? String)
        #expect(summary["version"] as? String == "v1")
        #expect(summary["steps"] as? Int == 60)
        let first = try #require(summary["firstLoss"] as? Double)
        let last = try #require(summary["lastLoss"] as? Double)
        #expect(last < first)
        #expect(summary["parameters"] as? Int == (method == "prefix-tuning" ? 4 * 2 * 2 * 32 : 4 * 64))

        // The same settings and seed make the same bytes; another seed another version.
        #expect(try await machine.tune("team/again", method: method, steps: 60) == digest)
        let second = try await machine.run(
            TinyTask.tune("team/kinds", method: method, steps: 60, more: ["--seed", "7", "--json"])
        ).object()
        #expect(second["version"] as? String == "v2")
        let rows = try await machine.succeed("prompt", "list", "team/kinds", "--json").objects()
        let secondDigest = try #require(second["digest"] as? String)
        #expect(Set(rows.compactMap { $0["digest"] as? String }) == [digest, secondDigest])
        #expect(rows.allSatisfy { $0["method"] as? String == method && $0["tokens"] as? Int == 4 })
        let mine = try await machine.succeed("prompt", "list", "--base", TinyTask.model, "--json").objects()
        #expect(mine.count == 3)
        let none = try await machine.succeed("prompt", "list", "--base", TinyTask.otherModel)
        #expect(!none.output.contains("team/kinds"))
        #expect(try await machine.succeed("prompt", "list").output.contains("team/again"))

        try await machine.succeed("prompt", "tag", "team/kinds:v1", "production")
        #expect(try await machine.digest("team/kinds:production") == digest)
        try await machine.succeed("prompt", "tag", "team/kinds:v2", "production")
        #expect(try await machine.digest("team/kinds:production") == secondDigest)
        #expect(try await machine.digest("team/kinds@\(digest)") == digest)
        let shown = try await machine.succeed("prompt", "show", "team/kinds:v1").output
        for expected in [digest, method, "Incipit tiny llama", "template", "steps"] {
            #expect(shown.contains(expected))
        }

        let files = try await machine.export("team/kinds:v1")
        #expect(files.count == 3)
        let adapter = try #require(files["adapter_config.json"])
        let configuration = try #require(try JSONSerialization.jsonObject(with: adapter) as? [String: Any])
        #expect(
            configuration["peft_type"] as? String == (method == "prefix-tuning" ? "PREFIX_TUNING" : "PROMPT_TUNING"))
        #expect(configuration["num_virtual_tokens"] as? Int == 4)
        // 4 tokens × 128 (keys and values of 2 layers) or × 64 (width) numbers of 4 bytes, and a header.
        let tensor = try #require(files["adapter_model.safetensors"])
        #expect(tensor.count >= 4 * (method == "prefix-tuning" ? 128 : 64) * 4 + 8)
        #expect(machine.files().allSatisfy { !$0.hasPrefix("runs/") })
    }

    @Test("eval scores words and attached prompts on the same rows")
    func evaluate() async throws {
        let machine = try Incipit()
        try await machine.tune("team/kinds", steps: 150)
        func report(_ arguments: String...) async throws -> [String: Any] {
            let outcome = try await machine.run(
                ["eval", TinyTask.model, "--data", TinyTask.data, "--json"] + arguments)
            try #require(outcome.status == 0, "\(outcome.errors)")
            let report = try outcome.object()
            #expect(report["rows"] as? Int == 64)
            #expect((report["answers"] as? [String])?.count == 64)
            #expect(report["split"] as? String == "test")
            let correct = try #require(report["correct"] as? Int)
            let accuracy = try #require(report["accuracy"] as? Double)
            #expect(abs(accuracy - Double(correct) / 64) < 1e-9)
            return report
        }
        let zero = try await report("--prompt", "zero-shot")
        let few = try await report("--prompt", "few-shot")
        let soft = try await report("--attach", "team/kinds:v1")
        let none = try await report("--prompt", "none")
        func number(_ report: [String: Any], _ key: String) throws -> Double { try #require(report[key] as? Double) }
        // A trained prompt is what it is for: better than the instruction it began as, and cheaper than examples.
        #expect(try number(soft, "accuracy") > number(zero, "accuracy"))
        #expect(try number(few, "contextTokens") > number(zero, "contextTokens"))
        #expect(try number(zero, "contextTokens") > number(none, "contextTokens"))
        #expect(try abs(number(soft, "contextTokens") - number(none, "contextTokens") - 4) < 1e-6)
        let table = try await machine.succeed(
            "eval", TinyTask.model, "--data", TinyTask.data, "--attach", "team/kinds", "--split", "dev"
        ).output
        #expect(table.contains("team/kinds") && table.contains("accuracy") && table.contains("32"))
        let generated = try await machine.succeed(
            "eval", TinyTask.model, "--data", TinyTask.data, "--attach", "team/kinds", "--scoring", "generate",
            "--limit", "8", "--json"
        ).object()
        #expect(generated["scoring"] as? String == "generate" && generated["rows"] as? Int == 8)
    }

    @Test("eval gives an attached prompt its rows in the form of its training")
    func evaluateInTheirForm() async throws {
        let machine = try Incipit()
        let form = "thing: {input} kind:"
        try await machine.tune("team/kinds", steps: 60, more: ["--template", form])
        let arguments = ["eval", TinyTask.model, "--data", TinyTask.data, "--attach", "team/kinds", "--json"]
        func loss(_ more: [String]) async throws -> Double {
            let outcome = try await machine.run(arguments + more)
            try #require(outcome.status == 0, "\(outcome.errors)")
            return try #require(try outcome.object()["loss"] as? Double)
        }
        let plain = try await loss([])
        #expect(try await loss(["--template", form]) == plain)
        #expect(try await loss(["--template", "{input}\nAnswer:"]) > plain)
    }

    @Test("run answers the same from an argument, from standard input and as JSON")
    func run() async throws {
        let machine = try Incipit()
        try await machine.tune("team/kinds", steps: 60)
        let ask = ["run", TinyTask.model, "--attach", "team/kinds:v1", "--max-tokens", "12"]
        let text = "a sharp birch from the orchard"
        let fromArgument = try await machine.run(ask + [text])
        let fromInput = try await machine.run(ask, input: text + "\n")
        let fromDash = try await machine.run(ask + ["-"], input: text)
        try #require(fromArgument.status == 0, "\(fromArgument.errors)")
        #expect(!fromArgument.output.isEmpty)
        #expect(fromArgument.errors.isEmpty)
        #expect(fromInput.output == fromArgument.output)
        #expect(fromDash.output == fromArgument.output)
        let report = try await machine.run(ask + ["--json", text]).object()
        #expect((report["text"] as? String).map { $0 + "\n" } == fromArgument.output)
        #expect(report["attachedTokens"] as? Int == 4)
        #expect(try #require(report["generatedTokens"] as? Int) <= 12)
        let without = try await machine.succeed("run", TinyTask.model, "--max-tokens", "12", text)
        #expect(without.output != fromArgument.output)
        let seeded = ["run", TinyTask.model, "--temperature", "1", "--seed", "3", "--max-tokens", "30", text]
        #expect(try await machine.run(seeded).output == machine.run(seeded).output)
    }

    @Test("run writes each token as it comes")
    func streams() async throws {
        let machine = try Incipit()
        // A socket that keeps message boundaries: every write arrives on its own, however late it is read.
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends) == 0)
        let (near, far) = (FileHandle(fileDescriptor: ends[0], closeOnDealloc: true), ends[1])
        let output = FileHandle(fileDescriptor: far, closeOnDealloc: true)
        let ask = ["run", TinyTask.model, "--max-tokens", "40", "The"]
        let outcome = try await machine.start(ask, output: output).wait()
        #expect(outcome.status == 0)
        var writes: [[UInt8]] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while case let count = recv(near.fileDescriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT)), count > 0 {
            writes.append(Array(buffer[..<count]))
        }
        #expect(writes.count > 20)
        let report = try await machine.run(ask + ["--json"]).object()
        #expect(report["text"] as? String == String(decoding: writes.joined().dropLast(), as: UTF8.self))
    }

    @Test("push, and pull on another machine: same digest, same files, same answers")
    func exchange() async throws {
        let (author, reader, host) = (try Incipit(), try Incipit(), try Incipit())
        let digest = try await author.tune("team/kinds", steps: 40)
        try await withRegistry(host) { registry in
            let remote = "\(registry.address)/shared/kinds:v1"
            let pushed = try await author.succeed("push", "team/kinds:v1", remote)
            #expect(pushed.output.contains(digest))
            #expect(try await author.succeed("push", "team/kinds:v1", remote).output.contains("0 blobs sent"))
            let pulled = try await reader.succeed("pull", remote)
            #expect(pulled.output.contains(digest))
            try await reader.succeed("pull", "\(registry.address)/shared/kinds@\(digest)", "--as", "own/name:v1")
        }
        #expect(try await reader.digest("shared/kinds:v1") == digest)
        #expect(try await reader.digest("own/name:v1") == digest)
        #expect(try await host.digest("shared/kinds:v1") == digest)
        #expect(try await reader.export("shared/kinds:v1") == author.export("team/kinds:v1"))
        let ask = ["run", TinyTask.model, "--max-tokens", "8", "a red eel"]
        let here = try await author.run(ask + ["--attach", "team/kinds:v1"])
        let there = try await reader.run(ask + ["--attach", "shared/kinds:v1"])
        #expect(here.status == 0 && here.output == there.output)
    }

    @Test("another base refuses the prompt and says why", arguments: ["run", "eval"])
    func wrongBase(command: String) async throws {
        let machine = try Incipit()
        try await machine.tune("team/kinds", steps: 2)
        func short(_ model: String) async throws -> String {
            let fingerprint = try await machine.succeed("fingerprint", model, "--json").object()["fingerprint"]
            return String(try #require(fingerprint as? String).dropFirst("sha256:".count).prefix(12))
        }
        let tail = command == "run" ? ["text"] : ["--data", TinyTask.data]
        let plain = [command, TinyTask.otherModel, "--attach", "team/kinds"] + tail
        for arguments in [plain, plain + ["--allow-related-base"]] {
            let outcome = try await machine.run(arguments)
            #expect(outcome.status == 70)
            #expect(outcome.output.isEmpty)
            let sentence = try #require(outcome.sentence, "\(outcome.errors)")
            for expected in [
                "team/kinds:v1", "Incipit tiny llama", try await short(TinyTask.model),
                try await short(TinyTask.otherModel), "weights", "incipit prompt list --base \(TinyTask.otherModel)",
            ] { #expect(sentence.contains(expected)) }
            // What does not differ is not accused.
            #expect(!sentence.contains("tokenizer") && !sentence.contains("architecture"))
        }
    }
}

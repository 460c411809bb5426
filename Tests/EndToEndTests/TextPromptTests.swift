import Fixtures
import Foundation
import Testing

/// From words to virtual tokens and on: compile, distill, continue, explain, heal, port, import.
@Suite("Prompts from words")
struct TextPromptTests {
    private let text = "The cat is an animal. The oak is a plant. The bread is food. The man is a person.\n\n"

    private func promptFile(_ machine: Incipit) throws -> String {
        try machine.write("words.txt", Data(text.utf8))
    }

    @Test("compile makes fewer tokens of a text, deterministically, and run attaches them")
    func compile() async throws {
        let machine = try Incipit()
        let file = try promptFile(machine)
        let words = [
            "compile", TinyTask.model, "--prompt-file", file, "--tokens", "6", "--inputs", TinyTask.data, "--name",
            "words/short", "--data", TinyTask.data, "--split", "train", "--limit", "8", "--json",
        ]
        let first = try await machine.run(words)
        try #require(first.status == 0, "\(first.errors)")
        let summary = try first.object()
        #expect(summary["virtualTokens"] as? Int == 6)
        #expect(try #require(summary["textTokens"] as? Int) > 6)
        #expect((summary["scores"] as? [String: Any])?["soft"] != nil)
        #expect(
            try await machine.run(words + ["--threads", "1"]).object()["digest"] as? String == summary["digest"]
                as? String)
        let answer = try await machine.succeed(
            "run", TinyTask.model, "a cat", "--attach", "words/short", "--max-tokens", "3")
        #expect(!answer.output.isEmpty)
        let long = try await machine.run(Array(words[..<4]) + ["--tokens", "4000", "--name", "a/b"])
        #expect(long.status == 64 && long.errors.contains("--tokens"))
    }

    @Test("distill comes nearer to the text than its start, with inputs and without", arguments: [true, false])
    func distill(inputs: Bool) async throws {
        let machine = try Incipit()
        let file = try promptFile(machine)
        let outcome = try await machine.run(
            [
                "distill", TinyTask.model, "--prompt-file", file, "--tokens", "4", "--name", "words/learned", "--steps",
                "60", "--sequences", "32", "--study-tokens", "12", "--evaluate-every", "20", "--json",
            ] + (inputs ? ["--inputs", TinyTask.data] : []))
        try #require(outcome.status == 0, "\(outcome.errors)")
        let summary = try outcome.object()
        func divergence(_ key: String) throws -> Double {
            try #require((summary[key] as? [String: Any])?["divergence"] as? Double)
        }
        #expect(try divergence("heldOut") < divergence("start"))
        #expect(try await machine.digest("words/learned") == summary["digest"] as? String)
    }

    @Test("continue stores a child that records its parent, and a rejected one leaves nothing")
    func continuing() async throws {
        let machine = try Incipit()
        let parent = try await machine.tune("team/kinds", steps: 10)
        let arguments = [
            "continue", TinyTask.model, "team/kinds:v1", "--data", TinyTask.data, "--steps", "40", "--json",
        ]
        let forced = try await machine.run(arguments + ["--force", "--learning-rate", "0.02"])
        try #require(forced.status == 0, "\(forced.errors)")
        let summary = try forced.object()
        #expect(summary["version"] as? String == "v2")
        let shown = try await machine.succeed("prompt", "show", "team/kinds:v2", "--json").object()
        #expect((shown["training"] as? [String: String])?["parent"] == parent)
        // A step of nothing cannot be better beyond chance.
        let same = try await machine.run(
            [
                "continue", TinyTask.model, "team/kinds:v1", "--data", TinyTask.data, "--steps", "1", "--learning-rate",
                "1e-9",
            ])
        #expect(same.status == 1 && same.errors.contains("not stored"))
        #expect(try await machine.digest("team/kinds:v3") == nil)
        // Without its state the old rows are asked for.
        try FileManager.default.removeItem(atPath: machine.path("home/states"))
        let lost = try await machine.run(arguments)
        #expect(lost.status == 66 && lost.errors.contains("--old"))
        let longer = try await machine.run(arguments + ["--old", TinyTask.data, "--append", "2", "--force"])
        try #require(longer.status == 0, "\(longer.errors)")
        let child = try await machine.succeed("prompt", "show", "team/kinds", "--json").object()
        #expect(child["virtualTokens"] as? Int == 6)
    }

    @Test("continue judges old rows among their own labels where the new ones bring others, and shows both")
    func newLabels() async throws {
        let machine = try Incipit()
        let rows = try String(contentsOfFile: TinyTask.data, encoding: .utf8).split(separator: "\n")
        let targets = try Set(
            rows.map { row in
                try #require(
                    (try JSONSerialization.jsonObject(with: Data(row.utf8)) as? [String: String])?["target"])
            })
        let kept = Set(targets.sorted().prefix(2))
        func file(_ name: String, _ isOld: Bool) throws -> String {
            let chosen = rows.filter { row in kept.contains { row.contains("\"target\": \"\($0)\"") } == isOld }
            try #require(!chosen.isEmpty && chosen.count < rows.count)
            return try machine.write(name, Data((chosen.joined(separator: "\n") + "\n").utf8))
        }
        let tuned = try await machine.run([
            "tune", TinyTask.model, "--data", try file("old.jsonl", true), "--name", "team/kinds", "--steps", "20",
            "--tokens", "4", "--allow-bad-start",
        ])
        try #require(tuned.status == 0, "\(tuned.errors)")
        let arguments = [
            "continue", TinyTask.model, "team/kinds:v1", "--data", try file("new.jsonl", false), "--force", "--json",
        ]
        let judged = try await machine.run(arguments)
        try #require(judged.status == 0, "\(judged.errors)")
        let summary = try judged.object()
        #expect(summary["steps"] as? Int == 20, "as many as the parent's")
        let own = try #require(summary["canary"] as? [String: Any])
        let all = try #require(summary["canaryAmongAll"] as? [String: Any])
        #expect(own["rows"] as? Int == all["rows"] as? Int)
        // Fewer labels to choose among: no row that is right among all is wrong among its own.
        #expect(try #require(own["child"] as? Double) >= #require(all["child"] as? Double))
        let strict = try await machine.run(arguments + ["--canary-labels", "all"]).object()
        #expect(
            (strict["canary"] as? [String: Any])?["child"] as? Double
                == (strict["canaryAmongAll"] as? [String: Any])?["child"] as? Double)
        let refused = try await machine.run(arguments + ["--canary-labels", "some"])
        #expect(refused.status == 64 && refused.errors.contains("old"))
    }

    @Test("explain shows every virtual token, in text, JSON and a page")
    func explain() async throws {
        let machine = try Incipit()
        try await machine.tune("team/kinds", steps: 5)
        let page = machine.path("page.html")
        let report = try await machine.succeed(
            "explain", TinyTask.model, "team/kinds", "--data", TinyTask.data, "--split", "train", "--html", page,
            "--json"
        ).object()
        #expect((report["tokens"] as? [[String: Any]])?.count == 4)
        #expect(try String(contentsOfFile: page, encoding: .utf8).contains("</html>"))
        #expect(try await machine.succeed("explain", TinyTask.model, "team/kinds").output.contains("nearest words"))
    }

    @Test("port carries a prompt to another quantization, where it fits and is stored for that base")
    func port() async throws {
        let machine = try Incipit()
        try await machine.tune("team/kinds", steps: 60)
        let outcome = try await machine.run([
            "port", "team/kinds", "--from", TinyTask.model, "--to", TinyTask.otherModel, "--inputs", TinyTask.data,
            "--steps", "30", "--json",
        ])
        try #require(outcome.status == 0, "\(outcome.errors)")
        let after = try #require((try outcome.object()["after"] as? [String: Any])?["divergence"] as? Double)
        let before = try #require((try outcome.object()["before"] as? [String: Any])?["divergence"] as? Double)
        #expect(after <= before)
        try await machine.succeed(
            "run", TinyTask.otherModel, "a cat", "--attach", "team/kinds-ported", "--max-tokens", "2")
    }

    @Test("heal reports what of the gap it closes")
    func heal() async throws {
        let machine = try Incipit()
        let corpus = try machine.write("corpus.txt", Data(String(repeating: text, count: 40).utf8))
        let outcome = try await machine.run([
            "heal", TinyTask.otherModel, "--reference", TinyTask.model, "--text", corpus, "--name", "team/healed",
            "--tokens", "4", "--stretch", "24", "--steps", "30", "--batch", "4", "--json",
        ])
        try #require(outcome.status == 0, "\(outcome.errors)")
        let summary = try outcome.object()
        #expect(summary["gapClosed"] as? Double != nil)
        #expect(
            try #require(summary["divergenceAfter"] as? Double) < #require(summary["divergenceBefore"] as? Double))
    }

    @Test("settings come from a file, and flags win")
    func configuration() async throws {
        let machine = try Incipit()
        let file = try machine.write(
            "run.yaml",
            Data(
                """
                # a run
                model: \(TinyTask.model)
                data: "\(TinyTask.data)"
                name: team/configured
                init_text: |-
                  What kind
                  of thing
                steps: 3
                tokens: 4
                json: true
                restart: false

                """.utf8))
        let outcome = try await machine.run(["tune", "--config", file, "--steps", "2"])
        try #require(outcome.status == 0, "\(outcome.errors)")
        #expect(try outcome.object()["steps"] as? Int == 2)
        let shown = try await machine.succeed("prompt", "show", "team/configured", "--json").object()
        #expect((shown["training"] as? [String: String])?["initial_text"] == "What kind\nof thing")
        for (bad, word) in [("steps: 1\nsteps: 2\n", ":2:"), ("a:\n  b: 1\n", ":2:"), ("steps 1\n", ":1:")] {
            let broken = try machine.write("bad.yaml", Data(bad.utf8))
            let refused = try await machine.run(["tune", "--config", broken])
            #expect(refused.status == 64 && refused.errors.contains("bad.yaml" + word), "\(refused.errors)")
        }
    }

    @Test("a dry run says what it would take and stores nothing; a log holds metrics, events and a curve")
    func planAndLog() async throws {
        let machine = try Incipit()
        let plan = try await machine.run(TinyTask.tune("team/kinds", more: ["--dry-run", "--json"]))
        try #require(plan.status == 0, "\(plan.errors)")
        #expect(try plan.object()["parameters"] as? Int == 4 * 2 * 2 * 32)
        #expect(try await machine.digest("team/kinds") == nil)
        let folder = machine.path("log")
        try await machine.tune("team/kinds", steps: 6, more: ["--log", folder, "--evaluate-every", "3"])
        let lines = try String(contentsOfFile: folder + "/metrics.jsonl", encoding: .utf8).split(separator: "\n")
        #expect(lines.count { $0.contains("\"loss\"") } == 6)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder).contains { $0.hasPrefix("events.out.tfevents") }
        )
        #expect(try String(contentsOfFile: folder + "/loss.svg", encoding: .utf8).contains("<svg"))
    }

    @Test("a start far worse than none is refused with what to do")
    func badStart() async throws {
        let machine = try Incipit()
        // Sixty keys of zero take attention from everything: 9.3 nats where the bare model has 8.3.
        let words = TinyTask.tune("team/kinds", steps: 1, tokens: 60, more: ["--init", "zero"]).filter {
            $0 != "--allow-bad-start"
        }
        let refused = try await machine.run(words)
        #expect(refused.status == 64 && refused.errors.contains("--init-text"), "\(refused.errors)")
        #expect(try await machine.run(words + ["--any-start"]).status == 0)
    }

    @Test("a KoboldAI archive and a PEFT folder are imported and exported")
    func imports() async throws {
        let machine = try Incipit()
        try await machine.tune("team/kinds", steps: 2)
        let folder = machine.path("exported")
        try await machine.succeed("prompt", "export", "team/kinds", folder, "--peft")
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
                == ["adapter_config.json", "adapter_model.safetensors"])
        try await machine.succeed("prompt", "import", folder, "--base", TinyTask.model, "--name", "team/back")
        #expect(
            try await machine.export("team/back")["adapter_model.safetensors"]
                == machine.export("team/kinds")["adapter_model.safetensors"])
        let zip = Fixtures.url("SoftPrompts/kobold-f32.zip").path
        let refused = try await machine.run(["prompt", "import", zip, "--base", TinyTask.model, "--name", "team/zip"])
        #expect(refused.status == 65 && refused.errors.contains("vectors of 8"), "\(refused.errors)")
    }
}

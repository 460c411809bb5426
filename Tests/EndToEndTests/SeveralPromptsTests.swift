import Fixtures
import Foundation
import Testing

/// Several tasks learned at once, several prompts answering together, and one prompt beginning as another.
@Suite("Several prompts")
struct SeveralPromptsTests {
    /// The tiny task with every label replaced by the next: what is right there is wrong here.
    private func turned(_ machine: Incipit) throws -> String {
        let labels = ["animal", "food", "plant", "tool"]
        let lines = try String(contentsOf: Fixtures.Data.tinyKinds, encoding: .utf8).split(separator: "\n")
        let rows = try lines.map { line in
            var row = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            let index = try #require(labels.firstIndex(of: row["target"] as? String ?? ""))
            row["target"] = labels[(index + 1) % labels.count]
            return String(
                decoding: try JSONSerialization.data(withJSONObject: row, options: .sortedKeys), as: UTF8.self)
        }
        return try machine.write("turned.jsonl", Data(rows.joined(separator: "\n").utf8))
    }

    private func succeed(_ machine: Incipit, _ arguments: [String]) async throws -> Outcome {
        let outcome = try await machine.run(arguments)
        try #require(outcome.status == 0, "\(outcome.errors)")
        return outcome
    }

    private func accuracy(_ machine: Incipit, _ data: String, _ arguments: String...) async throws -> Double {
        let outcome = try await machine.run(["eval", TinyTask.model, "--data", data, "--json"] + arguments)
        try #require(outcome.status == 0, "\(outcome.errors)")
        return try #require(try outcome.object()["accuracy"] as? Double)
    }

    @Test("two data sets learned at once become two prompts, exported for PEFT and begun from")
    func multitask() async throws {
        let machine = try Incipit()
        let other = try turned(machine)
        let folder = machine.path("tasks")
        let arguments = TinyTask.tune(
            "team/all", method: "multitask-prompt-tuning", steps: 250,
            more: [
                "--mix", "\(other)=1", "--task-rank", "2", "--learning-rate", "0.03", "--export-tasks", folder,
                "--json",
            ])
        let run = try await machine.run(arguments)
        try #require(run.status == 0, "\(run.errors)")
        let tasks = try #require(try run.object()["tasks"] as? [[String: Any]])
        #expect(tasks.compactMap { $0["name"] as? String } == ["team/all/tiny-kinds", "team/all/turned"])
        // Each answers its own data set better than the other's.
        for (own, data) in [("tiny-kinds", TinyTask.data), ("turned", other)] {
            let foreign = own == "turned" ? "tiny-kinds" : "turned"
            let right = try await accuracy(machine, data, "--attach", "team/all/\(own)")
            let wrong = try await accuracy(machine, data, "--attach", "team/all/\(foreign)")
            #expect(right > wrong, "\(own): \(right) and \(wrong)")
        }
        // PEFT's folder holds the same prompts.
        try await machine.succeed(
            "prompt", "import", folder, "--base", TinyTask.model, "--name", "team/back", "--task", "1")
        #expect(
            try await machine.export("team/back")["adapter_model.safetensors"]
                == machine.export("team/all/turned")["adapter_model.safetensors"])
        let unnamed = try await machine.run([
            "prompt", "import", folder, "--base", TinyTask.model, "--name", "team/back",
        ])
        #expect(unnamed.status == 65 && unnamed.errors.contains("0 to 1"))
        // The same run gives the same bytes; interrupted runs of several tasks resume like others (TrainerTests).
        let again = try await machine.run(arguments, home: "other")
        #expect(try again.object()["digest"] as? String == run.object()["digest"] as? String)

        // A new run begins from what the tasks share, or from one of them.
        let adapt = { (more: [String]) in
            TinyTask.tune(
                "team/new", method: "multitask-prompt-tuning", steps: 1, tokens: nil,
                more: ["--from-tasks", folder, "--json"] + more)
        }
        let exact = try await machine.run(adapt(["--from-task", "0"]))
        try #require(exact.status == 0, "\(exact.errors)")
        let mean = try await machine.run(adapt([]))
        let exactLoss = try #require(try exact.object()["firstLoss"] as? Double)
        let meanLoss = try #require(try mean.object()["firstLoss"] as? Double)
        #expect(exactLoss < meanLoss)
        for (words, word) in [
            (["--from-task", "2"], "tasks 0 to 1"), (["--task-rank", "3"], "rank 2"), (["--tokens", "9"], "4 virtual"),
        ] {
            let refused = try await machine.run(adapt(words))
            #expect(refused.status == 64 && refused.errors.contains(word), "\(refused.errors)")
        }
        let misplaced = try await machine.run(TinyTask.tune("team/x", more: ["--task-rank", "2"]))
        #expect(misplaced.status == 64 && misplaced.errors.contains("multitask-prompt-tuning"))
        // A task's prompt goes on alone.
        let continued = try await machine.run([
            "continue", TinyTask.model, "team/all/turned", "--data", other, "--steps", "2", "--force", "--json",
        ])
        #expect(continued.status == 0, "\(continued.errors)")
    }

    @Test("the nearest stored prompt is the one of the same task, and --resume keeps the choice")
    func nearest() async throws {
        let machine = try Incipit()
        let other = try turned(machine)
        let empty = try await machine.run(TinyTask.tune("team/none", tokens: nil, more: ["--nearest"]))
        #expect(empty.status == 66 && empty.errors.contains("no stored prompt"), "\(empty.errors)")
        let kinds = try await machine.tune("team/kinds", steps: 150)
        let second = try await machine.run(
            [
                "tune", TinyTask.model, "--data", other, "--name", "team/turned", "--steps", "150", "--tokens", "4",
                "--allow-bad-start",
            ])
        try #require(second.status == 0, "\(second.errors)")
        try await machine.tune("team/input", method: "prompt-tuning", steps: 2)

        let run = try await machine.run(
            TinyTask.tune("team/next", steps: 2, tokens: nil, more: ["--init", "nearest", "--json"]))
        try #require(run.status == 0, "\(run.errors)")
        #expect(run.errors.contains("nearest of 2 stored prompts") && run.errors.contains("team/kinds@"))
        let shown = try await machine.succeed("prompt", "show", "team/next").output
        #expect(shown.contains(kinds) && shown.contains("nearest"))
        let first = try #require(try run.object()["firstLoss"] as? Double)
        let fresh = try await machine.run(TinyTask.tune("team/fresh", steps: 2, more: ["--json"]))
        #expect(first < (try #require(try fresh.object()["firstLoss"] as? Double)))
        for words in [["--init-text", "x"], ["--from", "team/kinds"]] {
            let refused = try await machine.run(TinyTask.tune("team/y", tokens: nil, more: ["--nearest"] + words))
            #expect(refused.status == 64, "\(refused.errors)")
        }
    }

    @Test("words that are a bad start are refused as well, naming a better one")
    func badWords() async throws {
        let machine = try Incipit()
        // Four embeddings of the instruction at the input: 9.5 nats where the bare model has 8.8.
        let words = [
            "tune", TinyTask.model, "--data", TinyTask.data, "--name", "team/kinds", "--method", "prompt-tuning",
            "--tokens", "4", "--steps", "1",
        ]
        let refused = try await machine.run(words)
        #expect(refused.status == 64 && refused.errors.contains("Use --init zero, which has 8."), "\(refused.errors)")
        #expect(try await machine.digest("team/kinds") == nil)
        #expect(try await machine.run(words + ["--restart", "--init", "zero"]).status == 0)
        #expect(try await machine.run(words + ["--allow-bad-start"]).status == 0)
    }

    @Test("prompts answer together in run and eval")
    func ensembles() async throws {
        let machine = try Incipit()
        for seed in 1...3 { try await machine.tune("team/k\(seed)", steps: 60, more: ["--seed", "\(seed)"]) }
        let ask = ["run", TinyTask.model, "--max-tokens", "6", "--attach", "team/k1"]
        let alone = try await succeed(machine, ask + ["a red eel"])
        for rule in ["mean", "vote"] {
            // Twice the same prompt is that prompt.
            let twice = try await succeed(
                machine, ask + ["--also", "team/k1", "--also", "team/k1", "--combine", rule, "a red eel"])
            #expect(twice.output == alone.output)
            let three = try await succeed(
                machine, ask + ["--also", "team/k2", "--also", "team/k3", "--combine", rule, "--json", "a red eel"]
            ).object()
            #expect(three["attachedTokens"] as? Int == 4)
            let generated = try await accuracy(
                machine, TinyTask.data, "--attach", "team/k1", "--also", "team/k2", "--also", "team/k3", "--combine",
                rule, "--scoring", "generate", "--limit", "12")
            let labelled = try await accuracy(
                machine, TinyTask.data, "--attach", "team/k1", "--also", "team/k2", "--also", "team/k3", "--combine",
                rule, "--limit", "12")
            #expect(generated <= 1 && labelled >= 0.25)
        }
        let single = try await accuracy(machine, TinyTask.data, "--attach", "team/k2")
        #expect(
            try await accuracy(
                machine, TinyTask.data, "--attach", "team/k2", "--also", "team/k2", "--combine", "vote") == single)
        let without = try await machine.run(["run", TinyTask.model, "--also", "team/k1", "a red eel"])
        #expect(without.status == 64 && without.errors.contains("--attach"))
        let kept = try await machine.run(ask + ["--also", "team/k2", "--session", machine.path("state"), "a"])
        #expect(kept.status == 64 && kept.errors.contains("--session"))
    }
}

import Foundation
import Testing

/// What an operator does with a registry, from the command line.
@Suite struct RegistryCommandsTests {
    @Test("versions: protect, promote, roll back, compare, delete, bring back, lock")
    func versions() async throws {
        let machine = try Incipit()
        let first = try await machine.tune("team/task", steps: 3)
        let second = try await machine.tune("team/task", steps: 6)
        try await machine.succeed("prompt", "tag", "team/task:v1", "production")
        try await machine.succeed("prompt", "protect", "production", "--repo", "team/**")
        let refused = try await machine.run(["prompt", "tag", "team/task:v2", "production"])
        #expect(refused.status == 1)
        #expect(try #require(refused.sentence, "\(refused.errors)").contains("--why"))
        try await machine.succeed("prompt", "tag", "team/task:v2", "production", "--why", "passed the gate")
        #expect(try await machine.digest("team/task:production") == second)
        try await machine.succeed("prompt", "rollback", "team/task:production", "--why", "too long")
        #expect(try await machine.digest("team/task:production") == first)
        let log = try await machine.succeed("prompt", "log", "team/task:production", "--json").objects()
        #expect(log.count == 3)
        #expect((log[0]["why"] as? String)?.contains("too long") == true)
        #expect(log[1]["from"] as? String == first && log[1]["to"] as? String == second)

        let difference = try await machine.succeed("prompt", "diff", "team/task:v1", "v2", "--json").object()
        #expect((difference["vectors"] as? [String: Any])?["tokens"] as? Int == 4)
        #expect((difference["training"] as? [[String: Any]])?.isEmpty == false)
        #expect(try await machine.succeed("prompt", "diff", "team/task:v1", "v1").output == "the same prompt\n")
        #expect(try await machine.succeed("prompt", "lineage", "team/task").output.contains("v2"))

        try await machine.succeed("prompt", "lock", "team/task:production", "--file", machine.path("lock"))
        try await machine.succeed("prompt", "lock", "--file", machine.path("lock"))
        try await machine.succeed("prompt", "tag", "team/task:v2", "production", "--why", "again")
        let outdated = try await machine.run(["prompt", "lock", "--outdated", "--file", machine.path("lock")])
        #expect(outdated.status == 1)

        let kept = try await machine.run(["prompt", "delete", "team/task:v1"])
        #expect(kept.status == 1)
        try await machine.succeed("prompt", "delete", "team/task:v1", "--force")
        #expect(try await machine.digest("team/task:v1") == nil)
        #expect(try await machine.run(["prompt", "lock", "--file", machine.path("lock")]).status == 66)
        try await machine.succeed("registry", "gc", "--hours", "0")
        #expect(try await machine.succeed("prompt", "undelete").output.contains("team/task"))
        try await machine.succeed("prompt", "undelete", "team/task:v1")
        #expect(try await machine.digest("team/task:v1") == first)
        let page = try await machine.succeed("prompt", "list", "--limit", "1", "--json").objects()
        #expect(page.count == 1)
        let place = "\(try #require(page[0]["name"] as? String))@\(try #require(page[0]["digest"] as? String))"
        let next = try await machine.succeed("prompt", "list", "--after", place, "--json").objects()
        #expect(next.count == 1 && next[0]["digest"] as? String != page[0]["digest"] as? String)
        #expect(try await machine.run(["prompt", "list", "--after", "team/task:v1"]).status == 64)
    }

    @Test("trust: keys, signatures, a policy that refuses what nobody signed")
    func trust() async throws {
        let machine = try Incipit()
        try await machine.tune("team/task", steps: 3)
        for (name, options) in [("pem", []), ("ssh", ["--ssh"])] {
            let key = machine.path(name)
            _ = try await machine.run(["keygen", key] + options)
            let again = try await machine.run(["keygen", key] + options)
            #expect(again.status == 64)
            try await machine.succeed("prompt", "trust", "team/**", "--key", key + ".pub")
            let unsigned = try await machine.run(["run", TinyTask.model, "--attach", "team/task", "x"])
            #expect(unsigned.status == 65)
            #expect(try #require(unsigned.sentence, "\(unsigned.errors)").contains("not signed"))
            #expect(try await machine.run(["prompt", "verify", "team/task:v1", "--key", key + ".pub"]).status == 65)
            try await machine.succeed("sign", "team/task:v1", "--key", key + ".key")
            try await machine.succeed("prompt", "verify", "team/task:v1", "--key", key + ".pub")
            try await machine.succeed("prompt", "verify", "team/task:v1")
            try await machine.succeed("run", TinyTask.model, "--attach", "team/task", "x", "--max-tokens", "2")
        }
        let folder = machine.path("files")
        try await machine.succeed("prompt", "export", "team/task:v1", folder)
        try await machine.succeed("sign", folder, "--key", machine.path("pem.key"))
        let verify = ["prompt", "verify", folder, "--key", machine.path("pem.pub")]
        #expect(try await machine.run(verify).status == 0)
        _ = try machine.write("files/extra", Data("x".utf8))
        let extra = try await machine.run(verify)
        #expect(extra.status == 65 && extra.errors.contains("extra"))
        for bad in [
            ["sign", "team/task:v1", "--key", TinyTask.model], ["sign", "team/task:v1", "--key", "/nonexistent"],
        ] {
            let outcome = try await machine.run(bad)
            #expect(outcome.status != 0 && outcome.sentence != nil, "\(outcome.errors)")
        }
    }

    @Test("layouts travel, backups are restored, damage is found and mended")
    func care() async throws {
        let machine = try Incipit()
        let digest = try await machine.tune("team/task", steps: 3)
        try await machine.succeed("prompt", "export", "team/task:v1", machine.path("task.tar"))
        try await machine.succeed("prompt", "import", machine.path("task.tar"), home: "second")
        #expect(try await machine.digest("team/task:v1", home: "second") == digest)
        let noLayout = try await machine.run(["prompt", "import", TinyTask.model])
        #expect(noLayout.status == 65 && noLayout.sentence != nil, "\(noLayout.errors)")

        try await machine.succeed("registry", "backup", machine.path("backup"))
        try await machine.succeed("registry", "restore", machine.path("backup"), home: "third")
        #expect(try await machine.digest("team/task:v1", home: "third") == digest)
        let occupied = try await machine.run(["registry", "restore", machine.path("backup")])
        #expect(occupied.status != 0 && occupied.sentence != nil)

        try await machine.succeed("registry", "verify", "--read-data")
        try await machine.succeed("registry", "quota", "team/**", "--mib", "1")
        #expect(try await machine.succeed("registry", "quota").output.contains("1.0 MiB"))
        #expect(try await machine.succeed("registry", "uploads").output.contains("no uploads"))
        #expect(try await machine.succeed("registry", "status", "--json").object()["tags"] as? Int == 3)

        let rows = try await machine.succeed("prompt", "compress", "team/task:v1", "--base", TinyTask.model, "--json")
            .objects()
        #expect(Set(rows.compactMap { $0["type"] as? String }).isSuperset(of: ["F32", "BF16", "F16", "I8"]))
        for row in rows {
            let divergence = try #require(row["divergence"] as? Double)
            #expect(row["type"] as? String == "F32" ? divergence == 0 : divergence >= 0)
        }
        let plain = try await machine.run(["prompt", "compress", "team/task:v1", "--data", TinyTask.data])
        #expect(plain.status == 64 && plain.errors.contains("--base"))
        let compress = ["prompt", "compress", "team/task:v1", "--base", TinyTask.model, "--uniform"]
        for (extra, status, needle) in [
            (["--max-score-loss", "1"], 64, "--data"),
            (["--data", TinyTask.data, "--max-score-loss", "101"], 64, "0.0…100"),
            (["--data", "nothing-there"], 66, "nothing-there"),
        ] as [([String], Int32, String)] {
            let outcome = try await machine.run(compress + extra)
            #expect(outcome.status == status && outcome.errors.contains(needle), "\(outcome.errors)")
        }
        // The score is what eval finds.
        let scored = try await machine.run(
            compress + ["--data", TinyTask.data, "--split", "dev", "--rows", "24", "--json"])
        try #require(scored.status == 0, "\(scored.errors)")
        let evaluated = try await machine.succeed(
            "eval", TinyTask.model, "--data", TinyTask.data, "--attach", "team/task:v1", "--split", "dev", "--limit",
            "24",
            "--json"
        ).object()
        let exact = try #require(scored.objects().first { $0["type"] as? String == "F32" })
        #expect(exact["score"] as? Double == evaluated["accuracy"] as? Double)
        #expect(exact["scoreLossPoints"] as? Double == 0 && exact["rowsLost"] as? Int == 0)
        #expect(try scored.objects().allSatisfy { $0["score"] is Double && $0["rowsGained"] is Int })
        let table = try await machine.run(
            compress + ["--data", TinyTask.data, "--rows", "8", "--max-score-loss", "50"])
        #expect(table.status == 0 && table.output.contains("points lost"), "\(table.errors)")
        try await machine.succeed(
            "prompt", "compress", "team/task:v1", "--base", TinyTask.model, "--limit", "100", "--store")
        let list = try await machine.succeed("prompt", "list", "team/task", "--json").objects()
        #expect(list.count == 2)
        try await machine.succeed("run", TinyTask.model, "--attach", "team/task:v2", "x", "--max-tokens", "2")
        let wrong = try await machine.run(["prompt", "compress", "team/task:v1", "--base", TinyTask.otherModel])
        #expect(wrong.status == 70)
    }

    @Test("listing: what another registry has for a model")
    func remoteListing() async throws {
        let machine = try Incipit()
        let digest = try await machine.tune("team/task", steps: 3)
        try await withRegistry(machine) { registry in
            // Another home: nothing is stored there, and nothing needs to be.
            func list(_ arguments: String...) async throws -> Outcome {
                try await machine.run(["prompt", "list"] + arguments, home: "empty")
            }
            for place in ["\(registry.address)/team/task", "\(registry.address)/"] {
                let rows = try await list(place, "--base", TinyTask.model, "--json").objects()
                #expect(rows.map { $0["digest"] as? String } == [digest])
                #expect((rows[0]["tags"] as? [String])?.contains("v1") == true)
                let other = try await list(place, "--base", TinyTask.otherModel, "--json")
                #expect(try other.status == 0 && other.objects().isEmpty)
            }
            #expect(try await list(registry.address + "/team/task", "--every-tag").output.contains("team/task"))
            let missing = try await list(registry.address + "/team/nothing", "--base", TinyTask.model)
            #expect(missing.status == 66 && missing.sentence?.contains("team/nothing") == true)
            for wrong in [registry.address + "/team/task:v1", registry.address + "/Team", "team/"] {
                let outcome = try await list(wrong)
                #expect(outcome.status == 64 && outcome.sentence != nil, "\(outcome.errors)")
            }
        }
        let gone = try await machine.run(["prompt", "list", "127.0.0.1:1/team/task"], home: "empty")
        #expect(gone.status == 69 && gone.sentence?.contains("127.0.0.1:1") == true)
    }

    @Test("accounts: grants, tokens, revocation, and a server that insists on them")
    func accounts() async throws {
        let machine = try Incipit()
        try await machine.succeed("access", "grant", "ci", "--repo", "team/*", "--allow", "pull,push")
        let secret = try await machine.succeed("access", "token", "ci", "--days", "1").output
            .trimmingCharacters(in: .newlines)
        #expect(secret.hasPrefix("incipit_"))
        let list = try await machine.succeed("access", "list").output
        #expect(list.contains("team/*  pull, push") && !list.contains(secret))
        #expect(
            try await machine.run(["access", "grant", "--everyone", "--repo", "**", "--allow", "push"]).status == 64)
        #expect(try await machine.run(["access", "grant", "ci", "--repo", "Team", "--allow", "pull"]).status == 64)
        #expect(try await machine.run(["access", "grant", "ci", "--repo", "a", "--allow", "fly"]).status == 64)
        let id = try #require(
            list.split(separator: "\n").first { $0.contains("token ") }?.split(separator: " ").dropFirst().first)
        try await machine.succeed("access", "revoke", String(id))
        #expect(try await machine.run(["access", "revoke", String(id)]).status == 66)
        let nobody = try await machine.run(["serve", "--registry", "--port", "0", "--auth"])
        #expect(nobody.status == 64)
        let open = try await machine.run(["serve", "--registry", "--host", "0.0.0.0", "--port", "0", "--auth"])
        #expect(open.status == 64 && open.errors.contains("--tls-cert"))
    }
}

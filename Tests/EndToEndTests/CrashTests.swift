import Fixtures
import Foundation
import Testing

/// `kill -9` and Ctrl-C at any moment: nothing stored is lost or half-written, and repeating the command finishes it.
///
/// Delays are drawn from a seeded generator and stretched over the time an undisturbed run takes on this machine, so
/// that kills land between its first and last system call.
@Suite("Crashes", .serialized)
struct CrashTests {
    static let kills = 20

    /// Enough that a busy machine still finds the run unfinished after its first checkpoint, 40 steps in.
    private static let interruptedSteps = 2000

    @Test(
        "Ctrl-C during tune keeps everything: resumed values are those of an undisturbed run",
        arguments: [
            "prefix-tuning", "prompt-tuning",
        ])
    func interrupt(method: String) async throws {
        let machine = try Incipit()
        let more = ["--evaluate-every", "40", "--patience", "0"]
        let undisturbed = try await machine.tune("kill/whole", method: method, steps: Self.interruptedSteps, more: more)
        let arguments = TinyTask.tune("kill/parts", method: method, steps: Self.interruptedSteps, more: more)
        let command = try machine.start(arguments)
        try await waitForCheckpoint(of: "kill/parts", machine, command)
        try await Task.sleep(for: .milliseconds(60))
        command.send(SIGINT)
        let stopped = try await command.wait()
        try #require(stopped.status == 130, "it was too fast to be interrupted, or failed: \(stopped.errors)")
        #expect(stopped.errors.contains("--resume"))
        #expect(stopped.output.isEmpty)
        #expect(try await machine.digest("kill/parts") == nil)
        let resumed = try await machine.run(arguments + ["--resume", "--json"])
        #expect(resumed.errors.contains("resumed at step"))
        #expect(try resumed.object()["digest"] as? String == undisturbed)
        #expect(try await machine.export("kill/parts") == machine.export("kill/whole"))
    }

    @Test("kill -9 during tune: repeating with --resume ends where an undisturbed run ends")
    func tune() async throws {
        let machine = try Incipit()
        let (steps, more) = (300, ["--evaluate-every", "5", "--patience", "0"])
        let started = ContinuousClock.now
        let undisturbed = try await machine.tune("kill/whole", steps: steps, more: more)
        let whole = seconds(since: started)
        var delays = SeededDelays(seed: 1)
        var (killed, round, resumptions) = (0, 0, 0)
        while killed < Self.kills {
            let name = "kill/part-\(round)"
            // Two thirds of the kills fall into a long training; the others are spread over a whole short run, so that
            // they also meet the moments of starting, storing and cleaning up.
            let isLong = killed < Self.kills * 2 / 3
            let arguments = TinyTask.tune(name, steps: isLong ? steps : 3, more: more)
            let resumes = FileManager.default.fileExists(atPath: machine.checkpoint(of: name))
            let command = try machine.start(arguments + (resumes ? ["--resume"] : []))
            try await Task.sleep(for: .seconds(delays.next(in: 0.01...(isLong ? whole / 4 : 0.12))))
            command.send(SIGKILL)
            let outcome = try await command.wait()
            resumptions += outcome.errors.contains("resumed at step") ? 1 : 0
            if outcome.signal == SIGKILL {
                killed += 1
                // What was stored before is whole; what was being made is either not there or whole.
                #expect(try await machine.digest("kill/whole:v1") == undisturbed)
                _ = try await machine.digest("\(name):v1")
                #expect(try await machine.run(["prompt", "list", "--json"]).status == 0)
            } else {
                #expect(outcome.status == 0, "\(outcome.errors)")
                if isLong { #expect(try await machine.digest(name) == undisturbed) }
                round += 1
            }
            if killed == Self.kills * 2 / 3 && isLong { round += 1 }
        }
        #expect(resumptions > 0)
        // Every run that is still unfinished ends as if nothing had happened.
        let short = try await machine.tune("kill/short", steps: 3, more: more)
        for index in 0...round {
            let name = "kill/part-\(index)"
            for (steps, digest) in [(steps, undisturbed), (3, short)]
            where FileManager.default.fileExists(atPath: machine.checkpoint(of: name)) {
                let outcome = try await machine.run(
                    TinyTask.tune(name, steps: steps, more: more + ["--resume", "--json"]))
                // The other length's run is refused, which changes nothing.
                guard outcome.status == 0 else { continue }
                #expect(try outcome.object()["digest"] as? String == digest)
            }
            #expect(!FileManager.default.fileExists(atPath: machine.checkpoint(of: name)))
        }
        #expect(machine.files().allSatisfy { !$0.hasPrefix("runs/") })
    }

    @Test("kill -9 during push: the registry holds all of it or none, and pushing again completes it")
    func push() async throws {
        let (author, host, reader) = (try Incipit(), try Incipit(), try Incipit())
        let digest = try await author.tune(
            "kill/large", steps: 1, tokens: 400, more: ["--init", "vocabulary", "--any-start"])
        let files = try await author.export("kill/large")
        try await withRegistry(host) { registry in
            func push(_ index: Int) -> [String] {
                ["push", "kill/large:v1", "\(registry.address)/kill/push-\(index):v1"]
            }
            let whole = try await author.run(push(0))
            try #require(whole.status == 0, "\(whole.errors)")
            var delays = SeededDelays(seed: 2)
            var (killed, attempt, absent) = (0, 0, 0)
            while killed < Self.kills {
                attempt += 1
                try #require(attempt < 8 * Self.kills, "pushes end before they can be killed")
                let command = try author.start(push(attempt))
                try await Task.sleep(for: .seconds(delays.next(in: 0.005...whole.seconds)))
                command.send(SIGKILL)
                guard try await command.wait().signal == SIGKILL else { continue }
                killed += 1
                let reference = "\(registry.address)/kill/push-\(attempt):v1"
                let early = try await reader.run(["pull", reference])
                #expect(early.status == 0 || early.status == 66, "\(early.errors)")
                absent += early.status == 66 ? 1 : 0
                let again = try await author.run(push(attempt))
                #expect(again.status == 0 && again.output.contains(digest), "\(again.errors)")
                // A pull reads and checks the whole prompt before it says so.
                #expect(try await reader.succeed("pull", reference).output.contains(digest))
            }
            #expect(absent > 0, "no kill came before the last request")
            #expect(try await reader.export("kill/push-\(attempt):v1") == files)
            #expect(try await author.digest("kill/large:v1") == digest)
        }
        #expect(try await host.digest("kill/push-0:v1") == digest)
    }

    @Test("kill -9 during pull: the reader holds all of it or none, and pulling again completes it")
    func pull() async throws {
        let (host, reader) = (try Incipit(), try Incipit())
        let digest = try await host.tune(
            "kill/large", steps: 1, tokens: 400, more: ["--init", "vocabulary", "--any-start"])
        let files = try await host.export("kill/large")
        try await withRegistry(host) { registry in
            let reference = "\(registry.address)/kill/large:v1"
            let whole = try await reader.run(["pull", reference], home: "first")
            try #require(whole.status == 0, "\(whole.errors)")
            var delays = SeededDelays(seed: 3)
            var (killed, attempt, absent) = (0, 0, 0)
            while killed < Self.kills {
                attempt += 1
                try #require(attempt < 8 * Self.kills, "pulls end before they can be killed")
                let home = "home-\(attempt)"  // empty, so that the making of a home is killed, too
                let command = try reader.start(["pull", reference], home: home)
                try await Task.sleep(for: .seconds(delays.next(in: 0.005...whole.seconds)))
                command.send(SIGKILL)
                guard try await command.wait().signal == SIGKILL else { continue }
                killed += 1
                let early = try await reader.digest("kill/large:v1", home: home)
                #expect(early == nil || early == digest)
                absent += early == nil ? 1 : 0
                let again = try await reader.succeed("pull", reference, home: home)
                #expect(again.output.contains(digest))
                #expect(try await reader.export("kill/large:v1", home: home) == files)
            }
            #expect(absent > 0, "no kill came before the end")
        }
    }

    @Test("kill -9 of the registry during pushes: it starts again on the same folder and takes the push")
    func server() async throws {
        let (author, host, reader) = (try Incipit(), try Incipit(), try Incipit())
        let digest = try await author.tune(
            "kill/large", steps: 1, tokens: 400, more: ["--init", "vocabulary", "--any-start"])
        var delays = SeededDelays(seed: 4)
        var (attempts, brokenOff) = (0, 0)
        var whole = 0.3
        while brokenOff < 4 {
            attempts += 1
            try #require(attempts < 40, "pushes end before the registry can be killed")
            let registry = try await TestRegistry(host)
            let command = try author.start(["push", "kill/large:v1", "\(registry.address)/kill/push-\(attempts):v1"])
            try await Task.sleep(for: .seconds(delays.next(in: 0.01...whole)))
            try await registry.crash()
            let outcome = try await command.wait()
            if outcome.status == 0 {
                whole = min(whole, outcome.seconds)
            } else {
                brokenOff += 1
                #expect(outcome.status == 69, "\(outcome.errors)")
                #expect(outcome.sentence != nil && outcome.output.isEmpty)
            }
            try await withRegistry(host) { registry in
                let reference = "\(registry.address)/kill/push-\(attempts):v1"
                let again = try await author.run(["push", "kill/large:v1", reference])
                #expect(again.status == 0 && again.output.contains(digest), "\(again.errors)")
                #expect(try await reader.succeed("pull", reference).output.contains(digest))
            }
            #expect(try await host.digest("kill/push-\(attempts):v1") == digest)
        }
    }

    private func seconds(since start: ContinuousClock.Instant) -> Double {
        let elapsed = ContinuousClock.now - start
        return Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
    }
}

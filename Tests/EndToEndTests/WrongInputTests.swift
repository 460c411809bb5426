import Fixtures
import Foundation
import Testing

/// Wrong input: one sentence on standard error, the documented exit code, nothing on standard output, nothing stored.
@Suite("Wrong input")
struct WrongInputTests {
    @Test("files that are no model", arguments: WrongInput.models)
    func models(_ expected: WrongInput) async throws { try await check(expected) }

    @Test("options with unknown or senseless values", arguments: WrongInput.options)
    func options(_ expected: WrongInput) async throws { try await check(expected) }

    @Test("names and references", arguments: WrongInput.references)
    func references(_ expected: WrongInput) async throws { try await check(expected) }

    @Test("data sets", arguments: WrongInput.dataSets)
    func dataSets(_ expected: WrongInput) async throws { try await check(expected) }

    private func check(_ expected: WrongInput) async throws {
        let machine = try Incipit()
        let outcome = try await machine.run(try expected.arguments.map { try fill($0, machine) }, limit: 30)
        #expect(outcome.status == expected.status, "\(outcome.errors)")
        #expect(outcome.signal == nil)
        #expect(outcome.output.isEmpty)
        let sentence = try #require(outcome.sentence, "not one sentence: \(outcome.errors)")
        #expect(sentence.contains(expected.needle), "\(sentence)")
        // A registry may have been opened, but nothing may lie in it or beside it.
        let made = machine.files().subtracting(Self.emptyRegistry)
        #expect(made.isEmpty, "left behind: \(made.sorted())")
    }

    /// What opening a registry makes.
    static let emptyRegistry: Set<String> = [
        "registry/.lock", "registry/catalogue.sqlite", "registry/catalogue.sqlite-wal", "registry/catalogue.sqlite-shm",
    ]

    /// Replaces a `$NAME` by the path of the file it stands for, made on the way.
    private func fill(_ argument: String, _ machine: Incipit) throws -> String {
        let model = try Data(contentsOf: Fixtures.Models.tinyLlama)
        let row = #"{"input": "a", "target": "b", "split": "train"}"# + "\n"
        func lines(_ name: String, _ text: String) throws -> String { try machine.write(name, Data((row + text).utf8)) }
        switch argument {
        case "$MODEL": return TinyTask.model
        case "$DATA": return TinyTask.data
        case "$MISSING": return machine.path("missing.gguf")
        case "$FOLDER":
            try FileManager.default.createDirectory(
                at: machine.folder.appending(path: "folder"), withIntermediateDirectories: true)
            return machine.path("folder")
        case "$EMPTY": return try machine.write("empty.gguf", Data())
        case "$TRUNCATED": return try machine.write("truncated.gguf", model.prefix(model.count - 1000))
        case "$HEADER": return try machine.write("header.gguf", model.prefix(700))
        case "$TEXT": return try machine.write("text.gguf", Data("Some plain words, not a model at all.\n".utf8))
        case "$DAMAGED":
            // The tensor count, 8 bytes from offset 8, becomes absurd.
            var bytes = model
            bytes.replaceSubrange(8..<16, with: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])
            return try machine.write("damaged.gguf", bytes)
        case "$NODATA": return machine.path("no-data.jsonl")
        case "$NOROWS": return try machine.write("no-rows.jsonl", Data())
        case "$BADLINE": return try lines("bad-line.jsonl", row + #"{"input": "a", "target":"# + "\n" + row)
        case "$NOTARGET": return try lines("no-target.jsonl", #"{"input": "a"}"# + "\n")
        case "$BADSPLIT": return try lines("bad-split.jsonl", row.replacing("train", with: "holdout"))
        case "$NOTTEXT": return try machine.write("not-text.jsonl", Data([0xff, 0xfe, 0x00, 0x0a]))
        case "$DEVONLY": return try machine.write("dev-only.jsonl", Data(row.replacing("train", with: "dev").utf8))
        default: return argument
        }
    }

    @Test("an unfinished run asks what to do with it, and both answers work")
    func unfinishedRun() async throws {
        let machine = try Incipit()
        let long = TinyTask.tune("a/b", steps: 100_000, more: ["--patience", "0"])
        let command = try machine.start(long)
        try await waitForCheckpoint(of: "a/b", machine, command)
        command.send(SIGTERM)
        #expect(try await command.wait().status == 130)
        let again = try await machine.run(long)
        #expect(again.status == 64)
        let sentence = try #require(again.sentence)
        #expect(sentence.contains("--resume") && sentence.contains("--restart") && again.output.isEmpty)
        // Another configuration cannot go on with it, and says so.
        let other = try await machine.run(TinyTask.tune("a/b", steps: 100_000, tokens: 5, more: ["--resume"]))
        #expect(other.status == 65 || other.status == 64)
        #expect(other.sentence != nil && other.output.isEmpty)
        try await machine.tune("a/b", steps: 2, more: ["--restart"])
        #expect(try await machine.digest("a/b:v1") != nil)
    }

    @Test("pulling what is no prompt stores nothing")
    func notAPrompt() async throws {
        let (host, reader) = (try Incipit(), try Incipit())
        try await withRegistry(host) { registry in
            let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  // of "{}"
            let manifest =
                #"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":"#
                + #"{"mediaType":"application/vnd.oci.empty.v1+json","digest":"\#(empty)","size":2},"layers":[]}"#
            let base = "http://\(registry.address)/v2/other/thing"
            #expect(try await curl("-X", "POST", "--data", "{}", "\(base)/blobs/uploads/?digest=\(empty)") == "201")
            #expect(
                try await curl(
                    "-X", "PUT", "-H", "Content-Type: application/vnd.oci.image.manifest.v1+json", "--data", manifest,
                    "\(base)/manifests/v1") == "201")
            let outcome = try await reader.run(["pull", "\(registry.address)/other/thing:v1"])
            #expect(outcome.status == 65)
            #expect(outcome.output.isEmpty)
            #expect(try #require(outcome.sentence, "\(outcome.errors)").contains("not a soft prompt"))
            #expect(try await reader.run(["prompt", "show", "other/thing:v1"]).status == 66)
            let unknown = try await reader.run(["pull", "\(registry.address)/other/nothing:v1"])
            #expect(unknown.status == 66 && unknown.sentence != nil)
            #expect(reader.files().subtracting(Self.emptyRegistry).isEmpty)
        }
    }

    @Test("folders that cannot be written, addresses that cannot be had")
    func unavailable() async throws {
        let machine = try Incipit()
        _ = try machine.write("home", Data("a file where the folder should be".utf8))
        let blocked = try await machine.run(["prompt", "list"])
        #expect(blocked.status == 69)
        #expect(try #require(blocked.sentence, "\(blocked.errors)").contains("INCIPIT_HOME"))
        let open = try await machine.run(["serve", "--registry", "--host", "0.0.0.0", "--port", "0"], home: "other")
        #expect(open.status == 64)
        #expect(try #require(open.sentence, "\(open.errors)").contains("--insecure"))
        try await withRegistry(machine, home: "third") { registry in
            let taken = try await machine.run(["serve", "--registry", "--port", "\(registry.port)"], home: "fourth")
            #expect(taken.status == 69)
            #expect(try #require(taken.sentence, "\(taken.errors)").contains("\(registry.port)"))
        }
    }

    @Test("version numbers are given out, not taken")
    func reservedTags() async throws {
        let machine = try Incipit()
        let digest = try await machine.tune("a/b", steps: 2)
        let outcome = try await machine.run(["prompt", "tag", "a/b:v1", "v7"])
        #expect(outcome.status == 64)
        #expect(outcome.sentence != nil && outcome.output.isEmpty)
        #expect(try await machine.digest("a/b:v7") == nil)
        #expect(try await machine.digest("a/b:v1") == digest)
    }

    /// The status code of a request made by curl.
    private func curl(_ arguments: String...) async throws -> String {
        let machine = try Incipit()
        let all = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"] + arguments
        let command = try RunningCommand(
            executable: URL(filePath: "/usr/bin/env"), arguments: all,
            environment: ["PATH": "/usr/local/bin:/usr/bin:/bin"],
            folder: machine.folder, input: "")
        return try await command.wait(limit: 30).output
    }
}

/// Waits until a training run has written its first checkpoint.
func waitForCheckpoint(of name: String, _ machine: Incipit, _ command: RunningCommand) async throws {
    let path = machine.checkpoint(of: name)
    for _ in 0..<3000 where !FileManager.default.fileExists(atPath: path) {
        try #require(command.isRunning, "\(command.errors)")
        try await Task.sleep(for: .milliseconds(10))
    }
    try #require(FileManager.default.fileExists(atPath: path))
}

extension Incipit {
    /// Where the unfinished run of a name keeps its state.
    func checkpoint(of name: String) -> String {
        path("home/runs/\(name.replacing("/", with: "--"))/checkpoint.safetensors")
    }
}

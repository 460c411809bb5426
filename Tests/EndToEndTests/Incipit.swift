import Foundation
import Testing

/// What an ended command left behind.
struct Outcome: Sendable {
    /// The exit code; -1 when a signal ended the process.
    let status: Int32
    /// The signal that ended the process, if one did.
    let signal: Int32?
    let output: String
    let errors: String
    let seconds: Double

    /// The one sentence an error consists of; nil when there is none or more than one. ArgumentParser's usage lines
    /// below a usage error do not count, nor do progress lines.
    var sentence: String? {
        let lines = errors.split(separator: "\n").filter { line in
            !["Usage:", "Help:", " "].contains { line.hasPrefix($0) } && !line.contains("░") && !line.contains("█")
        }
        return lines.count == 1 ? String(lines[0]) : nil
    }

    /// Standard output as a JSON object.
    func object() throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
    }

    /// Standard output as a JSON array of objects.
    func objects() throws -> [[String: Any]] {
        try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [[String: Any]])
    }
}

/// One user's machine: a folder with its own `INCIPIT_HOME` and `INCIPIT_CACHE`, removed at the end.
///
/// Runs the built executable, which lies beside the test bundle; `INCIPIT_BINARY` names another.
final class Incipit: Sendable {
    let folder: URL
    private let ownsFolder: Bool

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString)")
        ownsFolder = true
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit {
        if ownsFolder { try? FileManager.default.removeItem(at: folder) }
    }

    var home: URL { folder.appending(path: "home") }

    /// A path in the machine's folder.
    func path(_ name: String) -> String { folder.appending(path: name).path }

    /// Writes a file into the machine's folder and returns its path.
    func write(_ name: String, _ bytes: Data) throws -> String {
        try bytes.write(to: folder.appending(path: name))
        return path(name)
    }

    static func executable() throws -> URL {
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["INCIPIT_BINARY"], !path.isEmpty { return URL(filePath: path) }
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let beside = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        let argument = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        let candidates = [
            beside, argument, root.appending(path: ".build/release"), root.appending(path: ".build/debug"),
        ]
        .map { $0.appending(path: "incipit") }
        let found = candidates.first { FileManager.default.isExecutableFile(atPath: $0.path) }
        return try #require(found, "build the executable first: swift build --product incipit")
    }

    /// Starts a command and returns while it runs.
    ///
    /// - Parameters:
    ///   - home: another data folder than the machine's own, by its name in `folder`.
    ///   - output: where standard output goes instead of the file that ``RunningCommand/output`` reads.
    func start(
        _ arguments: [String], input: String = "", home: String = "home", output: FileHandle? = nil
    ) throws -> RunningCommand {
        var environment = ProcessInfo.processInfo.environment
        for key in ["INCIPIT_DATA", "XDG_DATA_HOME", "XDG_CACHE_HOME", "REGISTRY_AUTH_FILE"] { environment[key] = nil }
        environment["HOME"] = path("user")
        environment["INCIPIT_HOME"] = path(home)
        environment["INCIPIT_CACHE"] = path("cache")
        return try RunningCommand(
            executable: Self.executable(), arguments: arguments, environment: environment, folder: folder, input: input,
            output: output)
    }

    /// Runs a command to its end; kills it and records an issue after `limit` seconds.
    func run(
        _ arguments: [String], input: String = "", home: String = "home", limit: Double = 60
    ) async throws -> Outcome {
        try await start(arguments, input: input, home: home).wait(limit: limit)
    }

    /// Runs a command that must succeed.
    @discardableResult
    func succeed(
        _ arguments: String..., input: String = "", home: String = "home",
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Outcome {
        let outcome = try await run(arguments, input: input, home: home)
        try #require(
            outcome.status == 0, "incipit \(arguments.joined(separator: " ")): \(outcome.errors)",
            sourceLocation: sourceLocation)
        return outcome
    }

    /// Every regular file below the data folder, by its path in there.
    func files(home: String = "home") -> Set<String> {
        let root = path(home)
        let found = FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String } ?? []
        return Set(
            found.filter { name in
                var isFolder: ObjCBool = false
                return FileManager.default.fileExists(atPath: root + "/" + name, isDirectory: &isFolder)
                    && !isFolder.boolValue
            })
    }
}

/// A command that runs: its output goes to files, so no pipe can fill up.
final class RunningCommand: Sendable {
    private let process = Process()
    private let outputFile: URL
    private let errorFile: URL
    private let started = ContinuousClock.now
    private let ending: AsyncStream<Void>

    init(
        executable: URL, arguments: [String], environment: [String: String], folder: URL, input: String,
        output: FileHandle? = nil
    ) throws {
        let id = UUID().uuidString
        outputFile = folder.appending(path: "\(id).out")
        errorFile = folder.appending(path: "\(id).err")
        let inputFile = folder.appending(path: "\(id).in")
        try Data(input.utf8).write(to: inputFile)
        for file in [outputFile, errorFile] { try Data().write(to: file) }
        process.executableURL = executable
        process.arguments = arguments
        process.environment = environment
        process.standardInput = try FileHandle(forReadingFrom: inputFile)
        process.standardOutput = try output ?? FileHandle(forWritingTo: outputFile)
        process.standardError = try FileHandle(forWritingTo: errorFile)
        let (stream, continuation) = AsyncStream<Void>.makeStream()
        ending = stream
        process.terminationHandler = { _ in continuation.finish() }
        try process.run()
    }

    var isRunning: Bool { process.isRunning }
    var output: String { text(outputFile) }
    var errors: String { text(errorFile) }

    /// Sends a signal to this process, and to no other.
    func send(_ signal: Int32) {
        if process.isRunning { kill(process.processIdentifier, signal) }
    }

    func wait(limit: Double = 60) async throws -> Outcome {
        let watchdog = Task {
            try await Task.sleep(for: .seconds(limit))
            Issue.record("still running after \(limit) s: \(self.process.arguments ?? [])")
            self.send(SIGKILL)
        }
        for await _ in ending {}
        watchdog.cancel()
        let bySignal = process.terminationReason == .uncaughtSignal
        let elapsed = ContinuousClock.now - started
        return Outcome(
            status: bySignal ? -1 : process.terminationStatus, signal: bySignal ? process.terminationStatus : nil,
            output: output, errors: errors,
            seconds: Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18)
    }

    private func text(_ file: URL) -> String {
        String(decoding: (try? Data(contentsOf: file)) ?? Data(), as: UTF8.self)
    }
}

/// A registry that serves a machine's data folder.
struct TestRegistry {
    let command: RunningCommand
    let port: Int

    var address: String { "127.0.0.1:\(port)" }

    init(_ machine: Incipit, home: String = "home") async throws {
        let portFile = machine.path("port-\(UUID().uuidString)")
        command = try machine.start(["serve", "--registry", "--port", "0", "--port-file", portFile], home: home)
        var found: Int?
        for _ in 0..<600 where found == nil {
            guard command.isRunning else { break }
            try await Task.sleep(for: .milliseconds(25))
            if let text = try? String(contentsOfFile: portFile, encoding: .utf8), text.hasSuffix("\n") {
                found = Int(text.dropLast())
            }
        }
        if found == nil { command.send(SIGKILL) }
        port = try #require(found, "the registry did not say its port: \(command.errors)")
    }

    /// Ends it as Ctrl-C would and waits.
    @discardableResult
    func stop() async throws -> Outcome {
        command.send(SIGTERM)
        return try await command.wait(limit: 20)
    }

    /// Ends it as a power cut would and waits.
    func crash() async throws {
        command.send(SIGKILL)
        _ = try await command.wait(limit: 20)
    }
}

/// Runs a body against a registry on a machine's data folder and ends the registry whatever happens.
func withRegistry<R>(
    _ machine: Incipit, home: String = "home", _ body: (TestRegistry) async throws -> R
) async throws -> R {
    let registry = try await TestRegistry(machine, home: home)
    do {
        let result = try await body(registry)
        try await registry.stop()
        return result
    } catch {
        try await registry.crash()
        throw error
    }
}

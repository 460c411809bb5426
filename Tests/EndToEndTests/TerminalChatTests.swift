import Foundation
import Testing

/// The chat's line editor on a terminal: a pseudo terminal whose other end this test types at.
@Suite("The chat on a terminal")
struct TerminalChatTests {
    private final class Terminal {
        private let main: Int32
        private let process = Process()
        private var seen: [UInt8] = []

        init(_ arguments: [String], folder: URL) throws {
            main = open("/dev/ptmx", O_RDWR | O_NOCTTY)
            // Linux's own calls for what unlockpt and ptsname do, which Glibc does not show to Swift.
            var (locked, number): (Int32, UInt32) = (0, 0)
            try #require(main >= 0 && ioctl(main, 0x4004_5431, &locked) == 0 && ioctl(main, 0x8004_5430, &number) == 0)
            let name = "/dev/pts/\(number)"
            let end = try #require(FileHandle(forUpdatingAtPath: name))
            process.executableURL = try Incipit.executable()
            process.arguments = arguments
            process.environment = [
                "INCIPIT_HOME": folder.appending(path: "home").path,
                "INCIPIT_CACHE": folder.appending(path: "cache").path,
                "HOME": folder.path, "TERM": "xterm",
            ]
            process.standardInput = end
            process.standardOutput = end
            process.standardError = end
            try process.run()
            _ = fcntl(main, F_SETFL, O_NONBLOCK)
        }

        deinit {
            if process.isRunning { process.terminate() }
            close(main)
        }

        func type(_ text: String) {
            let bytes = Array(text.utf8)
            _ = write(main, bytes, bytes.count)
        }

        /// Reads until a text has come since the last call; false after three minutes.
        func waits(for text: String) async throws -> Bool {
            let end = ContinuousClock.now + .seconds(180)
            var buffer = [UInt8](repeating: 0, count: 4096)
            while ContinuousClock.now < end {
                let count = read(main, &buffer, buffer.count)
                if count > 0 { seen += buffer[..<count] }
                if let range = Data(seen).range(of: Data(text.utf8)) {
                    seen.removeFirst(range.upperBound)
                    return true
                }
                try await Task.sleep(for: .milliseconds(10))
            }
            return false
        }

        func exitCode() async throws -> Int32 {
            for _ in 0..<6000 where process.isRunning { try await Task.sleep(for: .milliseconds(10)) }
            return process.isRunning ? -1 : process.terminationStatus
        }
    }

    @Test("lines can be edited, recalled and given up; Ctrl-D ends")
    func edits() async throws {
        let machine = try Incipit()
        let saved = machine.path("talk.json")
        let terminal = try Terminal(["chat", TinyTask.model, "--max-tokens", "4"], folder: machine.folder)
        #expect(try await terminal.waits(for: "> "))
        // Backspace takes whole characters, arrows move between them, Ctrl-U, Ctrl-A and Ctrl-E do as in a shell.
        terminal.type("nonsense\u{15}The réd 中😀\u{7F}\u{7F}\u{1B}[D\u{1B}[DX\u{05}Y\u{01}Z\r")
        #expect(try await terminal.waits(for: "ZThe réXd Y"))
        #expect(try await terminal.waits(for: "\u{1B}[K> "))
        terminal.type("given up\u{03}")
        #expect(try await terminal.waits(for: "^C"))
        terminal.type("\u{1B}[A")
        #expect(try await terminal.waits(for: "ZThe réXd Y"))
        terminal.type("\u{15}/save \(saved)\r")
        #expect(try await terminal.waits(for: "\u{1B}[K> "))
        terminal.type("/frobnicate\r")
        #expect(try await terminal.waits(for: "/help lists them"))
        terminal.type("\u{04}")
        #expect(try await terminal.exitCode() == 0)
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: saved))) as? [String: Any])
        let messages = try #require(object["messages"] as? [[String: String]])
        #expect(messages.count == 2 && messages[0]["content"] == "ZThe réXd Y")
    }
}

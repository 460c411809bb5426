import Fixtures
import Foundation
import Testing

@testable import FuzzHarness

/// Every input that once broke a reader, or is of the kind that does, is read again: an error or a value, no crash.
///
/// One after another: a process has one folder for the files of inputs.
@Suite(.serialized) struct MalformedTests {
    struct Input: Sendable, CustomTestStringConvertible {
        let target: String
        let file: URL
        var testDescription: String { "\(target)/\(file.lastPathComponent)" }
    }

    static let inputs: [Input] = FuzzTarget.all.flatMap { target in
        let folder = Fixtures.url("Malformed/\(target.name)")
        let files = try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        return (files ?? []).filter { !$0.lastPathComponent.hasPrefix(".") }
            .sorted { $0.path < $1.path }.map { Input(target: target.name, file: $0) }
    }

    @Test("Every folder of Fixtures/Malformed belongs to a target, and every target has one") func foldersMatch() throws
    {
        let folders = try FileManager.default.contentsOfDirectory(atPath: Fixtures.url("Malformed").path)
        #expect(Set(folders.filter { !$0.hasPrefix(".") }) == Set(FuzzTarget.all.map(\.name)))
        #expect(Set(Self.inputs.map(\.target)) == Set(FuzzTarget.all.map(\.name)))
    }

    @Test("A malformed file is read without a crash", arguments: inputs) func isRead(_ input: Input) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == input.target })
        target.run(Array(try Data(contentsOf: input.file)))
    }

    @Test("A malformed file cut short anywhere is read without a crash", arguments: inputs)
    func isReadInPart(_ input: Input) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == input.target })
        let bytes = Array(try Data(contentsOf: input.file))
        for count in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 64)) {
            target.run(Array(bytes.prefix(count)))
        }
    }
}

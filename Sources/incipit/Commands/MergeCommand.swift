import ArgumentParser
import Foundation
import GGUF

struct MergeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge", abstract: "Join the parts of a split GGUF model into one file.",
        discussion: """
            Give the first part; the others are found beside it. Tensors and metadata are those of the model before it \
            was split, byte for byte; the keys that number parts are dropped. An existing file is never overwritten.

              incipit merge model-00001-of-00003.gguf model.gguf

            Pieces that were cut without regard to their content (*.gguf.part1of2) are joined with cat instead.
            """)

    @Argument(help: "The first part, …-00001-of-0000N.gguf.", completion: .file(extensions: ["gguf"]))
    var first: String
    @Argument(help: "File to write.", completion: .file(extensions: ["gguf"])) var output: String
    @Flag(help: "Show what would be written and write nothing.") var dryRun = false
    @Flag(help: "Print JSON.") var json = false

    private struct Report: Encodable {
        let path: String
        let parts: [String]
        let tensors, bytes: Int
        let written: Bool
    }

    func run() throws {
        let file = try GGUFFile(path: first)
        guard file.parts.count > 1 else {
            throw CommandFailure(
                .usage, "\(first): this is a whole model, not a part of one; there is nothing to merge")
        }
        let writer = try GGUFWriter(copying: file)
        if !dryRun {
            try ByteProgress.writing(total: writer.fileByteCount) {
                try writer.write(to: output, existing: .refuse, shouldContinue: $0)
            }
        }
        if json {
            return try Output.json(
                Report(
                    path: output, parts: file.parts.map(\.file.path), tensors: file.tensors.count,
                    bytes: writer.fileByteCount, written: !dryRun))
        }
        Output.line(
            "\(output)  \(file.tensors.count) tensors, \(Output.bytes(writer.fileByteCount)), from \(file.parts.count) parts"
        )
        if dryRun { Output.note("nothing was written (--dry-run)") }
    }
}

import ArgumentParser
import ByteIO
import Foundation
import GGUF

struct SplitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "split", abstract: "Cut a GGUF model into parts that are read as one.",
        discussion: """
            Writes PREFIX-00001-of-0000N.gguf and so on. Whoever opens the first part gets the whole model: incipit, \
            llama.cpp and everything built on it. A model that is in parts already is cut anew.

              incipit split model.gguf model --max-size 2G
              incipit split model.gguf model --max-tensors 128 --no-tensor-first-split

            --max-size counts a part's whole file, in powers of 1000 (500M, 2G) or 1024 (2GiB); a tensor that is larger \
            gets a part of its own. With --no-tensor-first-split the first part has only the metadata, so that a model \
            can be looked at by fetching a few megabytes. Existing files are never overwritten, and no part appears \
            before all are written. incipit merge joins them again.
            """)

    @Argument(help: "GGUF file, or the first part of a split one.", completion: .file(extensions: ["gguf"]))
    var model: String
    @Argument(help: "What the parts' names begin with; may name another folder.") var prefix: String
    @Option(help: "Most bytes in a part: 500M, 2G, 2GiB.") var maxSize: ByteCount?
    @Option(help: "Most tensors in a part.") var maxTensors: Int?
    @Flag(help: "Put only the metadata into the first part.") var noTensorFirstSplit = false
    @Flag(help: "Show the parts and write nothing.") var dryRun = false
    @Flag(help: "Print JSON.") var json = false

    private struct Report: Encodable {
        struct Part: Encodable {
            let path: String
            let tensors, bytes: Int
        }
        let parts: [Part]
        let written: Bool
    }

    func validate() throws {
        if let maxTensors, maxTensors < 1 { throw ValidationError("--max-tensors must be at least 1.") }
        if maxSize == nil, maxTensors == nil {
            throw ValidationError("Say how large a part may be: --max-size 2G, --max-tensors 128, or both.")
        }
    }

    func run() throws {
        let file = try GGUFFile(path: model)
        let writer = try GGUFWriter(copying: file)
        let limits = GGUFWriter.PartLimits(
            tensorCount: maxTensors, byteCount: maxSize?.count, firstPartWithoutTensors: noTensorFirstSplit)
        let base = prefix.hasSuffix(".gguf") ? String(prefix.dropLast(5)) : prefix
        let plan = try writer.plan(prefix: base, limits: limits)
        guard plan.count > 1 else {
            throw CommandFailure(
                .usage,
                "\(model): \(file.tensors.count) tensors in \(Output.bytes(writer.fileByteCount)) fit into one part under "
                    + "these limits; there is nothing to split")
        }
        if !dryRun {
            let total = plan.reduce(0) { $0 + $1.byteCount }
            try ByteProgress.writing(total: total) {
                try writer.writeParts(prefix: base, limits: limits, shouldContinue: $0)
            }
        }
        if json {
            return try Output.json(
                Report(
                    parts: plan.map { .init(path: $0.path, tensors: $0.tensorCount, bytes: $0.byteCount) },
                    written: !dryRun))
        }
        Output.line(
            Output.table(
                ["part", "tensors", "size"], plan.map { [$0.path, "\($0.tensorCount)", Output.bytes($0.byteCount)] }))
        if let limit = maxSize?.count, let large = plan.first(where: { $0.byteCount > limit }) {
            Output.note("note: \(large.path) is larger than --max-size because a tensor cannot be cut")
        }
        if dryRun { Output.note("nothing was written (--dry-run)") }
    }
}

/// A size on the command line: "500M" and "2G" in powers of 1000, "2GiB" in powers of 1024.
struct ByteCount: ExpressibleByArgument {
    let count: Int

    init?(argument: String) {
        guard let match = argument.wholeMatch(of: /(\d+(?:\.\d+)?)\s*([KMGT]?)(iB|B)?/.ignoresCase()),
            let number = Double(match.1)
        else { return nil }
        let step: Double = match.3?.lowercased() == "ib" ? 1024 : 1000
        let power = ["": 0, "K": 1, "M": 2, "G": 3, "T": 4][match.2.uppercased()] ?? 0
        guard let count = Int(exactly: (number * pow(step, Double(power))).rounded()), count > 0 else { return nil }
        self.count = count
    }
}

import ArgumentParser
import ByteIO
import Conversion
import Foundation
import Kernels
import LanguageModels

struct ImatrixCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "imatrix",
        abstract: "Compute an importance matrix: which columns of a model's weights meet large activations.",
        discussion: """
            `incipit quantize --imatrix` rounds such columns with more care; below 4 bits a weight this helps much. Take \
            text like what the model will be used for, some hundred stretches of it, and the model in as many bits as you \
            can.

              incipit imatrix model-f16.gguf text.txt -o imatrix.gguf
              incipit imatrix --show imatrix.gguf                           statistics
              incipit imatrix --merge a.gguf b.dat -o both.gguf             of several texts; legacy files too

            The file has the form of llama-imatrix (GGUF), and both read each other's. While it works, the perplexity over \
            the text so far is shown: a value in the hundreds says that text and model do not belong together.
            """)

    @Argument(help: "Model and text; with --show one matrix; with --merge two or more.", completion: .file())
    var files: [String]
    @Option(name: [.short, .long], help: "The file to write.", completion: .file(extensions: ["gguf"]))
    var output: String?
    @Option(help: "Tokens in a stretch of text.") var context = 512
    @Option(help: "At most this many stretches (default: the whole text).") var chunks: Int?
    @Flag(help: "Measure output.weight, too.") var processOutput = false
    @Flag(help: "Show what a matrix holds.") var show = false
    @Flag(help: "Add matrices up.") var merge = false
    @Option(help: "Threads to compute with (default: the cores this process may use).") var threads: Int?
    @Flag(help: "Replace the output if it exists.") var force = false
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
        if show && merge { throw ValidationError("--show and --merge exclude each other.") }
        if show, files.count != 1 { throw ValidationError("--show takes one importance matrix.") }
        if merge, files.count < 2 { throw ValidationError("--merge takes two or more importance matrices.") }
        if !show && !merge, files.count != 2 { throw ValidationError("Name a model and a text file.") }
        if !show, output == nil { throw ValidationError("Name the file to write with --output (-o).") }
        guard (8...1 << 20).contains(context) else {
            throw ValidationError("--context must lie in 8…1048576, not \(context).")
        }
        if let chunks, chunks < 1 { throw ValidationError("--chunks must be at least 1, not \(chunks).") }
        if let threads, threads < 1 || threads > 1024 {
            throw ValidationError("--threads must lie in 1…1024, not \(threads).")
        }
    }

    func run() throws {
        if show { return try describe(ImportanceMatrix(path: files[0])) }
        let output = output ?? ""
        if !force, FileManager.default.fileExists(atPath: output) {
            throw CommandFailure(.unavailable, "\(output) exists; choose another name, or replace it with --force")
        }
        if merge {
            var sum = try ImportanceMatrix(path: files[0]).withTokenCounts(chunkSize: context)
            for file in files.dropFirst() {
                try sum.merge(try ImportanceMatrix(path: file).withTokenCounts(chunkSize: context))
            }
            try sum.write(to: output)
            return try describe(sum)
        }
        let text = try MappedFile(path: files[1])
        guard text.count <= 1 << 30, let content = String(validating: text.copyBytes(), as: UTF8.self) else {
            throw CommandFailure(.data, "\(files[1]): this is no UTF-8 text of at most 1 GiB")
        }
        let pool = ThreadPool(threadCount: threads ?? CPUTopology.usableCoreCount)
        let loaded = try ModelLoader.load(path: files[0], pool: pool)
        var computation = ImportanceComputation()
        computation.chunkSize = context
        computation.chunkLimit = chunks
        computation.includesOutput = processOutput
        Interrupt.listen()
        let progress = ByteProgress("reading")
        let matrix = try computation.run(loaded, text: content, dataset: (files[1] as NSString).lastPathComponent) {
            try progress.count($0.chunk, of: $0.chunkCount, String(format: "perplexity %.2f", $0.perplexity))
        }
        progress.finish()
        try matrix.write(to: output)
        try describe(matrix)
    }

    private struct Report: Encodable {
        struct Row: Encodable {
            let name: String
            let columns, matrices, unreached: Int
            let count: Float
            let sum, mean, deviation, least, greatest, active, entropy, evenness: Double
        }
        let datasets: [String]
        let chunks, chunkSize: Int
        let tensors: [Row]
    }

    private func describe(_ matrix: ImportanceMatrix) throws {
        let rows = matrix.statistics
        if json {
            return try Output.json(
                Report(
                    datasets: matrix.datasets, chunks: matrix.chunkCount, chunkSize: matrix.chunkSize,
                    tensors: rows.map {
                        .init(
                            name: $0.name, columns: $0.columns, matrices: $0.matrices, unreached: $0.unreached,
                            count: $0.count, sum: $0.sum, mean: $0.mean, deviation: $0.deviation, least: $0.least,
                            greatest: $0.greatest, active: $0.active, entropy: $0.entropy, evenness: $0.evenness)
                    }))
        }
        func number(_ value: Double) -> String { String(format: "%.4g", value) }
        if show {
            Output.line(
                Output.table(
                    ["tensor", "columns", "mean", "deviation", "least", "greatest", "active", "evenness", "unreached"],
                    rows.map { row in
                        [
                            row.name, row.matrices > 1 ? "\(row.columns)×\(row.matrices)" : "\(row.columns)",
                            number(row.mean), number(row.deviation), number(row.least), number(row.greatest),
                            Output.percent(row.active), String(format: "%.3f", row.evenness),
                            row.unreached == 0 ? "" : "\(row.unreached)",
                        ]
                    }))
            Output.line()
        }
        let unreached = rows.filter { $0.unreached > 0 }
        if let first = unreached.first {
            Output.note(
                "warning: \(unreached.count) tensors have experts that no token reached, such as \(first.name); their columns "
                    + "weigh alike")
        }
        Output.line(
            "\(output.map { "wrote \($0): " } ?? "")\(rows.count) tensors, \(matrix.chunkCount) stretches of "
                + "\(matrix.chunkSize) tokens, from \(matrix.datasets.joined(separator: ", "))")
    }
}

import ArgumentParser
import Foundation
import Generation
import LanguageModels
import Tokenization

struct EmbedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "embed", abstract: "Turn texts into vectors.",
        discussion: """
            A vector is made of the states behind the model's last norm: their mean, or that of the last or first token \
            (--pooling). It has length 1 unless --no-normalize is given, so that a dot product is the cosine.

              incipit embed MODEL "a text" "another text" --similarity
              incipit embed MODEL --lines texts.txt > vectors.jsonl

            Each text gives one line, a JSON list of numbers; with --pooling none one line for each token. --json prints one \
            object with the texts' lengths.
            """)

    @OptionGroup var options: ModelOptions
    @Argument(help: "Texts; none reads standard input as one.") var texts: [String] = []
    @Option(help: "Each line of this file is a text; “-” is standard input.", completion: .file()) var lines: String?
    @Option(help: "mean, last, cls (first token) or none.") var pooling = Pooling.mean
    @Flag(inversion: .prefixedNo, help: "Scale vectors to length 1.") var normalize = true
    @Flag(help: "Print the cosine of each pair of texts instead of the vectors.") var similarity = false
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws {
        if lines != nil, !texts.isEmpty { throw ValidationError("Give texts or --lines, not both.") }
        if similarity, pooling == .none {
            throw ValidationError("--similarity needs one vector a text, not --pooling none.")
        }
        if similarity, json { throw ValidationError("Choose one of --similarity and --json.") }
    }

    private struct Report: Encodable {
        struct Entry: Encodable {
            let tokens: Int
            let embeddings: [[Float]]
        }
        let model, pooling: String
        let dimension: Int
        let normalized: Bool
        let texts: [Entry]
    }

    func run() throws {
        let inputs = try read()
        let loaded = try options.load()
        let ids = try inputs.enumerated().map { index, text in
            let ids = loaded.tokenizer.encode(text, parseSpecial: false, addSpecial: true)
            guard !ids.isEmpty else {
                throw CommandFailure(.data, "text \(index + 1) is empty, and an empty text has no embedding")
            }
            guard ids.count < loaded.model.shape.contextLength else {
                throw CommandFailure(
                    .data,
                    "text \(index + 1) has \(ids.count) tokens; this model's context holds "
                        + "\(loaded.model.shape.contextLength - 1)")
            }
            return ids
        }
        let embedder = try Embedder(model: loaded.model)
        let line = ProgressLine()
        var entries: [[[Float]]] = []
        for (index, tokens) in ids.enumerated() {
            entries.append(
                try embedder.vectors(tokens, pooling: pooling, normalizes: normalize || similarity))
            line.update("\(index + 1)/\(ids.count) texts")
        }
        line.finish()
        if json {
            return try Output.json(
                Report(
                    model: options.model, pooling: pooling.rawValue, dimension: loaded.model.shape.hiddenSize,
                    normalized: normalize,
                    texts: zip(ids, entries).map { Report.Entry(tokens: $0.count, embeddings: $1) }))
        }
        if similarity { return showSimilarity(entries.map { $0[0] }) }
        let encoder = JSONEncoder()
        for vector in entries.joined() {
            Output.line(String(decoding: try encoder.encode(vector), as: UTF8.self))
        }
    }

    private func showSimilarity(_ vectors: [[Float]]) {
        let rows = vectors.enumerated().map { index, a in
            ["\(index + 1)"]
                + vectors.map { b in
                    String(format: "%.4f", zip(a, b).reduce(0.0) { $0 + Double($1.0) * Double($1.1) })
                }
        }
        Output.line(Output.table(["text"] + vectors.indices.map { "\($0 + 1)" }, rows))
    }

    private func read() throws -> [String] {
        if let lines {
            let found = try TextFile.read(lines).split(whereSeparator: \.isNewline).map(String.init)
            guard !found.isEmpty else { throw CommandFailure(.data, "\(lines) has no lines") }
            return found
        }
        if !texts.isEmpty { return texts }
        let text = try TextFile.read("-")
        return [text.hasSuffix("\n") ? String(text.dropLast()) : text]
    }
}

extension Pooling: ExpressibleByArgument {}

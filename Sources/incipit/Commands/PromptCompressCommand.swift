import ArgumentParser
import Evaluation
import Foundation
import Generation
import Kernels
import LanguageModels
import OCIArtifacts
import PromptRegistry
import PromptTuning
import Safetensors
import SoftPrompts

struct PromptCompressCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compress", abstract: "Show what storing a prompt less exactly saves and costs; store it so.",
        discussion: """
            Shows for each type (F32, BF16, F16, and I8 with a scale for each token or head) the bytes of the file and at \
            rest, and how far values move. With the base model it also measures what matters: the mean KL divergence \
            (in nats a token) of the model's predictions on probe texts from those with the exact prompt; and with --data \
            the score on labelled rows, as incipit eval gives it, with the rows whose answer becomes wrong and those whose \
            answer becomes right. For keys and values it then looks for a mixture, MIXED: the keys and the values of a \
            layer each get a type of their own, I8 where the model minds least. --store stores what takes least within \
            --limit and --max-score-loss as the next version, with the old one as its parent.

              incipit prompt compress team/task:v3
              incipit prompt compress team/task:v3 --base model.gguf --probe texts.txt --store
              incipit prompt compress team/task:v3 --base model.gguf --data task.jsonl --split dev --max-score-loss 0.5

            Few rows say little: with 200, one answer is half a point. Choose on dev and report on test.

            PEFT reads F32, BF16 and F16. Of I8 and MIXED, incipit prompt export gives it the values in F32.
            """)

    @Argument(help: "NAME, NAME:TAG or NAME@DIGEST.") var reference: String
    @Option(help: "The base model, to measure divergence with.", completion: .file(extensions: ["gguf"])) var base:
        String?
    @Option(help: "A text file, one probe a line (default: a few general sentences).", completion: .file())
    var probe: String?
    @Option(help: "The most divergence to accept, in nats a token.") var limit = 0.001
    @Option(help: "Labelled data to score each form on: a file, or a name found in $INCIPIT_DATA.") var data: String?
    @Option(help: "Score on train, dev or test.") var split = DatasetSplit.test
    @Option(help: "Score this many rows only.") var rows: Int?
    @Option(help: "How a row becomes text; {input} stands for its input (default: as in the prompt's training).")
    var template: String?
    @Option(help: "The most score to lose, in percentage points (default with --data: 1).") var maxScoreLoss: Double?
    @Flag(help: "Store what takes least within the limits as the next version.") var store = false
    @Flag(help: "Give all parts one type: look for no mixture.") var uniform = false
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
        try Optional(limit).checked("--limit", in: 0...100)
        try maxScoreLoss.checked("--max-score-loss", in: 0...100)
        if data != nil, base == nil { throw ValidationError("--data needs --base: the model that answers.") }
        if data == nil, maxScoreLoss != nil || rows != nil {
            throw ValidationError("--max-score-loss and --rows go with --data: the labelled rows to score.")
        }
        if let rows, rows < 1 { throw ValidationError("--rows must be at least 1, not \(rows).") }
        if store, base == nil {
            throw ValidationError("--store needs --base: nothing is stored less exactly unmeasured.")
        }
    }

    func run() async throws {
        let target = try PromptStore.localReference(reference)
        let registry = try PromptStore().registry
        let loaded = try await registry.load(target.reference ?? .tag(.latest), of: target.repository)
        let gate = try await gate(for: loaded.prompt)
        let limits = PromptCompression.Limits(
            divergence: limit, scoreLossPoints: data == nil ? nil : maxScoreLoss ?? 1)
        var candidates = try await PromptCompression.measure(loaded.prompt, gate: gate)
        if let gate, !uniform {
            let line = ProgressLine()
            defer { line.finish() }
            let mixture = try await PromptCompression.mixture(
                loaded.prompt, uniform: candidates, limits: limits, gate: gate,
                progress: { done, expected in
                    line.update("\(ProgressLine.bar(Double(done) / Double(expected))) mixtures measured")
                })
            if let mixture { candidates.append(mixture) }
        }
        let rows = candidates.map(\.row)
        if json { try Output.json(rows) } else { show(rows) }
        guard store, let choice = PromptCompression.choice(candidates, limits: limits) else { return }
        guard choice.encoding.uniformType == nil || choice.row.type != loaded.record.dtype else {
            return Output.note(
                "\(choice.row.type), which it is stored as, takes least within the limits: nothing to do")
        }
        var annotations = loaded.record.annotations.filter {
            $0.key == AnnotationKey.task || $0.key.hasPrefix(AnnotationKey.labelPrefix)
        }
        annotations["dev.incipit.compression.kl"] = choice.row.divergence.map { String(format: "%.3g", $0) }
        annotations["dev.incipit.compression.score-loss"] = choice.row.scoreLossPoints.map {
            String(format: "%.3g", $0)
        }
        let receipt = try await registry.store(
            loaded.prompt, name: target.repository, encoding: choice.encoding, parent: loaded.record.digest,
            metrics: loaded.record.metrics, annotations: annotations)
        Output.note("stored as \(target.repository):\(receipt.tag) in \(choice.row.type)")
    }

    private func show(_ rows: [CompressionRow]) {
        let exact = Double(rows.first { $0.type == "F32" }?.fileBytes ?? 1)
        let isScored = rows.contains { $0.score != nil }
        let titles = ["type", "file", "at rest", "of F32", "rel. error", "max. error", "KL"]
        Output.line(
            Output.table(
                titles + (isScored ? ["score", "points lost", "rows lost", "rows gained"] : []),
                rows.map { row in
                    var cells = [
                        row.type, String(row.fileBytes), String(row.storedBytes),
                        String(format: "%.3f", Double(row.storedBytes) / exact),
                        String(format: "%.2e", row.relativeError), String(format: "%.2e", row.largestError),
                        row.divergence.map { String(format: "%.2e", $0) } ?? "–",
                    ]
                    if isScored {
                        cells.append(row.score.map(Output.percent) ?? "–")
                        cells.append(row.scoreLossPoints.map { String(format: "%.2f", $0) } ?? "–")
                        cells += [row.rowsLost, row.rowsGained].map { $0.map(String.init) ?? "–" }
                    }
                    return cells
                }))
        for row in rows {
            guard let parts = row.parts else { continue }
            let finer = parts.filter { $0.value != "I8" }
            let names = finer.keys.sorted { $0.localizedStandardCompare($1) == .orderedAscending }
            Output.line(
                "\(row.type): I8 for \(parts.count - finer.count) of \(parts.count) parts, \(finer.values.first ?? "") for "
                    + names.joined(separator: ", "))
        }
    }

    /// What measures the forms: the base model on probes, and on labelled rows if there are any.
    private func gate(for prompt: SoftPrompt) async throws -> PromptCompression.Gate? {
        guard let base else { return nil }
        // Whatever is wrong with the data is said before a model is loaded.
        let labelled = try data.map { try LabelledRows($0, split: split, limit: rows, home: Home()) }
        let template = try ExampleTemplate(
            prompt: template ?? prompt.trainingTemplate ?? ExampleTemplate.standard.prompt)
        let divergence = try DivergenceGate(model: base, prompt: prompt, probes: try probes())
        let scoring = labelled.map { labelled in
            DevScoring(
                model: divergence.loaded.model, tokenizer: divergence.loaded.tokenizer, examples: labelled.rows,
                labels: labelled.labels, template: template)
        }
        let line = ProgressLine()
        defer { line.finish() }
        var outcomes: ((SoftPrompt) async throws -> [Bool])?
        if let scoring {
            line.update("scoring \(labelled?.rows.count ?? 0) rows with the exact prompt")
            outcomes = { changed in
                let attachment = try PromptAttachment(changed, shape: divergence.loaded.model.shape)
                return try scoring.outcomes(attachment).map { $0 == 1 }
            }
        }
        return try await PromptCompression.Gate(
            prompt, divergence: { try divergence.divergence(of: $0) }, outcomes: outcomes)
    }

    private func probes() throws -> [String] {
        guard let probe else { return Self.generalProbes }
        guard let data = FileManager.default.contents(atPath: probe) else {
            throw CommandFailure(.notFound, "there is no file \(probe)")
        }
        let lines = String(decoding: data, as: UTF8.self).split(whereSeparator: \.isNewline).map(String.init)
        guard !lines.isEmpty else { throw CommandFailure(.data, "\(probe) has no lines") }
        return Array(lines.prefix(200))
    }

    private static let generalProbes = [
        "The committee will meet on Tuesday to decide whether the bridge can be opened to traffic.",
        "Water expands when it freezes, which is why pipes burst in cold winters.",
        "She had read the letter twice before she understood what her brother wanted.",
        "Prices rose by two per cent last year, less than most economists had expected.",
        "To make the dough, mix flour, salt and yeast, then add lukewarm water.",
        "I waited an hour for the food, and when it came it was cold.",
    ]
}

/// Compares a model's predictions under two forms of one prompt.
private final class DivergenceGate {
    let loaded: LoadedModel
    private let probes: [[Int]]
    /// Log-probabilities with the exact prompt, a row for each position of each probe.
    private var expected: [[Float]] = []
    private let vocabulary: Int
    private static let longestProbe = 128

    init(model path: String, prompt: SoftPrompt, probes: [String]) throws {
        let model = try ModelLoader.load(path: path, pool: ThreadPool(threadCount: CPUTopology.usableCoreCount))
        loaded = model
        let fingerprint = try model.fingerprint(cache: Home().cache)
        guard fingerprint.base.fingerprint == prompt.base.fingerprint else {
            throw CommandFailure(
                .wrongBase,
                "\(path) is not the base that the prompt was trained on (\(prompt.baseName), \(prompt.base.fingerprint))"
            )
        }
        vocabulary = model.model.shape.vocabularySize
        self.probes = probes.map {
            Array(model.tokenizer.encode($0, parseSpecial: false, addSpecial: true).prefix(Self.longestProbe))
        }.filter { !$0.isEmpty }
        expected = try logProbabilities(prompt)
    }

    private func logProbabilities(_ prompt: SoftPrompt) throws -> [[Float]] {
        let session = try Session(
            model: loaded.model, attachment: try PromptAttachment(prompt, shape: loaded.model.shape), cacheElement: .f32
        )
        var rows: [[Float]] = []
        for tokens in probes {
            session.reset()
            let logits = try session.append(tokens, logitCount: tokens.count)
            for position in 0..<tokens.count {
                let row = logits[(position * vocabulary)..<((position + 1) * vocabulary)]
                let top = row.max() ?? 0
                let total = row.reduce(0.0) { $0 + Double(Foundation.exp($1 - top)) }
                let shift = top + Float(Foundation.log(total))
                rows.append(row.map { $0 - shift })
            }
        }
        return rows
    }

    /// Mean over all positions of KL(exact ‖ changed), in nats.
    func divergence(of prompt: SoftPrompt) throws -> Double {
        var sum = 0.0
        for (p, q) in zip(expected, try logProbabilities(prompt)) {
            var row = 0.0
            for index in p.indices { row += Double(Foundation.exp(p[index])) * Double(p[index] - q[index]) }
            // Rounding alone can make it negative by a hair.
            sum += max(0, row)
        }
        return sum / Double(max(1, expected.count))
    }
}

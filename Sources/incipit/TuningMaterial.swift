import ByteIO
import ChatTemplates
import Evaluation
import Foundation
import Generation
import LanguageModels
import OCIArtifacts
import PromptTuning
import SoftPrompts

/// The files a tuning run learns from, and what they make of a configuration.
struct TuningMaterial {
    let main: TrainingFile
    let others: [(file: TrainingFile, weight: Double)]
    /// What tells this material from another: digests of the files and the settings that read them.
    let identity: [String: String]
    private let command: TuneCommand

    init(_ command: TuneCommand, home: Home) throws {
        self.command = command
        let format = try RowFormat(input: command.inputTemplate, target: command.targetField)
        let path = try DataSource.path(for: command.data, home: home)
        main = try TrainingFile(path: path, format: format)
        var identity = ["data": try Self.digest(ofFile: path)]
        if format != .standard { identity["fields"] = "\(format.input) → \(format.target)" }
        others = try command.mix.map { text in
            guard let equals = text.lastIndex(of: "="), let weight = Double(text[text.index(after: equals)...]),
                weight > 0, weight.isFinite
            else {
                throw CommandFailure(
                    .usage, "--mix “\(text)” must be FILE=WEIGHT with a positive weight, as in more.jsonl=0.5")
            }
            let path = try DataSource.path(for: String(text[..<equals]), home: home)
            identity["mix \(path)"] = "\(weight) \(try Self.digest(ofFile: path))"
            return (try TrainingFile(path: path, format: format), weight)
        }
        if command.restrictLabels { identity["labels"] = "restricted" }
        identity["text"] = "\(command.stretch) \(command.beta)"
        self.identity = identity
    }

    /// The main data where it is labelled rows.
    var labelled: Dataset? {
        if case .labelled(let dataset) = main.content { return dataset }
        return nil
    }

    /// The hand-written prompt that a run begins with when none was given.
    func defaultText(method: any TuningMethod.Type) throws -> String {
        switch main.content {
        case .labelled(let dataset):
            let instruction = HandWrittenPrompt.defaultInstruction(labels: dataset.labels)
            guard method == ContextAwarePromptTuning.self else { return instruction }
            let solved = HandWrittenPrompt.examples(from: dataset[.train], labels: dataset.labels, perLabel: 1)
            return HandWrittenPrompt.fewShot(instruction: instruction, examples: solved)
                .text(template: try ExampleTemplate(prompt: command.template))
        case .chats, .preferences: return "You are a helpful assistant. Answer as well as you can."
        case .texts(let texts):
            // The beginning of the text: its own words, as far as 32 virtual tokens may take them.
            return String((texts[.train]?.first ?? "The text goes on.").prefix(160))
        }
    }

    func objectives(
        _ loaded: LoadedModel, graph: any DifferentiableModel, configuration: TuningConfiguration,
        method: any TuningMethod.Type, initial: [Float]
    ) throws -> ObjectiveMixture {
        let layer = others.isEmpty ? method.firstTrainedLayer(shape: loaded.model.shape) : 0
        var parts: [ObjectiveMixture.Part] = []
        for (file, weight) in [(main, 1.0)] + others.map({ ($0.file, $0.weight) }) {
            var objective = try self.objective(file, .train, loaded, graph, configuration)
            if layer > 0, let supervised = objective as? SupervisedObjective {
                objective = try CachedActivations.over(
                    supervised, graph: graph, prefix: initial, tokens: configuration.tokens, layer: layer)
            }
            parts.append(.init(objective, weight: weight))
        }
        return try ObjectiveMixture(parts, seed: configuration.seed)
    }

    func objective(
        _ file: TrainingFile, _ split: DatasetSplit, _ loaded: LoadedModel, _ graph: any DifferentiableModel,
        _ configuration: TuningConfiguration
    ) throws -> any Objective {
        var labels: [String] = []
        if command.restrictLabels {
            guard case .labelled(let dataset) = file.content, !dataset.labels.isEmpty else {
                throw CommandFailure(
                    .usage, "--restrict-labels needs rows with few different targets; \(file.path) has none")
            }
            labels = dataset.labels
        }
        return try file.objective(
            split: split,
            encoder: ExampleEncoder(
                tokenizer: loaded.tokenizer, template: try ExampleTemplate(prompt: configuration.template),
                learnsEnd: configuration.learnsEnd),
            chat: try ChatTemplateSource.encoder(loaded), tokenizer: loaded.tokenizer, graph: graph,
            configuration: configuration, labels: labels, stretch: command.stretch, beta: command.beta)
    }

    /// SHA-256 of a file, as registries write it.
    private static func digest(ofFile path: String) throws -> String {
        let file = try MappedFile(path: path)
        var hasher = DigestHasher(algorithm: .sha256)
        hasher.update(file.unsafeBytes)
        return hasher.finalize().description
    }
}

/// A model's own chat template.
enum ChatTemplateSource {
    /// Encodes chats as the model's template renders them; nil where it has none.
    static func encoder(_ loaded: LoadedModel) throws -> ChatExampleEncoder? {
        let metadata = loaded.source.metadata
        guard let source = try metadata.stringIfPresent("tokenizer.chat_template") else { return nil }
        var tokens: [String: String] = [:]
        let texts = try metadata.stringsIfPresent("tokenizer.ggml.tokens") ?? []
        for name in ["bos", "eos"] {
            guard let id = try metadata.intIfPresent("tokenizer.ggml.\(name)_token_id"), texts.indices.contains(id)
            else { continue }
            tokens["\(name)_token"] = texts[id]
        }
        return ChatExampleEncoder(
            template: try ChatTemplate(source), tokenizer: loaded.tokenizer, specialTokens: tokens)
    }
}

// The steps of `tune` besides the run itself.
extension TuneCommand {
    /// Text if any was given, what --init says otherwise, and by default the instruction the data suggests.
    func chooseInitialization(_ material: TuningMaterial) throws -> PromptInitialization {
        switch initKind ?? "text" {
        case "text":
            return .text(try initText ?? material.defaultText(method: try MethodCatalog.method(named: method)))
        case "vocabulary": return .vocabulary(seed: seed)
        case "zero": return .zero
        default:
            throw CommandFailure(.usage, "--init must be text, vocabulary or zero, not “\(initKind ?? "")”")
        }
    }

    /// The stored prompt to begin with, checked against model and method.
    func warmStart(
        _ loaded: LoadedModel, home: Home, method: any TuningMethod.Type
    ) async throws -> (prompt: SoftPrompt, digest: String)? {
        guard let from else { return nil }
        let resolved = try await AttachmentOptions.resolve(from, for: loaded, home: home)
        guard resolved.prompt.placement == method.placement else {
            throw CommandFailure(
                .usage,
                "\(from) enters at \(resolved.prompt.placement.rawValue) and \(method.name) trains "
                    + "\(method.placement.rawValue); choose another --method (see `incipit methods`)")
        }
        if let tokens, tokens != resolved.prompt.virtualTokenCount {
            throw CommandFailure(
                .usage,
                "\(from) has \(resolved.prompt.virtualTokenCount) virtual tokens; leave out --tokens or make it that")
        }
        let digest = try await PromptStore(home: home).registry.load(from).record.digest.description
        return (resolved.prompt, digest)
    }

    /// Refuses a start that is much worse than no prompt at all; words are only warned of, for there is no better advice.
    func checkStart(_ trainer: Trainer) throws {
        let losses = try trainer.startingLosses()
        guard !(losses.start <= losses.bare + 0.5) else { return }
        let finding = String(
            format: "the start is bad: its loss is %.2f where the bare model has %.2f. ", losses.start, losses.bare)
        if from == nil, (initKind ?? "text") == "text" {
            return Output.note(
                "warning: \(finding)Other words (--init-text) or more of them (--tokens) may learn faster")
        }
        throw CommandFailure(
            .usage,
            finding
                + "Begin from words with --init-text \"…\" (the prompt you would write by hand), or add --any-start to "
                + "train from here all the same")
    }

    /// How parameters are scored on dev; nil where there are no dev rows.
    func evaluation(
        _ material: TuningMaterial, _ loaded: LoadedModel, _ graph: any DifferentiableModel,
        _ configuration: TuningConfiguration, _ method: any TuningMethod.Type
    ) throws -> (([Float]) throws -> DevScore)? {
        let count = configuration.tokens
        if let dataset = material.labelled {
            if dataset[.dev].isEmpty { return nil }
            let scoring = DevScoring(
                model: loaded.model, tokenizer: loaded.tokenizer, examples: dataset[.dev], labels: dataset.labels,
                template: try ExampleTemplate(prompt: configuration.template))
            return { values in
                try scoring.score(
                    PromptAttachment(
                        virtualTokenCount: count,
                        entry: method.placement == .keysAndValues ? .cache(values) : .input(values)))
            }
        }
        guard material.main.has(.dev) else { return nil }
        var whole = configuration
        whole.tokenDropout = 0
        let dev = try material.objective(material.main, .dev, loaded, graph, whole)
        return { values in
            var total = 0.0
            var weight = 0.0
            for start in stride(from: 0, to: dev.itemCount, by: configuration.batchSize) {
                let items = Array(start..<min(start + configuration.batchSize, dev.itemCount))
                let loss = try values.withUnsafeBufferPointer { buffer in
                    try graph.loss(
                        of: dev.batch(items, step: 0), prompt: method.view(buffer.baseAddress!, tokens: count),
                        gradient: nil
                    ).loss
                }
                total += loss * Double(items.count)
                weight += Double(items.count)
            }
            return DevScore(loss: total / max(weight, 1), accuracy: nil)
        }
    }

    private struct Plan: Encodable {
        let method: String
        let virtualTokens, parameters, trainingRows, steps: Int
        let artifactBytes, weightBytes, optimizerBytes, peakMemoryBytes: Int
        let secondsPerStep, secondsInAll: Double
    }

    /// What a run would take: counted where it can be, measured on two batches where not.
    func plan(
        _ trainer: Trainer, graph: any DifferentiableModel, initial: [Float], shape: DecoderShape,
        method: any TuningMethod.Type, items: Int
    ) throws {
        let configuration = trainer.configuration
        let perStep = try trainer.secondsPerStep()
        let values = method.placement == .keysAndValues ? shape.keyValueElementsPerToken : shape.hiddenSize
        let plan = Plan(
            method: method.name, virtualTokens: configuration.tokens, parameters: initial.count, trainingRows: items,
            steps: configuration.steps, artifactBytes: configuration.tokens * values * 4,
            weightBytes: graph.residentByteCount,
            // Parameters, their mean, the best, gradient and two moments.
            optimizerBytes: initial.count * 4 * 6, peakMemoryBytes: SystemMemory.peakResident,
            secondsPerStep: perStep, secondsInAll: perStep * Double(configuration.steps))
        if json { return try Output.json(plan) }
        Output.line(
            """
            method    \(plan.method), \(plan.virtualTokens) virtual tokens, \(plan.parameters) parameters
            data      \(plan.trainingRows) training rows, \(plan.steps) steps of \(configuration.batchSize * configuration.accumulation)
            artifact  \(Output.bytes(plan.artifactBytes))
            memory    \(Output.bytes(plan.peakMemoryBytes)) at most so far: \(Output.bytes(plan.weightBytes)) of float weights, \
            \(Output.bytes(plan.optimizerBytes)) of parameters and optimizer
            time      \(String(format: "%.2f s", plan.secondsPerStep)) a step, \(Output.duration(plan.secondsInAll)) in all without \
            evaluations
            """)
    }
}

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

    /// All files, the main one first, with their shares of a batch.
    var weightedFiles: [(file: TrainingFile, weight: Double)] { [(main, 1)] + others }

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
        for (file, weight) in weightedFiles {
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
    static func digest(ofFile path: String) throws -> String {
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
    /// How virtual tokens are scored on the dev rows of a file; nil where there are none.
    func scoring(
        _ file: TrainingFile, _ material: TuningMaterial, _ loaded: LoadedModel, _ graph: any DifferentiableModel,
        _ configuration: TuningConfiguration, _ method: any TuningMethod.Type
    ) throws -> (([Float]) throws -> DevScore)? {
        let count = configuration.tokens
        if case .labelled(let dataset) = file.content {
            if dataset[.dev].isEmpty { return nil }
            let scoring = DevScoring(
                model: loaded.model, tokenizer: loaded.tokenizer, examples: dataset[.dev], labels: dataset.labels,
                template: try ExampleTemplate(prompt: configuration.template))
            return { values in
                try scoring.score(
                    PromptAttachment(
                        virtualTokenCount: count, entry: .init(method.placement, values)))
            }
        }
        guard file.has(.dev) else { return nil }
        var whole = configuration
        whole.tokenDropout = 0
        let dev = try material.objective(file, .dev, loaded, graph, whole)
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

    /// How a run is scored on dev: by the main file, or by the mean over all tasks, each under its own prompt; nil where
    /// there are no dev rows.
    func evaluation(
        of scorers: [(([Float]) throws -> DevScore)?]
    ) -> (([Float]) throws -> DevScore)? {
        guard scorers.contains(where: { $0 != nil }) else { return nil }
        if scorers.count == 1 { return scorers[0] }
        return { values in
            let size = values.count / scorers.count
            var scores: [DevScore] = []
            for (index, scorer) in scorers.enumerated() {
                guard let scorer else { continue }
                scores.append(try scorer(Array(values[index * size..<(index + 1) * size])))
            }
            let count = Double(scores.count)
            let accuracies = scores.compactMap(\.accuracy)
            return DevScore(
                loss: scores.reduce(0) { $0 + $1.loss } / count,
                accuracy: accuracies.count == scores.count ? accuracies.reduce(0, +) / count : nil)
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
        _ trainer: Trainer, _ graph: any DifferentiableModel, _ initial: [Float], _ shape: DecoderShape,
        _ method: any TuningMethod.Type, items: Int
    ) throws {
        let configuration = trainer.configuration
        let perStep = try trainer.secondsPerStep()
        let values = shape.valuesPerVirtualToken(method.placement)
        let plan = Plan(
            method: method.name, virtualTokens: configuration.tokens, parameters: initial.count, trainingRows: items,
            steps: configuration.steps, artifactBytes: configuration.tasks * configuration.tokens * values * 4,
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

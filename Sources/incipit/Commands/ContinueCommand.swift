import ArgumentParser
import ByteIO
import Evaluation
import Foundation
import Generation
import LanguageModels
import PromptTuning
import SoftPrompts

struct ContinueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "continue", abstract: "Teach a stored prompt new rows without losing what it knows.",
        discussion: """
            Goes on from the training state that `tune` keeps on this machine: parameters, optimizer, and a sample of the \
            rows learned so far. Part of every batch is old rows, and the parent's own answers on old inputs hold the child \
            near (Kullback-Leibler divergence).

            The child is stored only if it answers the new dev rows better, beyond chance, and the old canary rows no worse \
            (paired bootstrap); it then records its parent. Rejected children leave nothing behind; exit code 1.

            Where the new rows bring labels of their own, the canary rows are judged among the labels they had before: that \
            is what could be forgotten. How they fare among all labels is shown beside it (--canary-labels all judges by \
            that). Such runs take as many steps as the parent's and replay more.

              incipit continue MODEL team/task --data new.jsonl
            """)

    @OptionGroup var options: ModelOptions
    @Argument(help: "The prompt to go on with: NAME, NAME:TAG or NAME@DIGEST.") var prompt: String
    @Option(help: "New rows: JSONL, or a name found in $INCIPIT_DATA; train is learned, dev decides.") var data: String
    @Option(
        help: "Old rows (JSONL), where the training state is not on this machine: train is replayed, dev is the canary."
    )
    var old: String?
    @Option(
        help: "Share of old rows in a batch (default: 0.3, or the share of the old labels where there are new ones).")
    var replay: Double?
    @Option(help: "Weight of the divergence from the parent on old inputs; 0 leaves it out.") var anchor = 0.5
    @Option(help: "Optimizer steps (default: three tenths of the parent's; with new labels as many).") var steps: Int?
    @Option(help: "Peak learning rate (default: three tenths of the parent's; with new labels the same).")
    var learningRate: Double?
    @Option(help: "Judge the canary rows among the labels they had before (old) or all of them.")
    var canaryLabels = CanaryLabels.old
    @Option(help: "Largest fall on the canary rows that counts as none.") var margin = 0.02
    @Option(help: "Keep the parent's virtual tokens as they are and add this many new ones.") var append: Int?
    @Option(help: "Seed of example order.") var seed: UInt64 = 0
    @Option(help: "Weights as floats while training: float, tiles, or auto by the memory there is.")
    var weightsMemory = WeightsMemory.auto
    @Flag(help: "Store the child even if the gate rejects it.") var force = false
    @OptionGroup var unfinished: UnfinishedRunOptions
    @Flag(help: "Print the summary as JSON.") var json = false

    enum CanaryLabels: String, ExpressibleByArgument, CaseIterable {
        case old, all
    }

    private struct Comparison: Encodable {
        let rows: Int
        let parent, child, difference, low, high, pValue: Double

        init(_ pair: ContinuationGate.Pair, _ bootstrap: PairedComparison.Bootstrap) {
            rows = pair.parent.count
            parent = pair.parent.reduce(0, +) / Double(max(rows, 1))
            child = pair.child.reduce(0, +) / Double(max(rows, 1))
            difference = bootstrap.difference
            low = bootstrap.interval.lowerBound
            high = bootstrap.interval.upperBound
            pValue = bootstrap.pValue
        }

        var text: String {
            "\(Output.percent(parent)) → \(Output.percent(child)) on \(rows) rows "
                + String(
                    format: "(difference %+.1f points, 95 %% %+.1f … %+.1f)", difference * 100, low * 100, high * 100)
        }
    }

    private struct Summary: Encodable {
        let parent: String
        let accepted: Bool
        let reason: String
        let name, version, digest: String?
        let steps: Int
        let new: Comparison
        let canary: Comparison?
        /// Where there are new labels: the canary rows among all of them.
        let canaryAmongAll: Comparison?
    }

    func validate() throws {
        if let append, append < 1 { throw ValidationError("--append must be at least 1.") }
        if !(0...1).contains(margin) { throw ValidationError("--margin must lie in 0…1, not \(margin).") }
        do { _ = try PromptContinuation(replay: replay ?? 0, anchorWeight: anchor) } catch let error as TuningError {
            throw ValidationError("\(error).")
        }
    }

    func run() async throws {
        Interrupt.listen()
        let home = Home()
        let reference = try PromptStore.localReference(prompt)
        let dataset = try Dataset(path: try DataSource.path(for: data, home: home))
        guard !dataset[.train].isEmpty, !dataset[.dev].isEmpty else {
            throw CommandFailure(.data, "\(data) needs rows in its train split, to learn, and in dev, to decide")
        }
        let loaded = try options.load()
        let resolved = try await AttachmentOptions.resolve(prompt, for: loaded, home: home)
        let stored = try await PromptStore(home: home).registry.load(prompt)
        let parent = resolved.prompt
        let shape = loaded.model.shape
        let state = try previousState(home, digest: stored.record.digest.description, parent: parent, shape: shape)
        let method = try MethodCatalog.method(named: state.configuration.method)
        let parentTokens = method.parameters(
            fromStored: parent.values, tokens: parent.virtualTokenCount, shape: shape)

        let labels = Self.labels(dataset[.train] + state.replay.rows)
        let oldLabels = labels.isEmpty ? [] : Set(state.replay.rows.map(\.target)).sorted()
        let newLabels = oldLabels.isEmpty ? 0 : labels.count - oldLabels.count
        var configuration = PromptContinuation.configuration(
            from: state.configuration, learnsNewLabels: newLabels > 0, steps: steps, learningRate: learningRate,
            seed: seed)
        var initial = state.parameters
        var moments: OptimizerState? = state.optimizer
        if let append {
            (initial, configuration) = try appended(append, parentTokens, parent, configuration, method, loaded)
            moments = nil
        }
        let run = try TuningRun(
            name: reference.repository.description + "--continue", home: home, unfinished)
        let graph = try loaded.model.differentiable(weightsMemory: weightsMemory)
        let context = Teacher.Context(parent.placement, parentTokens, count: parent.virtualTokenCount)
        // Appended tokens leave the old ones as they are: nothing pulls them away, and nothing need hold them.
        let plan = try PromptContinuation(
            replay: replay ?? PromptContinuation.replay(oldLabels: oldLabels.count, newLabels: newLabels),
            anchorWeight: anchor)
        let objectives = try plan.objectives(
            new: dataset[.train], old: state.replay.rows, parent: context, model: loaded.model,
            tokenizer: loaded.tokenizer, configuration: configuration)
        let trainer = try Trainer(
            model: loaded.model, graph: graph, objectives: objectives, configuration: configuration, initial: initial,
            optimizerState: moments?.optimizer == configuration.optimizer ? moments : nil, precision: .int8,
            identity: [
                "base_fingerprint": parent.base.fingerprint, "parent": stored.record.digest.description,
                "new_rows": String(dataset[.train].count), "replay": "\(plan.replay) \(anchor)",
            ], checkpointPath: run.checkpoint, resumes: unfinished.resume)
        Output.note(
            "continuing \(stored.record.displayName): \(dataset[.train].count) new rows, \(state.replay.rows.count) old ones to "
                + "replay, \(state.canary.rows.count) canaries, \(configuration.steps) steps"
                + (newLabels > 0 ? ", \(newLabels) new labels beside \(oldLabels.count)" : ""))
        let template = try ExampleTemplate(prompt: configuration.template)
        func scorer(_ rows: [Example], _ labels: [String]) -> DevScoring {
            DevScoring(
                model: loaded.model, tokenizer: loaded.tokenizer, examples: rows, labels: labels, template: template)
        }
        let scoring = scorer(dataset[.dev] + state.canary.rows, labels)
        func attach(_ values: [Float], _ count: Int) -> PromptAttachment {
            PromptAttachment(virtualTokenCount: count, entry: .init(method.placement, values))
        }
        let outcome = try run.train(
            trainer, evaluate: { try scoring.score(attach($0, configuration.tokens)) },
            describe: { "dev and canary \($0.text)" })

        let parentAttachment = attach(parentTokens, parent.virtualTokenCount)
        let childAttachment = attach(outcome.parameters, configuration.tokens)
        func pair(_ scoring: DevScoring) throws -> ContinuationGate.Pair {
            .init(parent: try scoring.outcomes(parentAttachment), child: try scoring.outcomes(childAttachment))
        }
        let all = try pair(scoring)
        let newCount = dataset[.dev].count
        let new = all[..<newCount]
        let amongAll = all[newCount...]
        let canary =
            newLabels > 0 && canaryLabels == .old ? try pair(scorer(state.canary.rows, oldLabels)) : amongAll
        let verdict = ContinuationGate(margin: margin, seed: seed).judge(
            canary: canary.parent.isEmpty ? nil : canary, new: new)
        var receipt: PromptStore.Stored?
        if verdict.accepted || force {
            var training = parent.training
            training["configuration"] = try JSONValue.parse(text: configuration.canonicalText())
            training["parent"] = .string(stored.record.digest.description)
            training["continuation"] = .string(verdict.reason)
            training["tool"] = .string("incipit \(IncipitCommand.configuration.version)")
            let child = try SoftPrompt(
                placement: method.placement, virtualTokenCount: configuration.tokens,
                values: method.storedValues(outcome.parameters, tokens: configuration.tokens, shape: shape),
                shape: shape.promptShape, base: parent.base, baseName: parent.baseName, baseSource: parent.baseSource,
                method: parent.method, training: training)
            let store = try PromptStore(home: home)
            receipt = try await store.save(
                child, name: reference.repository, parent: stored.record.digest,
                metrics: ["dev-accuracy": String(format: "%.4f", new.child.reduce(0, +) / Double(newCount))])
            if let receipt {
                var next = state
                next.replay.add(dataset[.train], seed: seed)
                next.canary.add(dataset[.dev], seed: seed)
                next.parameters = trainer.keptParameters
                next.optimizer = trainer.optimizerState
                next.configuration = configuration
                next.configuration.steps = state.configuration.steps
                next.configuration.learningRate = state.configuration.learningRate
                next.steps += outcome.steps
                try next.write(to: home.state(receipt.digest))
            }
        }
        run.finish()
        let newComparison = Comparison(new, verdict.new)
        let canaryComparison = verdict.canary.map { Comparison(canary, $0) }
        let confusion =
            newLabels > 0 && !amongAll.parent.isEmpty
            ? Comparison(amongAll, PairedComparison.bootstrap(amongAll.parent, amongAll.child, seed: seed)) : nil
        if json {
            try Output.json(
                Summary(
                    parent: stored.record.displayName, accepted: verdict.accepted, reason: verdict.reason,
                    name: receipt.map { _ in reference.repository.description }, version: receipt?.version,
                    digest: receipt?.digest, steps: outcome.steps, new: newComparison, canary: canaryComparison,
                    canaryAmongAll: confusion))
        } else {
            Output.line("new       \(newComparison.text)")
            if let canaryComparison { Output.line("canary    \(canaryComparison.text)") }
            if let confusion { Output.line("among all \(labels.count) labels, canary \(confusion.text)") }
            Output.line("verdict   \(verdict.accepted ? "accepted" : "rejected"): \(verdict.reason)")
            if let receipt { Output.line("stored    \(reference.repository):\(receipt.version)  \(receipt.digest)") }
        }
        if receipt == nil { throw CommandFailure(.failure, "the child was not stored: \(verdict.reason)") }
    }

    /// The state `tune` left, or one made of --old rows and the prompt's own record.
    private func previousState(
        _ home: Home, digest: String, parent: SoftPrompt, shape: DecoderShape
    ) throws -> ContinuationState {
        let folder = home.state(digest)
        if FileManager.default.fileExists(atPath: folder + "/state.safetensors") {
            let state = try ContinuationState(folder: folder)
            let method = try MethodCatalog.method(named: state.configuration.method)
            guard
                state.parameters.count == method.parameterCount(tokens: state.configuration.tokens, shape: shape)
            else { throw CommandFailure(.data, "\(folder) holds the state of a prompt of another shape") }
            return state
        }
        guard let old else {
            throw CommandFailure(
                .notFound,
                "the training state of \(prompt) is not on this machine (\(folder)); give the rows it learned from with "
                    + "--old FILE")
        }
        guard let record = parent.training["configuration"],
            let configuration = (try? TuningConfiguration(json: Data(record.canonicalBytes())))?.ofPlainPrompt
        else {
            throw CommandFailure(.data, "\(prompt) does not say how it was trained; `incipit tune` records it")
        }
        let method = try MethodCatalog.method(named: configuration.method)
        let rows = try Dataset(path: try DataSource.path(for: old, home: home))
        var replay = Reservoir(capacity: ContinuationState.replayCapacity)
        replay.add(rows[.train], seed: seed)
        var canary = Reservoir(capacity: ContinuationState.canaryCapacity)
        canary.add(rows[.dev], seed: seed)
        let tokens = method.parameters(fromStored: parent.values, tokens: parent.virtualTokenCount, shape: shape)
        return ContinuationState(
            parameters: method.parameters(
                fromVirtualTokens: tokens, tokens: parent.virtualTokenCount, shape: shape, seed: seed),
            optimizer: OptimizerState(optimizer: "", step: 0, moments: []), configuration: configuration,
            steps: configuration.steps, replay: replay, canary: canary)
    }

    /// The parent's virtual tokens with new ones behind them, and settings that train the new ones only.
    private func appended(
        _ count: Int, _ parentTokens: [Float], _ parent: SoftPrompt, _ old: TuningConfiguration,
        _ method: any TuningMethod.Type, _ loaded: LoadedModel
    ) throws -> ([Float], TuningConfiguration) {
        guard !method.isReparameterised else {
            throw CommandFailure(.usage, "--append needs a method without an encoder, not \(method.name)")
        }
        var configuration = old
        configuration.keptTokens = parent.virtualTokenCount
        configuration.tokens = parent.virtualTokenCount + count
        try configuration.validate()
        let initial = try AppendedTokens.initial(
            parentTokens, count: parent.virtualTokenCount, adding: count, placement: method.placement, seed: seed,
            model: loaded.model, tokenizer: loaded.tokenizer)
        return (initial, configuration)
    }

    /// Labels of these rows; none where there are too many.
    private static func labels(_ rows: [Example]) -> [String] { Dataset(examples: [.train: rows]).labels }
}

import ByteIO
import Foundation
import LanguageModels
import OCIArtifacts
import PromptTuning
import SoftPrompts

/// What a tuning run begins with, and where that comes from.
struct TuningStart {
    enum Origin {
        /// Words, tokens drawn from the vocabulary, or zeros.
        case initialization(PromptInitialization)
        /// A stored prompt: the one that was named, or the nearest.
        case prompt(digest: String, isNearest: Bool)
        /// A multitask prompt that PEFT or --export-tasks wrote.
        case tasks(digest: String)
    }

    let origin: Origin
    let tokens: Int
    /// Virtual tokens in the placement's layout.
    let values: [Float]
    /// The shared prompt and one task's matrices that every task begins with.
    var source: MultitaskPrompt?
    /// The reference of a prompt that was found, not named: a resumed run must find it again.
    var choice: String?

    /// The parameters of the method.
    func parameters(
        _ method: any TuningMethod.Type, _ configuration: TuningConfiguration, shape: DecoderShape
    ) throws -> [Float] {
        guard
            let tasks = method.taskFactors(
                tokens: tokens, tasks: configuration.tasks, rank: configuration.taskRank, shape: shape)
        else {
            return method.parameters(
                fromVirtualTokens: values, tokens: tokens, shape: shape, seed: configuration.seed)
        }
        if let source { return try tasks.parameters(from: source) }
        return tasks.parameters(from: values, seed: configuration.seed)
    }

    /// The word for it.
    var kind: String {
        switch origin {
        case .initialization(let initialization): initialization.kind
        case .prompt(_, let isNearest): isNearest ? "nearest" : "prompt"
        case .tasks: "tasks"
        }
    }

    /// What tells this start from another, for checkpoints.
    var identity: [String: String] {
        switch origin {
        case .initialization(.text(let text)): ["initialization": kind, "initial_text": text]
        case .initialization: ["initialization": kind]
        case .prompt(let digest, _): ["initialization": "prompt \(digest)"]
        case .tasks(let digest): ["initialization": "tasks \(digest)"]
        }
    }

    /// What the stored prompt says of it.
    var record: [String: JSONValue] {
        switch origin {
        case .initialization(.text(let text)):
            ["initialization": .string(kind), "initial_text": .string(text)]
        case .initialization: ["initialization": .string(kind)]
        case .prompt(let digest, _): ["initialization": .string(kind), "initial_prompt": .string(digest)]
        case .tasks(let digest): ["initialization": .string(kind), "initial_tasks": .string(digest)]
        }
    }
}

// How `tune` chooses its start.
extension TuneCommand {
    /// - Parameters:
    ///   - graph: scores candidates for the nearest prompt.
    ///   - isFirst: whether this process speaks for those that train together.
    func chooseStart(
        _ material: TuningMaterial, _ loaded: LoadedModel, _ graph: any DifferentiableModel, home: Home,
        method: any TuningMethod.Type, isFirst: Bool
    ) async throws -> TuningStart {
        let shape = loaded.model.shape
        if let folder = multitask.fromTasks {
            return try multitask.start(folder: folder, shape: shape, tokens: tokens)
        }
        if isNearest {
            return try await nearestPrompt(material, loaded, graph, home: home, method: method, isFirst: isFirst)
        }
        if let from {
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
                    "\(from) has \(resolved.prompt.virtualTokenCount) virtual tokens; leave out --tokens or make it that"
                )
            }
            return Self.start(from: resolved, method: method, shape: shape, isNearest: false)
        }
        let initialization = try chooseInitialization(material)
        let count = tokens ?? initialization.naturalLength(tokenizer: loaded.tokenizer) ?? 32
        return TuningStart(
            origin: .initialization(initialization), tokens: count,
            values: try values(initialization, count: count, loaded, method))
    }

    /// A stored prompt as a start.
    static func start(
        from resolved: AttachmentOptions.Resolved, method: any TuningMethod.Type, shape: DecoderShape, isNearest: Bool
    ) -> TuningStart {
        let count = resolved.prompt.virtualTokenCount
        return TuningStart(
            origin: .prompt(digest: resolved.identity, isNearest: isNearest), tokens: count,
            values: method.parameters(fromStored: resolved.prompt.values, tokens: count, shape: shape))
    }

    /// Text if any was given, what --init says otherwise, and by default the instruction the data suggests.
    private func chooseInitialization(_ material: TuningMaterial) throws -> PromptInitialization {
        switch initKind ?? "text" {
        case "text":
            return .text(try initText ?? material.defaultText(method: try MethodCatalog.method(named: method)))
        case "vocabulary": return .vocabulary(seed: seed)
        case "zero": return .zero
        default:
            throw CommandFailure(
                .usage, "--init must be text, vocabulary, zero or nearest, not “\(initKind ?? "")”")
        }
    }

    private func values(
        _ initialization: PromptInitialization, count: Int, _ loaded: LoadedModel, _ method: any TuningMethod.Type
    ) throws -> [Float] {
        let shape = loaded.model.shape
        let parameters = try method.initialParameters(
            initialization, tokens: count, model: loaded.model, tokenizer: loaded.tokenizer, seed: seed)
        return method.fold(parameters, tokens: count, shape: shape)
    }

    /// Refuses a start that is much worse than no prompt at all, and says which would be better: from far off, a prompt
    /// learns slowly or never.
    func checkStart(
        _ start: TuningStart, _ trainer: Trainer, _ material: TuningMaterial, _ loaded: LoadedModel,
        method: any TuningMethod.Type
    ) throws {
        let bare = try trainer.startingLoss(of: nil)
        let limit = bare + 0.5
        let own = try trainer.startingLoss(of: start.values)
        guard !(own <= limit) else { return }
        var others: [(advice: String, loss: Double)] = []
        var kinds: [(String, PromptInitialization)] = [
            ("--init vocabulary", .vocabulary(seed: seed)), ("--init zero", .zero),
        ]
        if method.placement == .adaptionPrompt { kinds.removeLast() }  // it cannot begin as zeros
        let text = try material.defaultText(method: method)
        kinds.insert(("--init-text “\(text.prefix(80))”", .text(text)), at: 0)
        for (advice, initialization) in kinds {
            let values = try values(initialization, count: start.tokens, loaded, method)
            if values == start.values { continue }
            let loss = try trainer.startingLoss(of: values)
            if loss <= limit { others.append((advice, loss)) }
        }
        let finding = String(
            format: "the start is bad: its loss is %.2f where the bare model has %.2f. ", own, bare)
        let advice: String
        if let best = others.min(by: { $0.loss < $1.loss }) {
            advice = "Use \(best.advice), which has " + String(format: "%.2f", best.loss) + ","
        } else {
            advice =
                "Text, vocabulary and zero are as bad with \(start.tokens) virtual tokens: use other words (--init-text), "
                + "another number of them (--tokens) or another --method,"
        }
        throw CommandFailure(
            .usage, finding + advice + " or add --allow-bad-start to train from here all the same")
    }
}

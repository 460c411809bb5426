import ArgumentParser
import Generation
import Kernels
import LanguageModels

/// Further prompts that answer together with the attached one.
struct EnsembleOptions: ParsableArguments {
    @Option(help: "A further prompt that answers together with --attach; may be given several times.")
    var also: [String] = []
    @Option(
        help: "How several prompts answer together: mean (of logits; of labels' log-probabilities in eval) or vote.")
    var combine = SessionEnsemble.Rule.mean

    var isUsed: Bool { !also.isEmpty }

    /// - Parameter session: a file that keeps one prompt's state.
    func check(_ attachment: AttachmentOptions, session: String? = nil) throws {
        guard isUsed else { return }
        if attachment.attach == nil { throw ValidationError("--also adds to the prompt of --attach; give that first.") }
        if session != nil {
            throw ValidationError("--session keeps the state of one prompt; it does not go with --also.")
        }
    }

    /// What answers: the session alone, or all prompts together in one batch.
    func context(
        _ attachment: AttachmentOptions, _ first: AttachmentOptions.Resolved?, session: Session, loaded: LoadedModel,
        cacheElement: KVElement = .f16
    ) async throws -> any GenerationContext {
        guard isUsed, let first else { return session }
        var prompts = [try resident(first, loaded, cacheElement)]
        for name in also {
            let own = try await AttachmentOptions.resolve(
                name, allowRelatedBase: attachment.allowRelatedBase, for: loaded, home: Home())
            prompts.append(try resident(own, loaded, cacheElement))
        }
        return try SessionEnsemble(model: loaded.model, prompts: prompts, rule: combine, canRewind: true)
    }

    private func resident(
        _ resolved: AttachmentOptions.Resolved, _ loaded: LoadedModel, _ cacheElement: KVElement
    ) throws -> ResidentPrompt {
        try ResidentPrompt(resolved.attachment, model: loaded.model, cacheElement: cacheElement)
    }
}

extension SessionEnsemble.Rule: ExpressibleByArgument {}

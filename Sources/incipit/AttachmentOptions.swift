import ArgumentParser
import Generation
import Kernels
import LanguageModels
import PromptRegistry
import SoftPrompts

/// A soft prompt to attach, and what is asked of it.
struct AttachmentOptions: ParsableArguments {
    @Option(help: "Soft prompt to attach: NAME, NAME:TAG or NAME@DIGEST.") var attach: String?
    @Flag(help: "Attach even if the prompt was trained on another quantization of this model's source.")
    var allowRelatedBase = false

    /// A stored prompt that may enter the model.
    struct Resolved {
        let prompt: SoftPrompt
        let attachment: PromptAttachment
        /// The digest of its manifest.
        let identity: String
    }

    /// Loads the prompt, verifies its digests, and checks that it belongs to the model.
    ///
    /// - Throws: `CommandFailure` with `wrongBase` and the sentence that says why, if it does not.
    func resolve(for loaded: LoadedModel, home: Home) async throws -> Resolved? {
        guard let attach else { return nil }
        return try await Self.resolve(attach, allowRelatedBase: allowRelatedBase, for: loaded, home: home)
    }

    /// The same for a prompt that another argument names.
    static func resolve(
        _ attach: String, allowRelatedBase: Bool = false, for loaded: LoadedModel, home: Home
    ) async throws -> Resolved {
        _ = try PromptStore.localReference(attach)
        let registry = try PromptStore(home: home).registry
        let stored = try await registry.load(attach)
        try await PromptStore.checkTrust(stored.record.digest, of: stored.record.name, in: registry.backend, home: home)
        let fingerprint = try loaded.fingerprint(cache: home.cache)
        let verdict = AttachmentVerdict(
            prompt: stored.prompt, promptName: stored.record.displayName,
            model: .init(
                base: fingerprint.base, shape: loaded.model.shape.promptShape, name: loaded.name,
                source: fingerprint.source, argument: loaded.path), allowRelated: allowRelatedBase)
        guard verdict.answer == .attach else { throw CommandFailure(.wrongBase, verdict.message) }
        return Resolved(
            prompt: stored.prompt, attachment: try PromptAttachment(stored.prompt, shape: loaded.model.shape),
            identity: "\(stored.record.digest)")
    }
}

extension SoftPrompt {
    /// The form of text it was trained on, if it says so.
    var trainingTemplate: String? {
        if case .string(let text)? = training["template"] { return text }
        return nil
    }
}

/// How the next token is drawn and when generation ends.
struct SamplingOptions: ParsableArguments {
    @Option(help: "Randomness; 0 always takes the likeliest token.") var temperature: Float = 0
    @Option(help: "Keep the likeliest K tokens; 0 keeps all.") var topK = 40
    @Option(help: "Keep the likeliest tokens that together reach this probability.") var topP: Float = 0.95
    @Option(help: "Keep tokens at least this fraction as likely as the likeliest.") var minP: Float = 0.05
    @Option(help: "Divide the logits of tokens already seen by this; 1 leaves them.") var repetitionPenalty: Float = 1
    @Option(help: "Seed of the draws (default: another each time).") var seed: UInt64?
    @Option(help: "Tokens to write at most.") var maxTokens = 256
    @Option(help: "End before this text appears; may be given several times.") var stop: [String] = []
    @OptionGroup(title: "Sampler options") var chain: SamplerOptions
    @Option(help: "Number format of cached keys and values: f16, f32 or q8_0.") var cacheType = "f16"

    func validate() throws {
        if maxTokens < 1 { throw ValidationError("--max-tokens must be at least 1, not \(maxTokens).") }
        if KVElement(rawValue: cacheType) == nil {
            throw ValidationError("--cache-type must be f16, f32 or q8_0, not \(cacheType).")
        }
        do { _ = try settings() } catch { throw ValidationError("\(error).") }
    }

    var cacheElement: KVElement { KVElement(rawValue: cacheType) ?? .f16 }

    /// - Throws: `SamplerSettingsError` for a value that makes no sense.
    func settings() throws -> SamplerSettings {
        var settings = SamplerSettings(
            temperature: temperature, topK: topK, topP: topP, minP: minP, repetitionPenalty: repetitionPenalty,
            seed: seed ?? .random(in: .min ... .max))
        try chain.apply(to: &settings)
        try settings.validate()
        return settings
    }
}

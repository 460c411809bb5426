import ByteIO

/// Whether a prompt may be attached to a model, and the sentence that says why not.
public struct AttachmentVerdict: Sendable, Equatable {
    public enum Answer: Sendable, Equatable {
        /// The model is the prompt's base.
        case attach
        /// Another model made from the same source, with the same widths: refused unless the user insists.
        case relatedRefusal
        /// Anything else: refused.
        case refusal
    }

    public let answer: Answer
    /// The parts in which the two differ: "weights", "tokenizer", "architecture".
    public let differences: [String]
    /// Empty when the answer is `attach`.
    public let message: String

    /// What a verdict needs to know of the model.
    public struct Model: Sendable {
        public var base: BaseFingerprint
        public var shape: ModelShape
        /// For people.
        public var name: String
        /// The fingerprint of the file it was made from (`incipit.source.fingerprint`), where known.
        public var source: String?
        /// What the user would type to name the model: a path.
        public var argument: String

        public init(base: BaseFingerprint, shape: ModelShape, name: String, source: String? = nil, argument: String) {
            self.base = base
            self.shape = shape
            self.name = name
            self.source = source
            self.argument = argument
        }
    }

    /// Compares a prompt with a model.
    /// - Parameters:
    ///   - promptName: how the user calls the prompt.
    ///   - allowRelated: whether the user insists on attaching to a relative. Wrong widths are refused all the same.
    public init(prompt: SoftPrompt, promptName: String, model: Model, allowRelated: Bool = false) {
        let differences = prompt.base.differences(from: model.base)
        self.differences = differences
        if let mismatch = Self.shapeMismatch(prompt, model.shape) {
            answer = .refusal
            message =
                Self.opening(prompt, promptName, model, differences)
                + " The prompt \(mismatch); wrong shapes can never be forced." + Self.help(model)
            return
        }
        if prompt.base.fingerprint == model.base.fingerprint {
            answer = .attach
            message = ""
            return
        }
        let promptRoots = Set([prompt.base.fingerprint, prompt.baseSource].compactMap { $0 })
        let modelRoots = Set([model.base.fingerprint, model.source].compactMap { $0 })
        guard promptRoots.isDisjoint(with: modelRoots) else {
            answer = allowRelated ? .attach : .relatedRefusal
            message =
                allowRelated
                ? ""
                : Self.opening(prompt, promptName, model, differences)
                    + " Both come from the same source and have the same shapes: add --allow-related-base to attach it "
                    + "all the same, at some loss of quality." + Self.help(model)
            return
        }
        answer = .refusal
        message = Self.opening(prompt, promptName, model, differences) + Self.help(model)
    }

    /// Says in which widths a prompt does not fit a model; nil when it fits.
    static func shapeMismatch(_ prompt: SoftPrompt, _ model: ModelShape) -> String? {
        let own = prompt.shape
        switch prompt.placement {
        case .inputEmbeddings:
            guard own.hiddenSize != model.hiddenSize else { return nil }
            return "has vectors of \(own.hiddenSize) values and this model takes \(model.hiddenSize)"
        case .keysAndValues:
            guard PrefixLayout(own) != PrefixLayout(model) else { return nil }
            return
                "has \(own.layerCount) layers of \(own.keyValueHeadCount) key-value heads of \(own.headDimension) and "
                + "this model \(model.layerCount) layers of \(model.keyValueHeadCount) of \(model.headDimension)"
        case .adaptionPrompt:
            guard AdaptionLayout(own) != AdaptionLayout(model) else { return nil }
            return
                "has \(own.layerCount) layers of rows of \(own.hiddenSize) values and this model \(model.layerCount) of "
                + "\(model.hiddenSize)"
        }
    }

    private static func opening(
        _ prompt: SoftPrompt, _ promptName: String, _ model: Model, _ differences: [String]
    ) -> String {
        var text =
            "prompt \(promptName) was learned on \(prompt.baseName) (fingerprint \(prompt.base.short)) and cannot be attached "
            + "to \(model.name) (fingerprint \(model.base.short))"
        if !differences.isEmpty { text += ": they differ in \(list(differences))" }
        return text + "."
    }

    private static func help(_ model: Model) -> String {
        " To see the prompts that fit this model: incipit prompt list --base \(shellQuoted(model.argument))"
    }

    private static func list(_ items: [String]) -> String {
        guard let last = items.last, items.count > 1 else { return items.first ?? "" }
        return items.dropLast().joined(separator: ", ") + " and " + last
    }

    /// The argument as a shell takes it.
    private static func shellQuoted(_ text: String) -> String {
        let isPlain =
            !text.isEmpty
            && text.utf8.allSatisfy {
                $0 >= 0x80 || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39)
                    || "-_./:+,=@%".utf8.contains($0)
            }
        return isPlain ? text : "'" + text.replacing("'", with: "'\\''") + "'"
    }
}

import ByteIO
import Safetensors

/// The tensors of a folder under the names a language model alone would have, and which of them were asked for.
struct FolderTensors {
    let model: SafetensorsModel
    private var tensors: [ExactString: SafetensorsTensor] = [:]
    private var asked: Set<ExactString> = []
    private var order: [String] = []
    /// Tensors that belong to sight or hearing, or that a model computes itself.
    private(set) var skippedCount = 0

    /// How names of models that see begin, and what the language model alone calls the same.
    private static let prefixes = [
        ("model.language_model.model.", "model."), ("model.language_model.", "model."),
        ("language_model.model.", "model."), ("language_model.lm_head.", "lm_head."),
    ]
    private static let otherSenses = [
        "vision_tower.", "model.vision_tower.", "vision_model.", "visual.", "model.visual.", "multi_modal_projector.",
        "model.multi_modal_projector.", "audio_tower.", "model.audio_tower.", "embed_vision.", "model.embed_vision.",
    ]
    /// Buffers that older versions of transformers saved: causal masks and RoPE frequencies.
    private static let buffers = [
        ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq",
    ]

    init(_ model: SafetensorsModel) throws {
        self.model = model
        for tensor in model.tensors {
            if Self.otherSenses.contains(where: { tensor.name.hasPrefix($0) })
                || Self.buffers.contains(where: { tensor.name.hasSuffix($0) })
            {
                skippedCount += 1
                continue
            }
            var name = tensor.name
            if let (prefix, plain) = Self.prefixes.first(where: { name.hasPrefix($0.0) }) {
                name = plain + name.dropFirst(prefix.count)
            }
            guard tensors.updateValue(tensor, forKey: ExactString(name)) == nil else {
                throw ConversionError(
                    .malformed, "two tensors are named \(name.quotedForMessage) once prefixes are removed",
                    path: model.path, tensor: name)
            }
            order.append(name)
        }
    }

    /// A tensor under its own name, or without the prefix that files of a bare model lack.
    mutating func take(_ name: String) -> SafetensorsTensor? {
        var names = [name]
        for prefix in ["model.", "transformer.", "gpt_neox."] where name.hasPrefix(prefix) {
            names.append(String(name.dropFirst(prefix.count)))
        }
        for name in names {
            if let tensor = tensors[ExactString(name)] {
                asked.insert(ExactString(name))
                return tensor
            }
        }
        return nil
    }

    /// Whether there is one, without asking for it.
    func has(_ name: String) -> Bool {
        var copy = self
        return copy.take(name) != nil
    }

    /// What nobody asked for.
    var unused: [String] { order.filter { !asked.contains(ExactString($0)) } }
}

import ByteIO

/// What Hugging Face PEFT calls things, and its configuration document.
enum PEFT {
    static let tensorName = "prompt_embeddings"

    /// A configuration that every PEFT since 0.5 loads.
    ///
    /// A prompt at the input is written as `PROMPT_TUNING` with random initialisation (which is ignored on loading),
    /// whatever method made it; keys and values as `PREFIX_TUNING` without projection, gated rows as
    /// `ADAPTION_PROMPT`. Newer keys are left out because older versions warn or fail on them.
    static func configuration(for prompt: SoftPrompt) -> JSONValue {
        let shape = prompt.shape
        var object = JSONObject([
            ("auto_mapping", .null),
            ("base_model_name_or_path", .string(prompt.baseName)),
            ("inference_mode", true),
            ("revision", .null),
            ("task_type", "CAUSAL_LM"),
        ])
        if prompt.placement != .adaptionPrompt {
            object["num_layers"] = JSONValue(shape.layerCount)
            object["num_transformer_submodules"] = 1
            object["num_virtual_tokens"] = JSONValue(prompt.virtualTokenCount)
        }
        switch prompt.placement {
        case .inputEmbeddings:
            object["num_attention_heads"] = JSONValue(shape.headCount)
            object["peft_type"] = "PROMPT_TUNING"
            object["prompt_tuning_init"] = "RANDOM"
            object["prompt_tuning_init_text"] = .some(.null)
            object["token_dim"] = JSONValue(shape.hiddenSize)
            object["tokenizer_kwargs"] = .some(.null)
            object["tokenizer_name_or_path"] = .some(.null)
        case .keysAndValues:
            let width = shape.keyValueHeadCount * shape.headDimension
            object["encoder_hidden_size"] = JSONValue(width)
            object["num_attention_heads"] = JSONValue(shape.keyValueHeadCount)
            object["peft_type"] = "PREFIX_TUNING"
            object["prefix_projection"] = false
            object["token_dim"] = JSONValue(width)
        case .adaptionPrompt:
            let first = AdaptionLayout(shape).firstAdaptedLayer(prompt.values)
            object["adapter_layers"] = JSONValue(shape.layerCount - first)
            object["adapter_len"] = JSONValue(prompt.virtualTokenCount)
            object["peft_type"] = "ADAPTION_PROMPT"
            object["target_modules"] = .string(AdaptionTensors.targetModules)
        }
        return .object(object)
    }

    /// The method a PEFT type stands for, and where its prompt enters.
    static let types: [String: (method: String, placement: SoftPrompt.Placement)] = [
        "PROMPT_TUNING": ("prompt-tuning", .inputEmbeddings),
        "P_TUNING": ("p-tuning", .inputEmbeddings),
        MultitaskPrompt.peftType: ("multitask-prompt-tuning", .inputEmbeddings),
        "CPT": ("context-aware-prompt-tuning", .inputEmbeddings),
        "PREFIX_TUNING": ("prefix-tuning", .keysAndValues),
        "CARTRIDGE": ("cartridge", .keysAndValues),
        "ADAPTION_PROMPT": ("adaption-prompt", .adaptionPrompt),
    ]
}

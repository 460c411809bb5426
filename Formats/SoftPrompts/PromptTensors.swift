import Safetensors

/// The tensor file of a prompt, in either form.
///
/// One type for all: the tensor `prompt_embeddings`, with `prompt_embeddings.scale` beside it for I8. A type for each part:
/// `prompt_embeddings.layers.3.key` and so on, each `(tokens, columns of the part)`, with `….scale` beside those in I8.
/// Adaption prompts: PEFT's tensors, see ``AdaptionTensors``.
enum PromptTensors {
    /// - Parameter values: `(tokens, columns)`.
    /// - Throws: ``SoftPromptError`` when a value is too large for F16.
    static func serialized(_ prompt: SoftPrompt, _ encoding: PromptEncoding) throws -> [UInt8] {
        if prompt.placement == .adaptionPrompt, let type = encoding.uniformType {
            return try AdaptionTensors.serialized(prompt, type)
        }
        var writer = SafetensorsWriter(metadata: [("format", "pt")])
        let group = RowQuantization.groupSize(prompt.placement, prompt.shape)
        func add(_ name: String, _ values: [Float], columns: Int, as type: SafetensorsType) throws {
            try checkRange(values, as: type)
            let shape = [prompt.virtualTokenCount, columns]
            guard type == .i8 else { return try writer.add(name: name, type: type, shape: shape, floats: values) }
            let (codes, scales) = RowQuantization.quantize(values, group: group)
            try writer.add(name: name, type: .i8, shape: shape, bytes: codes)
            try writer.add(
                name: name + RowQuantization.scaleSuffix, type: .f32,
                shape: [prompt.virtualTokenCount, columns / group], floats: scales)
        }
        if let type = encoding.uniformType {
            try add(PEFT.tensorName, prompt.values, columns: prompt.columns, as: type)
        } else {
            for (index, part) in PromptPart.parts(prompt.placement, prompt.shape).enumerated() {
                let values = part.gather(prompt.values, columnCount: prompt.columns)
                try add(name(of: part), values, columns: part.columns.count, as: encoding.type(ofPart: index))
            }
        }
        return try writer.serialized()
    }

    static func checkRange(_ values: [Float], as type: SafetensorsType) throws {
        guard type == .f16, let large = values.first(where: { $0.magnitude >= 65520 }) else { return }
        throw SoftPromptError(.invalidPrompt, "the value \(large) does not fit F16; store the prompt as F32 or BF16")
    }

    /// Reads the values, checking every tensor against the configuration.
    static func values(_ file: SafetensorsFile, _ configuration: SoftPromptConfiguration) throws -> [Float] {
        if configuration.placement == .adaptionPrompt, let type = configuration.encoding.uniformType {
            let layout = AdaptionLayout(configuration.shape)
            return try AdaptionTensors.values(
                file, tokens: configuration.virtualTokenCount, hiddenSize: layout.hiddenSize,
                layerCount: layout.layerCount, type: type)
        }
        func refuse(_ reason: String) -> SoftPromptError { SoftPromptError(.invalidPrompt, reason, path: file.path) }
        let tokens = configuration.virtualTokenCount
        let columns = configuration.columns
        let encoding = configuration.encoding
        let group = RowQuantization.groupSize(configuration.placement, configuration.shape)
        func read(_ name: String, columns: Int, as type: SafetensorsType) throws -> [Float] {
            let tensor = try file.requireTensor(named: name)
            guard tensor.dimensions == [tokens, columns] else {
                throw refuse(
                    "\(name) has the shape \(tensor.shapeText); the configuration says \(tokens)x\(columns)")
            }
            guard tensor.type == type else {
                throw refuse("\(name) is \(tensor.type); the configuration says \(type)")
            }
            guard type == .i8 else { return try file.floats(of: tensor) }
            let scales = try file.requireTensor(named: name + RowQuantization.scaleSuffix)
            guard scales.type == .f32, scales.dimensions == [tokens, columns / group] else {
                throw refuse("\(scales.name) must be F32 with a scale for each group of \(group) values")
            }
            return RowQuantization.dequantize(
                Array(file.bytes(of: tensor)), scales: try file.floats(of: scales), group: group)
        }
        let types = encoding.types
        let expected = types.count + types.count { $0 == .i8 }
        guard file.tensors.count == expected else {
            throw refuse(
                "the file has \(file.tensors.count) tensors; \(expected) expected for values in \(encoding.name)")
        }
        if let type = encoding.uniformType { return try read(PEFT.tensorName, columns: columns, as: type) }
        var values = [Float](repeating: 0, count: tokens * columns)
        for (part, type) in zip(PromptPart.parts(configuration.placement, configuration.shape), types) {
            part.scatter(
                try read(name(of: part), columns: part.columns.count, as: type), into: &values, columnCount: columns)
        }
        return values
    }

    private static func name(of part: PromptPart) -> String { "\(PEFT.tensorName).\(part.name)" }
}

import ByteIO
import Safetensors

/// The tensors of an adaption prompt as PEFT names them: for each adapted layer, which are the topmost ones, the rows
/// `(1, tokens, hiddenSize)` and the gate `(1)`.
enum AdaptionTensors {
    /// The module that PEFT wraps in llama and mistral.
    static let targetModules = "self_attn"
    /// Most layers of a model; far more than any has.
    private static let layerLimit = 1024

    private static func prefix(_ layer: Int) -> String { "base_model.model.model.layers.\(layer).\(targetModules)." }
    private static func rows(_ layer: Int) -> String { prefix(layer) + "adaption_prompt" }
    private static func gate(_ layer: Int) -> String { prefix(layer) + "adaption_gate" }

    /// - Throws: ``SoftPromptError`` when there is a gate where none belongs, or a value is too large for F16.
    static func serialized(_ prompt: SoftPrompt, _ type: SafetensorsType) throws -> [UInt8] {
        try PromptTensors.checkRange(prompt.values, as: type)
        let layout = AdaptionLayout(prompt.shape), tokens = prompt.virtualTokenCount
        var writer = SafetensorsWriter(metadata: [("format", "pt")])
        for layer in layout.firstAdaptedLayer(prompt.values)..<layout.layerCount {
            let gates = (0..<tokens).map { prompt.values[$0 * layout.columns + layout.gate(ofLayer: layer)] }
            guard gates.dropFirst().allSatisfy({ $0 == 0 }) else {
                throw SoftPromptError(
                    .invalidPrompt, "layer \(layer) has a gate in another virtual token than the first")
            }
            let row = layout.row(ofLayer: layer)
            let values = (0..<tokens).flatMap { token in
                prompt.values[token * layout.columns + row.lowerBound..<token * layout.columns + row.upperBound]
            }
            try writer.add(name: gate(layer), type: type, shape: [1], floats: [gates[0]])
            try writer.add(name: rows(layer), type: type, shape: [1, tokens, layout.hiddenSize], floats: values)
        }
        return try writer.serialized()
    }

    /// Values as ``AdaptionLayout`` lays them out; layers that the file does not have are zero.
    /// - Parameter type: what every tensor must be of; nil: any float type.
    static func values(
        _ file: SafetensorsFile, tokens: Int, hiddenSize: Int, layerCount: Int, type: SafetensorsType?
    ) throws -> [Float] {
        func refuse(_ reason: String) -> SoftPromptError { SoftPromptError(.invalidPrompt, reason, path: file.path) }
        let layerColumns = hiddenSize + 1, columns = layerCount * layerColumns
        func read(_ name: String, _ shape: [Int]) throws -> [Float] {
            let tensor = try file.requireTensor(named: name)
            guard tensor.dimensions == shape, type == nil || tensor.type == type else {
                throw refuse(
                    "\(name) is \(tensor.type) of the shape \(tensor.shapeText); "
                        + "\(type.map { "\($0) " } ?? "")\(shape.map(String.init).joined(separator: "x")) is expected")
            }
            return try file.floats(of: tensor)
        }
        // What is missing becomes zeros: how many is not the file's to say.
        guard layerCount <= layerLimit else {
            throw refuse("a prompt for \(layerCount) layers is not possible (1 to \(layerLimit))")
        }
        let count = file.tensors.count / 2
        guard count >= 1, count <= layerCount, file.tensors.count == 2 * count else {
            throw refuse(
                "the file must hold a prompt and a gate for each of the topmost layers and nothing else; it has "
                    + "\(file.tensors.count) tensors for \(layerCount) layers")
        }
        let present = (layerCount - count..<layerCount)
        let parts = try present.map { layer in
            (gate: try read(gate(layer), [1])[0], rows: try read(rows(layer), [1, tokens, hiddenSize]))
        }
        var values = [Float](repeating: 0, count: tokens * columns)
        for (layer, (gate, rows)) in zip(present, parts) {
            for token in 0..<tokens {
                let start = token * columns + layer * layerColumns
                values.replaceSubrange(
                    start..<start + hiddenSize, with: rows[token * hiddenSize..<(token + 1) * hiddenSize])
            }
            values[layer * layerColumns + hiddenSize] = gate
        }
        return values
    }

    /// A prompt that PEFT saved: the widths are the file's own.
    struct Foreign {
        let tokens, hiddenSize, layerCount: Int
        let values: [Float]

        /// - Throws: ``SoftPromptError`` for what is not the adaption prompt of a llama.
        init(_ file: SafetensorsFile, _ configuration: JSONObject) throws {
            func refuse(_ code: SoftPromptError.Code, _ reason: String) -> SoftPromptError {
                SoftPromptError(code, reason, path: file.path)
            }
            if let target = configuration["target_modules"]?.stringValue, target != targetModules {
                throw refuse(
                    .unsupported,
                    "the adaption prompt wraps \(target.quotedForMessage); only those of \(targetModules) (llama, mistral) "
                        + "can be attached: PEFT adds others behind the output projection")
            }
            let tail = ".\(targetModules).adaption_prompt", head = "base_model.model.model.layers."
            let layers = file.tensors.compactMap { tensor -> Int? in
                guard tensor.name.hasPrefix(head), tensor.name.hasSuffix(tail) else { return nil }
                return Int(tensor.name.dropFirst(head.count).dropLast(tail.count))
            }
            guard let top = layers.max(), (0..<layerLimit).contains(top), layers.count == Set(layers).count,
                let tensor = file.tensor(named: rows(top)), tensor.dimensions.count == 3, tensor.dimensions[0] == 1,
                (1...SoftPrompt.tokenLimit).contains(tensor.dimensions[1]),
                (1...ModelShape.limit).contains(tensor.dimensions[2])
            else {
                throw refuse(
                    .invalidPrompt,
                    "the file has no prompt named \(head)N\(tail) of the shape 1 x adapter_len x hidden size")
            }
            tokens = tensor.dimensions[1]
            hiddenSize = tensor.dimensions[2]
            layerCount = top + 1
            for (key, value) in [("adapter_len", tokens), ("adapter_layers", layers.count)] {
                if let said = configuration[key]?.intValue, said != value {
                    throw refuse(.invalidPrompt, "\"\(key)\" is \(said), but the tensors have \(value)")
                }
            }
            let (perToken, first) = layerCount.multipliedReportingOverflow(by: hiddenSize + 1)
            let (count, second) = perToken.multipliedReportingOverflow(by: tokens)
            guard !first, !second, count <= SoftPrompt.valueLimit else {
                throw refuse(.invalidPrompt, "the prompt would have more than \(SoftPrompt.valueLimit) values")
            }
            values = try AdaptionTensors.values(
                file, tokens: tokens, hiddenSize: hiddenSize, layerCount: layerCount, type: nil)
        }
    }
}

/// Where one GGUF tensor comes from, and how to get back.
public struct TensorRule: Sendable {
    /// GGUF's name.
    public let name: String
    /// Hugging Face's name; several are stacked in their order as the outermost dimension (experts, heads).
    public let parts: [String]
    /// Shape of one part in PyTorch's order (the last is contiguous).
    public let shape: [Int]
    public let transform: TensorTransform
    /// Whether parts are stacked even when there is only one.
    public let isStacked: Bool
    public var isOptional = false
    /// One tensor that holds all parts, and possibly others, side by side.
    public var fused: FusedParts?

    /// A tensor of shape (parts, rows of all, columns) in which this one's rows of a part begin at `firstRow`.
    public struct FusedParts: Sendable {
        let name: String
        let rowsPerPart: Int
        let firstRow: Int
    }

    /// In ggml's order, as the file lists them: ones at the end are dropped.
    public var dimensions: [Int] {
        var result = Array((transform.transposes ? shape.reversed() : shape).reversed())
        if isStacked { result.append(parts.count) }
        while result.count > 1, result.last == 1 { result.removeLast() }
        return result
    }
}

/// Collects the rules of an architecture; the calls read like the model.
public struct TensorRules: Sendable {
    public private(set) var rules: [TensorRule] = []

    /// A weight. `bias` adds a bias of as many values as the weight has rows, when the model has one.
    mutating func weight(
        _ name: String, _ source: String, _ shape: [Int], _ transform: TensorTransform = .copy, optional: Bool = false,
        bias: Bias = .none
    ) {
        rules.append(
            TensorRule(
                name: name + ".weight", parts: [source + ".weight"], shape: shape, transform: transform,
                isStacked: false, isOptional: optional))
        guard bias != .none else { return }
        // A transposed weight has its outputs as columns.
        let outputs = transform.transposes ? shape[shape.count - 1] : shape[0]
        rules.append(
            TensorRule(
                name: name + ".bias", parts: [source + ".bias"], shape: [outputs],
                transform: TensorTransform(order: transform.order), isStacked: false,
                isOptional: optional || bias == .optional))
    }

    enum Bias { case none, optional, required }

    /// A vector in front of a layer, with or without a bias.
    mutating func norm(
        _ name: String, _ source: String, _ length: Int, _ transform: TensorTransform = .copy, optional: Bool = false,
        bias: Bias = .none
    ) {
        rules.append(
            TensorRule(
                name: name + ".weight", parts: [source + ".weight"], shape: [length], transform: transform,
                isStacked: false, isOptional: optional))
        guard bias != .none else { return }
        rules.append(
            TensorRule(
                name: name + ".bias", parts: [source + ".bias"], shape: [length], transform: .copy, isStacked: false,
                isOptional: optional || bias == .optional))
    }

    /// One tensor from one of each expert or head. `%` in the source stands for its number.
    mutating func stack(
        _ name: String, _ source: String, count: Int, _ shape: [Int], optional: Bool = false,
        fused: TensorRule.FusedParts? = nil
    ) {
        let pieces = source.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        rules.append(
            TensorRule(
                name: name + ".weight", parts: (0..<count).map { "\(pieces[0])\($0)\(pieces[1])" }, shape: shape,
                transform: .copy, isStacked: true, isOptional: optional, fused: fused))
    }

    /// Gate, up and down of every expert, and the router in front of them.
    /// - Parameters:
    ///   - block: the name before `.experts`: "model.layers.0.mlp".
    ///   - names: of gate, up and down within an expert.
    mutating func experts(
        _ layer: Int, block: String, names: (gate: String, up: String, down: String), count: Int, width: Int,
        length: Int
    ) {
        weight("blk.\(layer).ffn_gate_inp", "\(block).gate", [count, width])
        let both = "\(block).experts.gate_up_proj"
        stack(
            "blk.\(layer).ffn_gate_exps", "\(block).experts.%.\(names.gate).weight", count: count, [length, width],
            fused: .init(name: both, rowsPerPart: 2 * length, firstRow: 0))
        stack(
            "blk.\(layer).ffn_up_exps", "\(block).experts.%.\(names.up).weight", count: count, [length, width],
            fused: .init(name: both, rowsPerPart: 2 * length, firstRow: length))
        stack(
            "blk.\(layer).ffn_down_exps", "\(block).experts.%.\(names.down).weight", count: count, [width, length],
            fused: .init(name: "\(block).experts.down_proj", rowsPerPart: width, firstRow: 0))
    }
}

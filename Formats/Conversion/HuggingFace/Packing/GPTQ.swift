import TensorTypes

/// GPTQ: whole numbers of 2, 4 or 8 bits with a scale and a zero for each group of inputs.
///
///     qweight  i32 (inputs · bits / 32, outputs)   the numbers of one output, lowest bits first, down the rows
///     qzeros   i32 (groups, outputs · bits / 32)   zeros, less one except in format gptq_v2
///     scales   F16 (groups, outputs)
///     g_idx    i32 (inputs)                        the group of each input; consecutive groups when it is missing
///
/// `weight[o, i] = scales[g, o] · (q[i, o] − zero[g, o])` with g the group of i.
struct GPTQPacking: WeightPacking {
    let bits: Int
    let groupSize: Int
    /// What is added to stored zeros.
    let zeroOffset: Int32

    init(_ fields: HuggingFaceConfig) throws {
        bits = try fields.int("bits") ?? 4
        guard [2, 4, 8].contains(bits) else {
            throw fields.unsupported("GPTQ with \(bits) bits cannot be read; 2, 4 and 8 can")
        }
        groupSize = try fields.int("group_size") ?? 128
        guard groupSize == -1 || groupSize > 0 else {
            throw ConversionError(.malformed, "\"group_size\" is \(groupSize)", path: fields.path)
        }
        let format = try fields.string("checkpoint_format") ?? "gptq"
        guard ["gptq", "gptq_v2"].contains(format) else {
            throw fields.unsupported("the GPTQ format \"\(format)\" cannot be read; gptq and gptq_v2 can")
        }
        zeroOffset = format == "gptq" ? 1 : 0
    }

    var name: String { "GPTQ, \(bits) bit" }

    func weight(_ name: String, in folder: inout FolderTensors) throws -> (any StoredWeight)? {
        guard name.hasSuffix(".weight") else { return nil }
        let base = String(name.dropLast("weight".count))
        guard let packed = folder.packed(base + "qweight") else { return nil }
        let zeros = try folder.requirePacked(base + "qzeros")
        let scales = try folder.requirePacked(base + "scales")
        let order = folder.packed(base + "g_idx")
        return try GPTQWeight(self, packed: packed, zeros: zeros, scales: scales, order: order)
    }
}

private struct GPTQWeight: StoredWeight {
    let shape: [Int]
    let packing: GPTQPacking
    private let packed: PackedTensor
    private let zeros: PackedTensor
    private let scales: [Float]
    /// The group of each input.
    private let groups: [Int32]
    let storedBytes: Int

    init(
        _ packing: GPTQPacking, packed: PackedTensor, zeros: PackedTensor, scales: PackedTensor, order: PackedTensor?
    ) throws {
        let perWord = 32 / packing.bits
        guard packed.shape.count == 2, packed.shape[1] % perWord == 0, packed.shape[0] <= ModelDimensions.sizeLimit
        else {
            throw ConversionError(
                .unexpectedTensor,
                "tensor \(packed.tensor.name) has the shape \(packed.tensor.shapeText); two dimensions are expected, the "
                    + "second a multiple of \(perWord)",
                path: packed.model.path, tensor: packed.tensor.name)
        }
        let inputs = packed.shape[0] * perWord
        let outputs = packed.shape[1]
        let size = packing.groupSize == -1 ? inputs : packing.groupSize
        let count = (inputs + size - 1) / max(1, size)
        try packed.require(["I32"], shape: packed.shape)
        try scales.require(["F16", "BF16", "F32"], shape: [count, outputs])
        try zeros.require(["I32"], shape: [count, outputs / perWord])
        if let order {
            try order.require(["I32"], shape: [inputs])
            groups = (0..<inputs).map { Int32(bitPattern: order.int32($0)) }
            guard groups.allSatisfy({ $0 >= 0 && $0 < count }) else {
                throw ConversionError(
                    .malformed, "tensor \(order.tensor.name) names a group that is not among the \(count)",
                    path: order.model.path, tensor: order.tensor.name)
            }
        } else {
            groups = (0..<inputs).map { Int32($0 / max(1, size)) }
        }
        self.packing = packing
        self.packed = packed
        self.zeros = zeros
        self.scales = try scales.floats()
        shape = [outputs, inputs]
        storedBytes = [packed, zeros, scales].reduce(0) { $0 + $1.tensor.byteCount } + (order?.tensor.byteCount ?? 0)
    }

    var type: TensorType { .f32 }
    var storedAs: String { packing.name }
    var mapped: UnsafeRawBufferPointer? { nil }

    func read(rows: Range<Int>, into destination: UnsafeMutableRawBufferPointer) {
        let (bits, perWord) = (packing.bits, 32 / packing.bits)
        let mask = UInt32(1) << UInt32(bits) - 1
        let (outputs, inputs) = (shape[0], shape[1])
        withFloats(destination) { floats in
            for word in 0..<inputs / perWord {
                for row in rows {
                    let value = packed.int32(word &* outputs &+ row)
                    for place in 0..<perWord {
                        let input = word &* perWord &+ place
                        let group = Int(groups[input])
                        let zero =
                            zeros.int32(group &* (outputs / perWord) &+ row / perWord) >> UInt32(row % perWord &* bits)
                            & mask
                        let number = Int32(bitPattern: value >> UInt32(place &* bits) & mask)
                        floats[(row &- rows.lowerBound) &* inputs &+ input] =
                            scales[group &* outputs &+ row]
                            * Float(number &- (Int32(bitPattern: zero) &+ packing.zeroOffset))
                    }
                }
            }
        }
    }
}

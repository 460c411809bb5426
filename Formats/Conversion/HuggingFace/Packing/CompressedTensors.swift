import ByteIO
import TensorTypes

/// compressed-tensors: what llm-compressor writes for vLLM, in the formats that are common.
///
///     naive-, int-, float-quantized   weight (I8 or FP8), weight_scale, weight_zero_point
///     pack-quantized                  weight_packed (i32), weight_scale, weight_shape, weight_zero_point (packed)
///     nvfp4-pack-quantized            weight_packed (u8: two E2M1), weight_scale (FP8 for 16), weight_global_scale
///     mxfp4-pack-quantized            weight_packed (u8: two E2M1), weight_scale (E8M0 for 32)
struct CompressedTensorsPacking: WeightPacking {
    private enum Format { case plain, packed, nvfp4, mxfp4 }

    private let format: Format
    private let bits: Int
    private let groupSize: Int?
    private let block: (rows: Int, columns: Int)?
    let name: String

    init(_ fields: HuggingFaceConfig) throws {
        let text = try fields.string("format") ?? "dense"
        let groups = try fields.object("config_groups")?.members.map(\.value) ?? []
        guard let first = groups.first, let weights = first["weights"]?.objectValue else {
            throw ConversionError(
                .malformed, "\"quantization_config.config_groups\" describes no weights", path: fields.path)
        }
        guard groups.allSatisfy({ $0["weights"] == first["weights"] }) else {
            throw fields.unsupported("several groups of differently packed weights cannot be read")
        }
        switch text {
        case "naive-quantized", "int-quantized", "float-quantized": format = .plain
        case "pack-quantized": format = .packed
        case "nvfp4-pack-quantized": format = .nvfp4
        case "mxfp4-pack-quantized": format = .mxfp4
        default:
            throw fields.unsupported(
                "the compressed-tensors format \(text.quotedForMessage) cannot be read; naive-, int-, float-, pack-, nvfp4-pack- and "
                    + "mxfp4-pack-quantized can")
        }
        let values = try fields.nested(weights)
        bits = try values.int("num_bits") ?? 8
        groupSize = try values.int("group_size")
        if let sizes = values.value("block_structure")?.value.arrayValue?.compactMap(\.intValue), sizes.count == 2,
            sizes.allSatisfy({ $0 > 0 })
        {
            block = (sizes[0], sizes[1])
        } else {
            block = nil
        }
        if format == .packed, ![2, 4, 8].contains(bits) {
            throw fields.unsupported("pack-quantized weights of \(bits) bits cannot be read; 2, 4 and 8 can")
        }
        name = "compressed-tensors, \(text)"
    }

    func weight(_ name: String, in folder: inout FolderTensors) throws -> (any StoredWeight)? {
        guard name.hasSuffix("weight") else { return nil }
        _ = folder.take(String(name.dropLast("weight".count)) + "input_scale")
        switch format {
        case .plain:
            guard let scale = folder.packed(name + "_scale") else { return nil }
            return try ScaledWeight(
                codes: folder.requirePacked(name), scale: scale, zero: folder.packed(name + "_zero_point"),
                block: block,
                name: self.name)
        case .packed:
            guard let packed = folder.packed(name + "_packed") else { return nil }
            return try PackedIntegerWeight(
                name: self.name, bits: bits, packed: packed, scale: folder.requirePacked(name + "_scale"),
                shape: folder.requirePacked(name + "_shape"), zero: folder.packed(name + "_zero_point"),
                order: folder.packed(name + "_g_idx"))
        case .nvfp4:
            guard let packed = folder.packed(name + "_packed") else { return nil }
            _ = folder.take(String(name.dropLast("weight".count)) + "input_global_scale")
            return try NVFP4Weight(
                name: self.name, packed: packed, scale: folder.requirePacked(name + "_scale"),
                global: folder.requirePacked(name + "_global_scale"))
        case .mxfp4:
            guard let packed = folder.packed(name + "_packed") else { return nil }
            return try MXFP4Weight(blocks: packed, scales: folder.requirePacked(name + "_scale"))
        }
    }
}

/// Whole numbers packed along the columns: `weight[r, c] = scale[r, g] · (q[r, c] − zero[r, g])`; without zeros the
/// middle of the range is zero.
private struct PackedIntegerWeight: StoredWeight {
    let shape: [Int]
    let storedAs: String
    let storedBytes: Int
    private let bits: Int
    private let packed: PackedTensor
    private let words: Int
    private let scales: [Float]
    private let groups: Int
    /// The group of each column.
    private let group: [Int32]
    private let zero: PackedTensor?

    init(
        name: String, bits: Int, packed: PackedTensor, scale: PackedTensor, shape: PackedTensor, zero: PackedTensor?,
        order: PackedTensor?
    ) throws {
        func wrong(_ tensor: PackedTensor, _ reason: String) -> ConversionError {
            ConversionError(
                .unexpectedTensor,
                "tensor \(tensor.tensor.name) is \(tensor.tensor.type) of shape \(tensor.tensor.shapeText): \(reason)",
                path: packed.model.path, tensor: tensor.tensor.name)
        }
        guard ["I64", "I32"].contains(shape.tensor.type.name), shape.shape == [2] else {
            throw wrong(shape, "two integers are expected")
        }
        let sizes = try shape.floats().map { Int($0) }
        guard sizes.allSatisfy({ $0 > 0 && $0 <= 1 << 24 }) else { throw wrong(shape, "it says \(sizes)") }
        let (rows, columns) = (sizes[0], sizes[1])
        let perWord = 32 / bits
        words = (columns + perWord - 1) / perWord
        try packed.require(["I32"], shape: [rows, words])
        guard scale.shape.count == 2, scale.shape[0] == rows, scale.shape[1] > 0, scale.tensor.type.bits >= 16,
            scale.tensor.type.isDecodable
        else { throw wrong(scale, "\(rows) rows are expected") }
        groups = scale.shape[1]
        let count = groups
        if let order {
            try order.require(["I32"], shape: [columns])
            group = (0..<columns).map { Int32(bitPattern: order.int32($0)) }
            guard group.allSatisfy({ $0 >= 0 && $0 < count }) else { throw wrong(order, "a group is out of range") }
        } else {
            let size = (columns + groups - 1) / groups
            group = (0..<columns).map { Int32($0 / size) }
        }
        if let zero { try zero.require(["I32"], shape: [(rows + perWord - 1) / perWord, groups]) }
        self.shape = [rows, columns]
        self.bits = bits
        self.packed = packed
        self.zero = zero
        storedAs = name
        scales = try scale.floats()
        storedBytes = packed.tensor.byteCount + scale.tensor.byteCount + (zero?.tensor.byteCount ?? 0)
    }

    var type: TensorType { .f32 }
    var mapped: UnsafeRawBufferPointer? { nil }

    func read(rows: Range<Int>, into destination: UnsafeMutableRawBufferPointer) {
        let perWord = 32 / bits
        let mask = UInt32(1) << UInt32(bits) - 1
        let columns = shape[1]
        withFloats(destination) { floats in
            var zeros = [Int32](repeating: 1 << Int32(bits - 1), count: groups)
            for row in rows {
                if let zero {
                    for g in 0..<groups {
                        let word = zero.int32(row / perWord * groups + g)
                        zeros[g] = Int32(bitPattern: word >> UInt32(row % perWord * bits) & mask)
                    }
                }
                for column in 0..<columns {
                    let word = packed.int32(row &* words &+ column / perWord)
                    let number = Int32(bitPattern: word >> UInt32(column % perWord &* bits) & mask)
                    let g = Int(group[column])
                    floats[(row &- rows.lowerBound) &* columns &+ column] =
                        scales[row &* groups &+ g] * Float(number &- zeros[g])
                }
            }
        }
    }
}

/// NVFP4: E2M1 in groups of 16 with an FP8 scale, over one scale of the whole: `weight = e2m1 · scale / global`.
private struct NVFP4Weight: StoredWeight {
    let shape: [Int]
    let storedAs: String
    let storedBytes: Int
    private let packed: PackedTensor
    private let scales: [Float]

    init(name: String, packed: PackedTensor, scale: PackedTensor, global: PackedTensor) throws {
        guard packed.shape.count == 2, packed.shape[1] % 8 == 0, packed.shape[1] <= ModelDimensions.sizeLimit else {
            throw ConversionError(
                .unexpectedTensor, "tensor \(packed.tensor.name) has the shape \(packed.tensor.shapeText)",
                path: packed.model.path, tensor: packed.tensor.name)
        }
        let (rows, columns) = (packed.shape[0], packed.shape[1] * 2)
        try packed.require(["U8"], shape: packed.shape)
        try scale.require(["F8_E4M3"], shape: [rows, columns / 16])
        try global.require(["F32"], shape: [1])
        let whole = try global.floats()[0]
        guard whole > 0, whole.isFinite else {
            throw ConversionError(
                .damaged, "tensor \(global.tensor.name) is \(whole)", path: global.model.path,
                tensor: global.tensor.name)
        }
        shape = [rows, columns]
        storedAs = name
        self.packed = packed
        scales = try scale.floats().map { $0 / whole }
        storedBytes = packed.tensor.byteCount + scale.tensor.byteCount
    }

    var type: TensorType { .f32 }
    var mapped: UnsafeRawBufferPointer? { nil }

    func read(rows: Range<Int>, into destination: UnsafeMutableRawBufferPointer) {
        let columns = shape[1]
        withFloats(destination) { floats in
            for row in rows {
                for column in 0..<columns {
                    let byte = packed.bytes[row &* (columns / 2) &+ column / 2]
                    let code = Int(column % 2 == 0 ? byte & 15 : byte >> 4)
                    floats[(row &- rows.lowerBound) &* columns &+ column] =
                        SmallFloat.e2m1[code] * scales[row &* (columns / 16) &+ column / 16]
                }
            }
        }
    }
}

enum SmallFloat {
    /// The 16 values of a float with 2 bits of exponent and 1 of mantissa.
    static let e2m1: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]
}

import Safetensors
import TensorTypes

/// FP8 with a scale for each block of 128 by 128 (`weight_scale_inv`), for each row or for the whole (`weight_scale`).
struct FP8Packing: WeightPacking {
    /// Rows and columns of a block.
    let block: (rows: Int, columns: Int)?

    init(_ fields: HuggingFaceConfig) throws {
        if let sizes = fields.value("weight_block_size")?.value.arrayValue {
            let numbers = sizes.compactMap(\.intValue)
            guard sizes.count == 2, numbers.count == 2, numbers.allSatisfy({ $0 > 0 }) else {
                throw ConversionError(.malformed, "\"weight_block_size\" is not two numbers", path: fields.path)
            }
            block = (numbers[0], numbers[1])
        } else {
            block = nil
        }
    }

    var name: String { "FP8 with scales" }

    func weight(_ name: String, in folder: inout FolderTensors) throws -> (any StoredWeight)? {
        guard name.hasSuffix("weight") else { return nil }
        for suffix in ["_scale_inv", "_scale"] {
            guard let scale = folder.packed(name + suffix) else { continue }
            let codes = try folder.requirePacked(name)
            // Scales of activations are for kernels that compute in FP8.
            for unused in ["activation_scale", "input_scale"] {
                _ = folder.take(String(name.dropLast("weight".count)) + unused)
            }
            return try ScaledWeight(codes: codes, scale: scale, zero: nil, block: block, name: self.name)
        }
        return nil
    }
}

/// Numbers of 8 bits times a scale for each block: `weight[r, c] = scale[r / rows, c / columns] · (q[r, c] − zero)`.
struct ScaledWeight: StoredWeight {
    let shape: [Int]
    let storedAs: String
    let storedBytes: Int
    private let codes: PackedTensor
    private let scales: [Float]
    private let zeros: [Float]?
    private let scaleColumns: Int
    private let block: (rows: Int, columns: Int)

    /// - Parameter block: nil takes it from the shape of the scales: one, one a row, or one a group of columns.
    init(
        codes: PackedTensor, scale: PackedTensor, zero: PackedTensor?, block: (rows: Int, columns: Int)?, name: String
    ) throws {
        let shape = codes.shape
        func wrong(_ tensor: PackedTensor) -> ConversionError {
            ConversionError(
                .unexpectedTensor,
                "tensor \(tensor.tensor.name) is \(tensor.tensor.type) of shape \(tensor.tensor.shapeText), which does not fit "
                    + "\(codes.tensor.type) of shape \(codes.tensor.shapeText)", path: codes.model.path,
                tensor: tensor.tensor.name)
        }
        guard shape.count == 2, ["F8_E4M3", "F8_E5M2", "I8"].contains(codes.tensor.type.name),
            shape.allSatisfy({ $0 > 0 && $0 <= ModelDimensions.sizeLimit })
        else { throw wrong(codes) }
        guard scale.tensor.type.isDecodable, scale.tensor.type.bits >= 8 else { throw wrong(scale) }
        let (rows, columns) = (shape[0], shape[1])
        switch scale.shape {
        case [], [1], [1, 1]:
            self.block = (rows, columns)
            scaleColumns = 1
        case [rows], [rows, 1]:
            self.block = (1, columns)
            scaleColumns = 1
        case let grid where grid.count == 2 && grid[0] > 0 && grid[1] > 0:
            let found = block ?? (grid[0] == rows ? 1 : 0, columns / grid[1])
            guard found.rows > 0, found.columns > 0, (rows + found.rows - 1) / found.rows == grid[0],
                (columns + found.columns - 1) / found.columns == grid[1]
            else { throw wrong(scale) }
            self.block = found
            scaleColumns = grid[1]
        default:
            throw wrong(scale)
        }
        if let zero {
            guard zero.shape == scale.shape, zero.tensor.type.isDecodable, zero.tensor.type.bits >= 8 else {
                throw wrong(zero)
            }
        }
        self.shape = shape
        self.codes = codes
        storedAs = name
        scales = try scale.floats()
        zeros = try zero?.floats()
        storedBytes = codes.tensor.byteCount + scale.tensor.byteCount
    }

    var type: TensorType { .f32 }
    var mapped: UnsafeRawBufferPointer? { nil }

    func read(rows: Range<Int>, into destination: UnsafeMutableRawBufferPointer) {
        let columns = shape[1]
        withFloats(destination) { floats in
            codes.tensor.type.decode(
                UnsafeRawBufferPointer(rebasing: codes.bytes[rows.lowerBound * columns..<rows.upperBound * columns]),
                into: floats)
            for row in rows {
                let line = (row - rows.lowerBound) * columns
                let first = row / block.rows * scaleColumns
                for group in 0..<scaleColumns {
                    let scale = scales[first + group]
                    let zero = zeros?[first + group] ?? 0
                    for column in group * block.columns..<min(columns, (group + 1) * block.columns) {
                        floats[line + column] = (floats[line + column] - zero) * scale
                    }
                }
            }
        }
    }
}

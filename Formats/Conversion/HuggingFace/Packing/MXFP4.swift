import TensorTypes

/// MXFP4: E2M1 in groups of 32 with a power of two. ggml has the same numbers in another order, so that they are repacked
/// without loss.
///
///     <name>_blocks  u8 (…, rows, groups, 16)   two values a byte, the first in the low half
///     <name>_scales  u8 (…, rows, groups)       exponent + 127
struct MXFP4Packing: WeightPacking {
    var name: String { "MXFP4" }

    func weight(_ name: String, in folder: inout FolderTensors) throws -> (any StoredWeight)? {
        guard let blocks = folder.packed(name + "_blocks") else { return nil }
        return try MXFP4Weight(blocks: blocks, scales: folder.requirePacked(name + "_scales"))
    }
}

struct MXFP4Weight: StoredWeight {
    let shape: [Int]
    let storedBytes: Int
    private let blocks: PackedTensor
    private let scales: PackedTensor
    private static let groupSize = 32

    /// - Parameters:
    ///   - blocks: (…, rows, groups, 16), or (rows, groups · 16).
    ///   - scales: (…, rows, groups).
    init(blocks: PackedTensor, scales: PackedTensor) throws {
        var shape = scales.shape
        guard let groups = shape.popLast(), groups > 0, groups <= ModelDimensions.sizeLimit / 32, !shape.isEmpty else {
            throw ConversionError(
                .unexpectedTensor, "tensor \(scales.tensor.name) has the shape \(scales.tensor.shapeText)",
                path: scales.model.path, tensor: scales.tensor.name)
        }
        let isFlat = blocks.shape.count == scales.shape.count
        try blocks.require(["U8"], shape: isFlat ? shape + [groups * 16] : scales.shape + [16])
        try scales.require(["U8", "F8_E8M0"], shape: scales.shape)
        self.shape = shape + [groups * Self.groupSize]
        self.blocks = blocks
        self.scales = scales
        storedBytes = blocks.tensor.byteCount + scales.tensor.byteCount
    }

    var type: TensorType { .mxfp4 }
    var storedAs: String { "MXFP4" }
    var mapped: UnsafeRawBufferPointer? { nil }

    func read(rows: Range<Int>, into destination: UnsafeMutableRawBufferPointer) {
        let groups = rowLength / Self.groupSize
        var place = 0
        for group in rows.lowerBound * groups..<rows.upperBound * groups {
            destination[place] = scales.bytes[group]
            // Values 2j and 2j + 1 share a byte there; j and j + 16 share one here.
            for j in 0..<16 {
                func code(_ position: Int) -> UInt8 {
                    let byte = blocks.bytes[group &* 16 &+ position / 2]
                    return position % 2 == 0 ? byte & 15 : byte >> 4
                }
                destination[place &+ 1 &+ j] = code(j) | code(j &+ 16) << 4
            }
            place += 17
        }
    }
}

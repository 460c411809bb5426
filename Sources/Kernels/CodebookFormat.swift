import CKernels
import TensorTypes

/// How a tensor type whose values come out of a table is put into panels: which table, and where its scales are.
///
/// The integers themselves are taken from the decoded values, by dividing by the scale: exact, because each value is the
/// product of one of these scales and one of these integers. So the grids of IQ1, IQ2 and IQ3 are not needed here.
struct CodebookFormat: Sendable {
    /// Scales of one block of the file.
    enum Scales: Sendable {
        /// Reads a float for all 256 values, and for each 16 of them the multiple of it that is their scale.
        case steps(@Sendable (UnsafeRawPointer, UnsafeMutablePointer<Int8>) -> Float)
        /// Reads a scale for each 16 values (each 32 for `CK_C4_BLOCK`) of a block.
        case plain(@Sendable (UnsafeRawPointer, UnsafeMutablePointer<Float>) -> Void)
    }
    let kind: ck_kind
    let codebook: [Int8]
    let scales: Scales

    private init(_ kind: ck_kind, _ codebook: [Int8], _ scales: Scales) {
        self.kind = kind
        self.codebook = codebook + Array(repeating: 0, count: 16 - codebook.count)
        self.scales = scales
    }

    /// Packs rows of `columns` values of `type` into the panel at `panel`.
    ///
    /// - Parameters:
    ///   - rows: `rowCount` rows, at most 16, `rowBytes` apart.
    func pack(
        _ rows: UnsafeRawPointer, rowBytes: Int, rowCount: Int, type: TensorType, columns: Int,
        into panel: UnsafeMutablePointer<UInt8>
    ) {
        panel.initialize(repeating: 0, count: ck_panel_bytes(kind, columns))
        let groups = columns / 16
        withUnsafeTemporaryAllocation(of: Float.self, capacity: columns + 2 * groups) { floats in
            withUnsafeTemporaryAllocation(of: Int8.self, capacity: groups) { steps in
                let values = floats.baseAddress!, scales = values + columns, steps = steps.baseAddress!
                for row in 0..<rowCount {
                    let bytes = rows + row * rowBytes
                    type.decode(
                        UnsafeRawBufferPointer(start: bytes, count: rowBytes),
                        into: UnsafeMutableBufferPointer(start: values, count: columns))
                    for block in 0..<columns / type.blockSize {
                        let source = bytes + block * type.bytesPerBlock
                        switch self.scales {
                        case .steps(let read): scales[block] = read(source, steps + 16 * block)
                        case .plain(let read):
                            read(source, scales + block * type.blockSize / (kind == CK_C4_BLOCK ? 32 : 16))
                        }
                    }
                    ck_pack_codebook_row(kind, codebook, values, scales, steps, scales, columns, row, panel)
                }
            }
        }
    }
}

// MARK: - The formats

extension CodebookFormat {
    /// The 16 numbers of IQ4_NL and IQ4_XS.
    private static let nonlinear: [Int8] = [
        -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
    ]
    /// Twice the values of a float of 4 bits (E2M1).
    private static let e2m1: [Int8] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]
    private static let iq2: [Int8] = [8, 25, 43, -8, -25, -43]
    private static let iq1: [Int8] = [-9, -7, -1, 1, 7, 9]
    private static func signed(_ magnitudes: [Int8]) -> [Int8] { magnitudes + magnitudes.map { -$0 } }

    static let q3_K = CodebookFormat(
        CK_C3, [-4, -3, -2, -1, 0, 1, 2, 3],
        .steps { block, steps in
            for group in 0..<16 {
                let low = group < 8 ? byte(block, 96 + group) & 15 : byte(block, 88 + group) >> 4
                let high = byte(block, 104 + group % 4) >> UInt8(2 * (group / 4)) & 3
                steps[group] = Int8(low | high << 4) - 32
            }
            return half(block, 108)
        })

    static let iq4_nl = CodebookFormat(CK_C4_BLOCK, nonlinear, .plain { block, scales in scales[0] = half(block, 0) })

    static let iq4_xs = CodebookFormat(
        CK_C4, nonlinear,
        .steps { block, steps in
            for group in 0..<8 {
                let low = byte(block, 4 + group / 2) >> UInt8(4 * (group % 2)) & 15
                let high = byte(block, 2 + group / 4) >> UInt8(2 * (group % 4)) & 3
                fill(steps, group, Int8(low | high << 4) - 32)
            }
            return half(block, 0)
        })

    static let iq3_s = CodebookFormat(
        CK_C4, signed([1, 3, 5, 7, 9, 11, 13, 15]),
        .steps { block, steps in
            for group in 0..<8 { fill(steps, group, odd(nibble(block, 106, group))) }
            return half(block, 0)
        })

    static let iq3_xxs = CodebookFormat(
        CK_C4, signed([4, 12, 20, 28, 36, 44, 52, 62]),
        .steps { block, steps in
            for group in 0..<8 { fill(steps, group, odd(byte(block, 69 + 4 * group) >> 4)) }
            return half(block, 0) * 0.25
        })

    static let iq2_s = CodebookFormat(
        CK_C3, iq2,
        .steps { block, steps in
            for group in 0..<16 { steps[group] = odd(nibble(block, 74, group)) }
            return half(block, 0) * 0.125
        })

    static let iq2_xs = CodebookFormat(
        CK_C3, iq2,
        .steps { block, steps in
            for group in 0..<16 { steps[group] = odd(nibble(block, 66, group)) }
            return half(block, 0) * 0.125
        })

    static let iq2_xxs = CodebookFormat(
        CK_C3, iq2,
        .steps { block, steps in
            for group in 0..<8 { fill(steps, group, odd(byte(block, 9 + 8 * group) >> 4)) }
            return half(block, 0) * 0.125
        })

    static let iq1_s = CodebookFormat(
        CK_C3, iq1,
        .steps { block, steps in
            for group in 0..<8 { fill(steps, group, odd(byte(block, 35 + 2 * group) >> 4 & 7)) }
            return half(block, 0) * 0.125
        })

    static let iq1_m = CodebookFormat(
        CK_C3, iq1,
        .steps { block, steps in
            var bits: UInt16 = 0
            for word in 0..<4 {
                let packed = UInt16(byte(block, 48 + 2 * word)) | UInt16(byte(block, 49 + 2 * word)) << 8
                bits |= (packed >> 12) << UInt16(4 * word)
                for l in 0..<4 { steps[4 * word + l] = odd(UInt8(packed >> UInt16(3 * l) & 7)) }
            }
            return Half.float(bits) * 0.125
        })

    static let tq1_0 = CodebookFormat(CK_C2, [0, 1, -1], .steps { block, steps in ones(steps, half(block, 52)) })
    static let tq2_0 = CodebookFormat(CK_C2, [0, 1, -1, 2], .steps { block, steps in ones(steps, half(block, 64)) })

    static let mxfp4 = CodebookFormat(
        CK_C4_FLOAT, e2m1,
        .plain { block, scales in
            let exponent = UInt32(byte(block, 0))
            let scale = Float(bitPattern: exponent < 2 ? 0x0020_0000 << exponent : (exponent - 1) << 23)
            scales[0] = scale
            scales[1] = scale
        })

    static let nvfp4 = CodebookFormat(
        CK_C4_FLOAT, e2m1,
        .plain { block, scales in
            for group in 0..<4 {
                let stored = byte(block, group)
                let fraction = Float(stored & 7), exponent = UInt32(stored >> 3 & 15)
                scales[group] =
                    stored == 127
                    ? 0
                    : exponent == 0
                        ? fraction * 0x1p-10 : (1 + fraction * 0.125) * Float(bitPattern: (exponent + 119) << 23)
            }
        })

    static let q1_0 = CodebookFormat(
        CK_C4_FLOAT, [1, -1],
        .plain { block, scales in scales.update(repeating: half(block, 0), count: 8) })

    static let q2_0 = CodebookFormat(
        CK_C4_FLOAT, [0, 1, -1, 2],
        .plain { block, scales in scales.update(repeating: half(block, 0), count: 4) })
}

// MARK: - Fields of blocks

private func byte(_ block: UnsafeRawPointer, _ offset: Int) -> UInt8 {
    block.load(fromByteOffset: offset, as: UInt8.self)
}

private func half(_ block: UnsafeRawPointer, _ offset: Int) -> Float {
    Half.float(UInt16(byte(block, offset)) | UInt16(byte(block, offset + 1)) << 8)
}

private func nibble(_ block: UnsafeRawPointer, _ offset: Int, _ index: Int) -> UInt8 {
    byte(block, offset + index / 2) >> UInt8(4 * (index % 2)) & 15
}

/// 2 * stored + 1.
private func odd(_ stored: UInt8) -> Int8 { Int8(2 * stored + 1) }

/// The scale of group `group` of 32, for both of its halves.
private func fill(_ steps: UnsafeMutablePointer<Int8>, _ group: Int, _ step: Int8) {
    steps[2 * group] = step
    steps[2 * group + 1] = step
}

private func ones(_ steps: UnsafeMutablePointer<Int8>, _ scale: Float) -> Float {
    steps.update(repeating: 1, count: 16)
    return scale
}

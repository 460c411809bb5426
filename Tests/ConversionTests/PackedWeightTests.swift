import ByteIO
import Foundation
import Safetensors
import TensorTypes
import Testing

@testable import Conversion

/// Each packing is packed here by its definition and read back through a whole folder: `up_proj` of the first layer has
/// 24 outputs and 16 inputs.
struct PackedWeightTests {
    private static let name = "model.layers.0.mlp.up_proj.weight"
    private static let base = "model.layers.0.mlp.up_proj."
    private static let (rows, columns) = (24, 16)

    /// The weight as GGUF would have it, read from a folder in which it is packed.
    private static func read(
        _ quantization: JSONValue, _ tensors: [String: ModelFolder.Tensor]
    ) throws -> [Float] {
        let folder = try ModelFolder(fixture: "llama") { config in
            config["quantization_config"] = quantization
        } tensors: { all in
            all[name] = nil
            for (name, tensor) in tensors { all[name] = tensor }
        }
        let source = try openSource(folder.path)
        #expect(source.warnings.isEmpty)
        let tensor = try #require(source.tensors.first { $0.name == "blk.0.ffn_up.weight" })
        #expect(tensor.type == .f32 && tensor.dimensions == [16, 24])
        return try source.withBytes(of: tensor) { try tensor.type.decoded($0) }
    }

    private static func words(_ shape: [Int], _ values: [UInt32]) -> ModelFolder.Tensor {
        .init(
            type: .i32, shape: shape,
            bytes: values.flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } })
    }

    private static func halves(_ shape: [Int], _ values: [Float]) throws -> ModelFolder.Tensor {
        .init(type: .f16, shape: shape, bytes: try TensorType.f16.encoded(values))
    }

    private static func floats(_ shape: [Int], _ values: [Float]) throws -> ModelFolder.Tensor {
        .init(type: .f32, shape: shape, bytes: try TensorType.f32.encoded(values))
    }

    /// Scales that F16 and F32 hold exactly.
    private static func scale(_ row: Int, _ group: Int) -> Float { Float(row + 3 * group + 1) / 64 }

    private static func matrix(_ value: (_ row: Int, _ column: Int) -> Float) -> [Float] {
        (0..<rows).flatMap { row in (0..<columns).map { value(row, $0) } }
    }

    @Test(arguments: [
        ("gptq", 4, false), ("gptq_v2", 4, false), ("gptq", 8, false), ("gptq", 4, true),
    ])
    func `GPTQ is unpacked`(format: String, bits: Int, isOrdered: Bool) throws {
        let (rows, columns, group) = (Self.rows, Self.columns, 8)
        let perWord = 32 / bits
        let limit = 1 << bits
        func number(_ input: Int, _ output: Int) -> Int { (input * 7 + output * 5) % limit }
        func zero(_ group: Int, _ output: Int) -> Int { 1 + (group * 3 + output) % (limit - 1) }
        func groupOf(_ input: Int) -> Int { isOrdered ? input * 5 % 16 / group : input / group }
        let offset = format == "gptq" ? 1 : 0
        func pack(_ value: (Int) -> Int) -> UInt32 {
            (0..<perWord).reduce(0) { $0 | UInt32(value($1)) << UInt32($1 * bits) }
        }
        var tensors: [String: ModelFolder.Tensor] = [:]
        tensors[Self.base + "qweight"] = Self.words(
            [columns / perWord, rows],
            (0..<columns / perWord).flatMap { word in
                (0..<rows).map { output in pack { number(word * perWord + $0, output) } }
            })
        tensors[Self.base + "qzeros"] = Self.words(
            [2, rows / perWord],
            (0..<2).flatMap { g in
                (0..<rows / perWord).map { word in pack { zero(g, word * perWord + $0) - offset } }
            })
        tensors[Self.base + "scales"] = try Self.halves(
            [2, rows], (0..<2).flatMap { g in (0..<rows).map { Self.scale($0, g) } })
        if isOrdered {
            tensors[Self.base + "g_idx"] = Self.words([columns], (0..<columns).map { UInt32(groupOf($0)) })
        }
        let found = try Self.read(
            [
                "quant_method": "gptq", "bits": JSONValue(bits), "group_size": JSONValue(group),
                "checkpoint_format": .string(format),
            ], tensors)
        #expect(
            found
                == Self.matrix { output, input in
                    let g = groupOf(input)
                    return Self.scale(output, g) * Float(number(input, output) - zero(g, output))
                })
    }

    /// F8_E4M3 by its definition.
    private static func e4m3(_ code: UInt8) -> Float {
        let sign: Float = code & 0x80 == 0 ? 1 : -1
        let (exponent, mantissa) = (Int(code >> 3 & 15), Float(code & 7))
        if exponent == 0 { return sign * mantissa / 512 }
        let power = Float(sign: .plus, exponent: exponent - 7, significand: 1)
        return sign * (1 + mantissa / 8) * power
    }

    /// Codes without NaN.
    private static func code(_ row: Int, _ column: Int) -> UInt8 {
        let code = UInt8((row * 37 + column * 11) % 256)
        return code & 0x7F == 0x7F ? 0x30 : code
    }

    private static let fp8 = SafetensorsType(name: "F8_E4M3") ?? .u8

    @Test func `FP8 with scales of blocks is unpacked, also where blocks do not divide the matrix`() throws {
        let codes = (0..<Self.rows).flatMap { row in (0..<Self.columns).map { Self.code(row, $0) } }
        let found = try Self.read(
            ["quant_method": "fp8", "weight_block_size": [10, 6]],
            [
                Self.name: .init(type: Self.fp8, shape: [Self.rows, Self.columns], bytes: codes),
                Self.name + "_scale_inv": try Self.floats(
                    [3, 3], (0..<3).flatMap { row in (0..<3).map { Self.scale(row, $0) } }),
            ])
        #expect(found == Self.matrix { Self.e4m3(Self.code($0, $1)) * Self.scale($0 / 10, $1 / 6) })
    }

    @Test func `FP8 with one scale, or one a row, is unpacked`() throws {
        let codes = (0..<Self.rows).flatMap { row in (0..<Self.columns).map { Self.code(row, $0) } }
        let weight = ModelFolder.Tensor(type: Self.fp8, shape: [Self.rows, Self.columns], bytes: codes)
        let whole = try Self.read(
            ["quant_method": "fp8"],
            [
                Self.name: weight, Self.name + "_scale": try Self.floats([], [0.5]),
                Self.base + "input_scale": try Self.floats([], [3]),
            ])
        #expect(whole == Self.matrix { Self.e4m3(Self.code($0, $1)) * 0.5 })
        let lines = try Self.read(
            [
                "quant_method": "compressed-tensors", "format": "float-quantized",
                "config_groups": ["group_0": ["weights": ["num_bits": 8, "type": "float", "strategy": "channel"]]],
            ],
            [
                Self.name: weight,
                Self.name + "_scale": try Self.floats([Self.rows, 1], (0..<Self.rows).map { Self.scale($0, 0) }),
            ])
        #expect(lines == Self.matrix { Self.e4m3(Self.code($0, $1)) * Self.scale($0, 0) })
    }

    @Test func `int8 with zeros is unpacked`() throws {
        let codes = (0..<Self.rows).flatMap { row in (0..<Self.columns).map { Self.code(row, $0) } }
        let found = try Self.read(
            [
                "quant_method": "compressed-tensors", "format": "int-quantized",
                "config_groups": ["group_0": ["weights": ["num_bits": 8, "type": "int", "strategy": "channel"]]],
            ],
            [
                Self.name: .init(type: .i8, shape: [Self.rows, Self.columns], bytes: codes),
                Self.name + "_scale": try Self.floats([Self.rows, 1], (0..<Self.rows).map { Self.scale($0, 0) }),
                Self.name + "_zero_point": .init(
                    type: .i8, shape: [Self.rows, 1], bytes: (0..<Self.rows).map { UInt8($0) }),
            ])
        #expect(
            found == Self.matrix { (Float(Int8(bitPattern: Self.code($0, $1))) - Float($0)) * Self.scale($0, 0) })
    }

    @Test(arguments: [false, true])
    func `packed int4 is unpacked, with zeros and without`(hasZeros: Bool) throws {
        func number(_ row: Int, _ column: Int) -> Int { (row * 3 + column * 5) % 16 }
        func zero(_ row: Int, _ group: Int) -> Int { hasZeros ? (row + group * 2) % 16 : 8 }
        func pack(_ value: (Int) -> Int) -> UInt32 { (0..<8).reduce(0) { $0 | UInt32(value($1)) << UInt32($1 * 4) } }
        var tensors = [
            Self.name + "_packed": Self.words(
                [Self.rows, 2],
                (0..<Self.rows).flatMap { row in (0..<2).map { word in pack { number(row, word * 8 + $0) } } }),
            Self.name + "_scale": try Self.halves(
                [Self.rows, 2], (0..<Self.rows).flatMap { row in (0..<2).map { Self.scale(row, $0) } }),
            Self.name + "_shape": ModelFolder.Tensor(
                type: .i64, shape: [2], bytes: [24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0]),
        ]
        if hasZeros {
            tensors[Self.name + "_zero_point"] = Self.words(
                [3, 2], (0..<3).flatMap { word in (0..<2).map { g in pack { zero(word * 8 + $0, g) } } })
        }
        let found = try Self.read(
            [
                "quant_method": "compressed-tensors", "format": "pack-quantized",
                "config_groups": [
                    "group_0": ["weights": ["num_bits": 4, "group_size": 8, "symmetric": .bool(!hasZeros)]]
                ],
            ], tensors)
        #expect(found == Self.matrix { Self.scale($0, $1 / 8) * Float(number($0, $1) - zero($0, $1 / 8)) })
    }

    private static let e2m1: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6]

    @Test func `NVFP4 is unpacked`() throws {
        func nibble(_ row: Int, _ column: Int) -> UInt8 { UInt8((row * 5 + column * 3) % 16) }
        func value(_ code: UInt8) -> Float { code < 8 ? Self.e2m1[Int(code)] : -Self.e2m1[Int(code) - 8] }
        var packed: [UInt8] = []
        for row in 0..<Self.rows {
            for byte in 0..<8 {
                let (low, high) = (nibble(row, 2 * byte), nibble(row, 2 * byte + 1))
                packed.append(low | high << 4)
            }
        }
        let scales = (0..<Self.rows).map { UInt8(0x30 + $0) }
        let found = try Self.read(
            [
                "quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized",
                "config_groups": ["group_0": ["weights": ["num_bits": 4, "group_size": 16, "type": "float"]]],
            ],
            [
                Self.name + "_packed": .init(
                    type: .u8, shape: [Self.rows, 8],
                    bytes: packed),
                Self.name + "_scale": .init(type: Self.fp8, shape: [Self.rows, 1], bytes: scales),
                Self.name + "_global_scale": try Self.floats([1], [4]),
            ])
        #expect(found == Self.matrix { value(nibble($0, $1)) * (Self.e4m3(scales[$0]) / 4) })
    }

    @Test func `MXFP4 is put into ggml's order without loss`() throws {
        let folder = try ModelFolder()
        // Three rows of two groups: value n of group g has the code (n + g) % 16.
        var blocks: [UInt8] = []
        for group in 0..<6 {
            for byte in 0..<16 {
                let (low, high) = (UInt8((2 * byte + group) % 16), UInt8((2 * byte + 1 + group) % 16))
                blocks.append(low | high << 4)
            }
        }
        try folder.write([
            "w_blocks": .init(type: .u8, shape: [3, 2, 16], bytes: blocks),
            "w_scales": .init(type: .u8, shape: [3, 2], bytes: [120, 121, 122, 123, 124, 125]),
        ])
        let model = try SafetensorsModel(path: folder.path)
        var tensors = try FolderTensors(model)
        let weight = try #require(try MXFP4Packing().weight("w", in: &tensors))
        #expect(weight.shape == [3, 64] && weight.type.name == "MXFP4")
        var bytes = [UInt8](repeating: 0, count: 4 * 17)
        try bytes.withUnsafeMutableBytes { try weight.read(rows: 1..<3, into: $0) }
        for group in 2..<6 {
            let block = bytes[(group - 2) * 17..<(group - 1) * 17]
            #expect(block.first == UInt8(120 + group))
            let low = block.dropFirst().map { Int($0 & 15) }
            let high = block.dropFirst().map { Int($0 >> 4) }
            #expect(low + high == (0..<32).map { ($0 + group) % 16 })
        }
    }

    @Test func `a packed weight of the wrong shape is refused`() throws {
        let quantization: JSONValue = ["quant_method": "gptq", "bits": 4, "group_size": 8]
        let good = [
            Self.base + "qweight": Self.words([2, 24], Array(repeating: 0, count: 48)),
            Self.base + "qzeros": Self.words([2, 3], Array(repeating: 0, count: 6)),
            Self.base + "scales": try Self.halves([2, 24], Array(repeating: 1, count: 48)),
        ]
        #expect(failure { _ = try Self.read(quantization, good) } == nil)
        for (name, tensor) in [
            ("qzeros", Self.words([2, 2], [0, 0, 0, 0])),
            ("scales", try Self.halves([1, 24], Array(repeating: 1, count: 24))),
            ("g_idx", Self.words([16], (0..<16).map { $0 == 3 ? 2 : 0 })), ("g_idx", Self.words([2], [0, 0])),
            ("qweight", Self.words([4, 12], Array(repeating: 0, count: 48))),
        ] {
            var tensors = good
            tensors[Self.base + name] = tensor
            #expect(failure { _ = try Self.read(quantization, tensors) }?.contains(Self.base) ?? false, "\(name)")
        }
        var tensors = good
        tensors[Self.base + "scales"] = nil
        #expect(failure { _ = try Self.read(quantization, tensors) }?.contains("scales is missing") ?? false)
    }
}

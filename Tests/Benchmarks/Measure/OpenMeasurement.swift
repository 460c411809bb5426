import ByteIO
import Foundation
import GGUF
import Safetensors

/// How long opening files with many tensors takes: mapping, parsing and checking the whole header.
enum OpenMeasurement {
    static let usage = "[--tensors N] [--runs N] [--json]"

    static func run(_ words: [String]) throws {
        let arguments = try Arguments(words, positional: [], options: ["--tensors", "--runs"], flags: ["--json"])
        let count = try arguments.int("--tensors", default: 10_000)
        let runs = try arguments.int("--runs", default: 15)
        let folder = NSTemporaryDirectory() + "/incipit-measure-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }

        var gguf = try GGUFWriter(metadata: ["general.architecture": .text("llama")])
        var safetensors = SafetensorsWriter(metadata: [("format", "pt")])
        let values = [Float](repeating: 1, count: 64)
        for number in 0..<count {
            try gguf.add(name: "blk.\(number / 10).ffn_gate.\(number % 10).weight", dimensions: [8, 8], floats: values)
            try safetensors.add(
                name: "model.layers.\(number / 10).mlp.experts.\(number % 10).weight", shape: [8, 8], floats: values)
        }
        try gguf.write(to: folder + "/m.gguf")
        try safetensors.write(to: folder + "/m.safetensors")
        var ggufTimes: [Double] = []
        var safetensorsTimes: [Double] = []
        for _ in 0..<runs {
            ggufTimes.append(try seconds { _ = try GGUFFile(path: folder + "/m.gguf") })
            safetensorsTimes.append(try seconds { _ = try SafetensorsFile(path: folder + "/m.safetensors") })
        }
        try Report.print(
            [
                ("tensors", count), ("gguf_ms", Report.rounded(ggufTimes.median * 1000, 2)),
                ("safetensors_ms", Report.rounded(safetensorsTimes.median * 1000, 2)),
            ], json: arguments.has("--json"))
    }
}

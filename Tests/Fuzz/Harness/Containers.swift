import GGUF
import Safetensors

/// Opens the bytes as a GGUF file and looks at all of it: every value, every tensor's bytes, small tensors' numbers.
@Sendable func readGGUF(_ bytes: [UInt8]) {
    guard let file = try? GGUFFile(bytes: bytes, name: "fuzz.gguf") else { return }
    _ = GGUFKind.of(file).facts(of: file)
    for entry in file.metadata.entries {
        _ = try? file.metadata.stringIfPresent(entry.key)
        _ = try? file.metadata.stringsIfPresent(entry.key)
        _ = try? file.metadata.intsIfPresent(entry.key)
        _ = try? file.metadata.floatsIfPresent(entry.key)
    }
    for tensor in file.tensors.prefix(64) {
        let content = file.bytes(of: tensor)
        if let first = content.first, let last = content.last { consume(Int(first) + Int(last)) }
        if tensor.elementCount <= 1 << 16 { _ = try? file.floats(of: tensor) }
    }
}

/// Opens the bytes as a safetensors file and looks at all of it.
@Sendable func readSafetensors(_ bytes: [UInt8]) {
    guard let file = try? SafetensorsFile(bytes: bytes, name: "fuzz.safetensors") else { return }
    for tensor in file.tensors.prefix(64) {
        let content = file.bytes(of: tensor)
        if let first = content.first, let last = content.last { consume(Int(first) + Int(last)) }
        if tensor.elementCount <= 1 << 16 { _ = try? file.floats(of: tensor) }
    }
}

/// Reads the bytes as the index of a sharded model, writes it again, and opens the model, whose parts are missing.
@Sendable func readSafetensorsIndex(_ bytes: [UInt8]) {
    let name = "model.safetensors.index.json"
    guard let folder = try? Scratch.folder(with: [(name, bytes)]) else { return }
    if let index = try? SafetensorsIndex(path: folder + "/" + name) {
        consume(index.files.count + index.jsonBytes().count)
    }
    _ = try? SafetensorsModel(path: folder)
}

/// Keeps what was computed from being optimised away.
@inline(never) func consume(_ value: Int) {}

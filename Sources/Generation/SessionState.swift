import ByteIO
import Kernels
import LanguageModels
import Layers
import Safetensors
import SoftPrompts

/// A session's state in a file: its tokens and their keys and values, so that a long text is read once and continued
/// many times, or after a restart.
///
/// A safetensors file: what it belongs to is in its metadata, `tokens` are the ids behind the attached prompt, and
/// `layer.<n>.keys` and `layer.<n>.values` the cached rows `(head, position, bytes)` as they are stored. The attached
/// prompt's own rows are not in it: it is attached again, and must be the same. Written by way of a temporary file; the
/// same state gives the same bytes.
extension Session {
    private static let format = "incipit-session-1"

    /// Writes the state behind the attached prompt.
    ///
    /// - Parameters:
    ///   - path: the file, replaced if it is there.
    ///   - base: the model's fingerprint; a state is read into the same model only.
    ///   - promptIdentity: what names the attached prompt exactly, such as its manifest's digest.
    /// - Throws: `ModelError.invalidState` when a sliding window has let go of positions, and what writing throws.
    public func save(to path: String, base: BaseFingerprint, promptIdentity: String? = nil) throws {
        guard cache.layers.allSatisfy({ $0.firstKept <= attachedCount }) else {
            throw ModelError(
                .invalidState,
                "the session's sliding windows have let go of positions; begin it with canRewind to save it", path: path
            )
        }
        var writer = SafetensorsWriter(metadata: identity(base, promptIdentity))
        try writer.add(
            name: "tokens", type: .i64, shape: [tokens.count],
            source: { [tokens] output in
                for token in tokens { try output.write(withUnsafeBytes(of: Int64(token).littleEndian) { Array($0) }) }
            })
        let (first, count) = (attachedCount, tokens.count)
        for (index, layer) in cache.layers.enumerated() {
            for isValue in [false, true] {
                try writer.add(
                    name: Self.name(index, isValue: isValue), type: .u8,
                    shape: [layer.headCount, count, layer.bytesPerRow],
                    source: { output in
                        let row = UnsafeMutableRawBufferPointer.allocate(
                            byteCount: layer.bytesPerRow, alignment: 64)
                        defer { row.deallocate() }
                        guard let base = row.baseAddress else { return }
                        for head in 0..<layer.headCount {
                            for slot in first..<first + count {
                                layer.copyRow(slot: slot, head: head, isValue: isValue, to: base)
                                try output.write(UnsafeRawBufferPointer(row))
                            }
                        }
                    })
            }
        }
        try writer.write(to: path)
    }

    /// Puts the state of a file in place of what is behind the attached prompt.
    ///
    /// - Throws: `ModelError.invalidState` when the file is no session of this model, attached prompt and number format,
    ///   or is damaged, saying what differs; the session is then as it was.
    public func load(from path: String, base: BaseFingerprint, promptIdentity: String? = nil) throws {
        func refuse(_ message: String) -> ModelError { ModelError(.invalidState, message, path: path) }
        let file: SafetensorsFile
        do { file = try SafetensorsFile(path: path) } catch let error as SafetensorsError {
            throw refuse("this is no saved session: \(error.message)")
        }
        guard file.metadataValue("format") == Self.format else {
            throw refuse("this is no session that this version of Incipit has saved")
        }
        for (key, value) in identity(base, promptIdentity) where file.metadataValue(key) != value {
            let other = file.metadataValue(key) ?? "none"
            throw refuse("the session was saved with another \(key.replacing("_", with: " ")): \(other), not \(value)")
        }
        let tokens = try self.tokens(of: file, refuse)
        let restored = model.makeCache(
            beginningWith: prompt?.prefix, element: cache.element, canRewind: canRewind)
        restored.reserve(attachedCount + tokens.count)
        for (index, layer) in restored.layers.enumerated() {
            for isValue in [false, true] {
                let name = Self.name(index, isValue: isValue)
                guard let tensor = file.tensor(named: name), tensor.type == .u8,
                    tensor.shape.map({ Int(exactly: $0) }) == [layer.headCount, tokens.count, layer.bytesPerRow]
                else { throw refuse("\(name) is missing or has another shape; the file is damaged") }
                let bytes = file.bytes(of: tensor)
                guard let start = bytes.baseAddress else { continue }
                for head in 0..<layer.headCount {
                    for slot in 0..<tokens.count {
                        layer.setRow(
                            slot: attachedCount + slot, head: head, isValue: isValue,
                            from: start + (head * tokens.count + slot) * layer.bytesPerRow)
                    }
                }
            }
        }
        restored.advance(by: tokens.count)
        restore(restored, tokens: tokens)
    }

    private static func name(_ layer: Int, isValue: Bool) -> String { "layer.\(layer).\(isValue ? "values" : "keys")" }

    /// What must be equal for a state to belong to a session.
    private func identity(_ base: BaseFingerprint, _ promptIdentity: String?) -> [(key: String, value: String)] {
        [
            ("format", Self.format), ("base", base.fingerprint), ("shape", model.shape.promptShape.text),
            ("cache_type", cache.element.rawValue), ("attached_prompt", promptIdentity ?? "none"),
            ("attached_tokens", String(attachedCount)),
        ]
    }

    private func tokens(of file: SafetensorsFile, _ refuse: (String) -> ModelError) throws -> [Int] {
        guard let tensor = file.tensor(named: "tokens"), tensor.type == .i64, tensor.shape.count == 1,
            let count = Int(exactly: tensor.shape[0])
        else {
            throw refuse("its tokens are missing; the file is damaged")
        }
        let bytes = file.bytes(of: tensor)
        guard count <= model.shape.contextLength - attachedCount, bytes.count == 8 * count else {
            throw refuse("its \(count) tokens do not fit this model's context of \(model.shape.contextLength)")
        }
        return try (0..<count).map { index in
            let id = Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * index, as: Int64.self))
            guard id >= 0, id < Int64(model.shape.vocabularySize) else {
                throw refuse("token \(id) is outside the vocabulary; the file is damaged")
            }
            return Int(id)
        }
    }
}

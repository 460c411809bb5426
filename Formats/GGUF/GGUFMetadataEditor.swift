import ByteIO
import TensorTypes

/// Changes the metadata of a GGUF file without touching its tensors.
///
/// Changes are collected and checked one by one; ``plan()`` says how they would be written, ``commit(shouldContinue:)``
/// writes them:
///
/// - **in place**, when the tensor data can stay where it is: a value of the same length, or one that uses or leaves a
///   few bytes of the padding behind the header. The old bytes are saved in a journal beside the file first, so that a
///   crash at any moment leaves either the old metadata or the new (see `HeaderJournal`);
/// - else by **rewriting** into a temporary file that takes the place of the old one; tensor bytes are copied as they
///   are.
///
/// Files of version 1 or 2, or in big-endian order, are always rewritten, as version 3 in little-endian order. Of a split
/// model, only the one part is edited.
///
///     var editor = try GGUFMetadataEditor(path: "model.gguf")
///     try editor.set("general.name", to: .text("Otter"))
///     try editor.commit()
public struct GGUFMetadataEditor {
    /// How the changes would be written.
    public enum Plan: Sendable, Equatable {
        /// Nothing differs.
        case nothing
        /// So many bytes of the header change.
        case inPlace(bytes: Int)
        /// The whole file is written anew.
        case rewrite(bytes: Int)
    }

    /// The file, and only it, even when it is part of a split model.
    public let file: GGUFFile
    /// The metadata with all changes made so far.
    public private(set) var metadata: GGUFMetadata
    /// Whether changes are allowed that other programs may stumble over.
    public let force: Bool

    /// Opens the file; a change that a crash has interrupted is undone first.
    /// - Parameters:
    ///   - path: the file; through a symbolic link, the one it leads to.
    ///   - force: allows removing or renaming what identifies the model, changing a value's type, and keys
    ///     that number parts. What could never be read again is refused all the same.
    public init(path: String, force: Bool = false) throws {
        try HeaderJournal.recover(path: path)
        try self.init(file: GGUFFile(path: path, split: .partAlone), force: force)
    }

    init(file: GGUFFile, force: Bool) {
        self.file = file
        self.force = force
        metadata = file.metadata
    }

    // MARK: - Changes

    /// Sets a value; a key that is there keeps its place, a new one is appended.
    /// - Throws: ``GGUFError`` of code `refusedEdit` that says why, and what would be allowed.
    public mutating func set(_ key: String, to value: GGUFValue) throws(GGUFError) {
        try checkKey(key)
        try protectSplit(key)
        if let old = metadata[key], !Self.isSameType(old, value), !force {
            throw refusal(
                "\(key) is of type \(Self.typeName(old)), not \(Self.typeName(value)); --force changes it", key)
        }
        if key == GGUFLimits.alignmentKey { try checkAlignment(value) }
        if key == "general.architecture" {
            guard case .string(let text) = value, !text.bytes.isEmpty else {
                throw refusal("\(key) must be a string that is not empty", key)
            }
        }
        metadata[key] = value
    }

    /// Removes a pair.
    public mutating func delete(_ key: String) throws(GGUFError) {
        try require(key)
        try protectSplit(key)
        try protectIdentity(key, "removed")
        metadata[key] = nil
    }

    /// Gives a pair another key; it keeps its place.
    public mutating func rename(_ key: String, to newKey: String) throws(GGUFError) {
        try require(key)
        try checkKey(newKey)
        try protectSplit(key)
        try protectSplit(newKey)
        try protectIdentity(key, "renamed")
        guard metadata[newKey] == nil else {
            throw refusal("\(newKey) is there already; delete it first", newKey)
        }
        if newKey == GGUFLimits.alignmentKey, let value = metadata[key] { try checkAlignment(value) }
        metadata.rename(key, to: newKey)
    }

    // MARK: - Checks

    private func require(_ key: String) throws(GGUFError) {
        guard metadata[key] == nil else { return }
        let near = metadata.keys.filter { $0.hasSuffix("." + key) || $0.hasPrefix(key) }.prefix(3)
        throw GGUFError(
            .missingKey,
            "there is no metadata key \(key.quotedForMessage)"
                + (near.isEmpty ? "" : "; there is \(near.joined(separator: ", "))"), path: file.path, key: key)
    }

    private func checkKey(_ key: String) throws(GGUFError) {
        guard !key.isEmpty, key.utf8.count <= GGUFLimits.keyLength else {
            throw refusal("a key has 1 to \(GGUFLimits.keyLength) bytes, not \(key.utf8.count)", key)
        }
    }

    private func protectSplit(_ key: String) throws(GGUFError) {
        guard GGUFSplit.keys.contains(key), !force else { return }
        throw refusal("\(key) numbers the parts of a split model; --force changes it all the same", key)
    }

    private func protectIdentity(_ key: String, _ verb: String) throws(GGUFError) {
        if key == "general.architecture", !force {
            throw refusal("without \(key) no program can load the model; it is \(verb) only with --force", key)
        }
        if key == GGUFLimits.alignmentKey, file.alignment != GGUFLimits.defaultAlignment {
            throw refusal(
                "\(key) cannot be \(verb): the tensors lie at multiples of \(file.alignment), not "
                    + "\(GGUFLimits.defaultAlignment)", key)
        }
    }

    private func checkAlignment(_ value: GGUFValue) throws(GGUFError) {
        guard value == .uint32(UInt32(clamping: file.alignment)) else {
            throw refusal(
                "\(GGUFLimits.alignmentKey) must be a u32 of \(file.alignment), as the tensors of this file lie; "
                    + "another alignment needs the file written anew", GGUFLimits.alignmentKey)
        }
    }

    private func refusal(_ message: String, _ key: String) -> GGUFError {
        GGUFError(.refusedEdit, message, path: file.path, key: key)
    }

    private static func isSameType(_ left: GGUFValue, _ right: GGUFValue) -> Bool {
        if case .array(let a) = left, case .array(let b) = right { return a.elementType == b.elementType }
        return left.type == right.type
    }

    private static func typeName(_ value: GGUFValue) -> String {
        if case .array(let array) = value { return "[\(array.elementType)]" }
        return value.type.description
    }

    /// What a loader would stumble over after the changes, a sentence each: lists of a tokenizer that differ in length,
    /// special tokens beyond its end.
    public var inconsistencies: [String] {
        var result: [String] = []
        guard case .array(let tokens)? = metadata["tokenizer.ggml.tokens"] else { return [] }
        for name in ["scores", "token_type"] {
            if case .array(let other)? = metadata["tokenizer.ggml.\(name)"], other.count != tokens.count {
                result.append(
                    "tokenizer.ggml.\(name) has \(other.count) elements, tokenizer.ggml.tokens \(tokens.count)")
            }
        }
        for entry in metadata.entries
        where entry.key.hasPrefix("tokenizer.ggml.") && entry.key.hasSuffix("_token_id") {
            guard let id = entry.value.intValue, id >= tokens.count, id != Int(UInt32.max) else { continue }
            result.append("\(entry.key) is \(id), but there are only \(tokens.count) tokens")
        }
        return result
    }

    // MARK: - Writing

    /// How the changes would be written now.
    public func plan() throws(GGUFError) -> Plan {
        guard metadata.entries != file.metadata.entries else { return .nothing }
        if let patch = patch() { return .inPlace(bytes: patch.bytes.count) }
        return .rewrite(bytes: try writer().fileByteCount)
    }

    /// Writes the changes.
    /// - Parameter shouldContinue: asked now and then while a file is rewritten, with the bytes written so far.
    /// - Returns: how it was done.
    /// - Throws: ``GGUFError`` when the result would contradict itself and ``force`` is not set, or
    ///   `ByteIOError`. The file is then as it was.
    @discardableResult
    public func commit(shouldContinue: ((_ written: Int) -> Bool)? = nil) throws -> Plan {
        let plan = try plan()
        if !force, let first = inconsistencies.first {
            throw GGUFError(.refusedEdit, "\(first); --force writes it all the same", path: file.path)
        }
        switch plan {
        case .nothing: break
        case .inPlace:
            guard let patch = patch() else { preconditionFailure("an edit in place without its bytes") }
            try HeaderJournal.apply(patch.bytes, at: patch.offset, to: file.file)
        case .rewrite:
            let writer = try writer()
            try RewrittenFile.write(over: file.file) { path, permissions in
                try AtomicFile.write(
                    to: path, permissions: permissions, expectedSize: writer.fileByteCount
                ) { output in
                    output.shouldContinue = shouldContinue
                    try writer.write(writer.tensors[...], metadata: writer.metadata, into: &output)
                }
            }
        }
        return plan
    }

    private func writer() throws(GGUFError) -> GGUFWriter { try GGUFWriter(copying: file, metadata: metadata) }

    /// The bytes of the header that differ, when the data can stay in its place.
    private func patch() -> (offset: Int, bytes: ArraySlice<UInt8>)? {
        let part = file.parts[0]
        guard part.version == 3, !part.isBigEndian else { return nil }
        let tensors = part.tensors.map {
            GGUFEncoding.Tensor(
                name: $0.name, type: $0.type, dimensions: $0.dimensions, offset: $0.fileOffset - part.dataOffset)
        }
        var header = GGUFEncoding.header(metadata: metadata, tensors: tensors)
        guard GGUFWriter.padded(header.count, to: part.alignment) == part.dataOffset else { return nil }
        let end = min(part.dataOffset, part.file.count)
        guard header.count <= end else { return nil }
        header.append(contentsOf: repeatElement(0, count: end - header.count))
        return part.file.unsafeBytes[..<end].withContiguousStorageIfAvailable { old in
            guard let first = (0..<end).first(where: { old[$0] != header[$0] }),
                let last = (0..<end).last(where: { old[$0] != header[$0] })
            else { return (0, []) }
            return (first, header[first...last])
        }
    }
}

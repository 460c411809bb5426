import ByteIO

/// The tokenizer files of a model folder, read when asked for.
///
/// A file that is not there is nil; one that cannot be read or parsed is one ``ConversionError``.
struct TokenizerFolder: Sendable {
    /// Larger files are refused before they are looked at; the largest real `tokenizer.json` has about 40 MB.
    static let sizeLimit = 1 << 30

    let path: String

    func path(of name: String) -> String { path.hasSuffix("/") ? path + name : path + "/" + name }

    /// A file's bytes, mapped.
    func file(_ name: String) throws -> MappedFile? {
        let file: MappedFile
        do {
            file = try MappedFile(path: path(of: name))
        } catch  where error.code == .notFound {
            return nil
        } catch {
            throw ConversionError(.malformed, error.message, path: path(of: name))
        }
        guard file.count <= Self.sizeLimit else {
            throw ConversionError(
                .malformed, "the file has \(file.count) bytes; a tokenizer file has at most \(Self.sizeLimit)",
                path: path(of: name))
        }
        return file
    }

    /// The object that a JSON file holds.
    func json(_ name: String) throws -> JSONObject? {
        guard let file = try file(name) else { return nil }
        do {
            let value = try withExtendedLifetime(file) { try JSONValue.parse(file.unsafeBytes) }
            guard case .object(let object) = value else {
                throw ConversionError(
                    .malformed, "the file should hold a JSON object but holds \(value.kind)", path: path(of: name))
            }
            return object
        } catch let error as ByteIOError {
            let place = error.offset.map { " (at byte \($0))" } ?? ""
            throw ConversionError(.malformed, error.message + place, path: path(of: name))
        }
    }

    /// A text file, which must be UTF-8.
    func text(_ name: String) throws -> String? {
        guard let file = try file(name) else { return nil }
        guard let text = withExtendedLifetime(file, { String(validating: file.unsafeBytes, as: UTF8.self) }) else {
            throw ConversionError(.malformed, "the file is not valid UTF-8", path: path(of: name))
        }
        return text
    }
}

import ByteIO
import Foundation
import GGUF

/// What a folder's README.md says about the model, as GGUF's `general.*` keys.
///
/// The text may begin with a block of YAML between two lines `---` (Hugging Face's model card):
///
///     ---
///     license: apache-2.0
///     language: [en, fr]
///     base_model:
///       - HuggingFaceTB/SmolLM2-135M
///     ---
///
/// | field | key |
/// | --- | --- |
/// | `license`, `license_name`, `license_link` | `general.license`, `general.license.name`, `general.license.link` |
/// | `base_model` | `general.base_model.count`, `….<n>.name`, `.organization`, `.repo_url` |
/// | `datasets` | `general.dataset.count`, and so on |
/// | `tags`, `pipeline_tag` | `general.tags` |
/// | `language`, `languages` | `general.languages` |
/// | `model_name`, `model_creator`, `model_description`, … | `general.name`, `general.author`, `general.description`, … |
///
/// The card is decoration: what cannot be understood is passed over, never an error. Sources: Hugging Face hub-docs
/// (model card metadata); the keys and titles are those of gguf-py's `metadata.py`.
struct ModelCard {
    /// Larger texts are not looked at.
    static let sizeLimit = 1 << 20

    private let fields: [String: [String]]

    init(folder: String) {
        guard let file = try? MappedFile(path: folder + "/README.md"), file.count <= Self.sizeLimit else {
            self.init(text: "")
            return
        }
        self.init(text: withExtendedLifetime(file) { String(decoding: file.unsafeBytes, as: UTF8.self) })
    }

    init(text: String) { fields = FrontMatter.fields(of: text) }

    /// The pairs, in the reference converter's order. `general.name` is there only when the card gives one.
    var pairs: [(key: String, value: GGUFValue)] {
        var result: [(key: String, value: GGUFValue)] = []
        for (key, names) in Self.texts {
            let values = names.lazy.compactMap { fields[$0] }.first { !$0.isEmpty }
            if let values { result.append((key, .text(values.joined(separator: ",")))) }
        }
        result += Self.references("base_model", first("base_model", "base_models", "base_model_sources"))
        result += Self.references("dataset", first("datasets", "dataset", "dataset_sources"))
        for (key, names) in [("tags", ["tags", "pipeline_tag"]), ("languages", ["languages", "language"])] {
            let values = names.flatMap { fields[$0] ?? [] }
            if !values.isEmpty { result.append(("general.\(key)", .array(GGUFArray(values)))) }
        }
        return result
    }

    private static let texts: [(key: String, names: [String])] = [
        ("general.name", ["name", "model_name"]),
        ("general.author", ["author", "model_author", "model_creator"]),
        ("general.version", ["version", "model_version"]),
        ("general.organization", ["organization", "model_organization"]),
        ("general.finetune", ["finetune", "model_finetune"]),
        ("general.basename", ["basename", "model_basename"]),
        ("general.description", ["description", "model_description"]),
        ("general.size_label", ["size_label", "model_size_label"]),
        ("general.license", ["license"]), ("general.license.name", ["license_name"]),
        ("general.license.link", ["license_link"]), ("general.source.url", ["url", "model_url"]),
        ("general.source.doi", ["doi", "model_doi"]), ("general.source.uuid", ["uuid", "model_uuid"]),
        ("general.source.repo_url", ["repo_url", "model_repo_url"]),
    ]

    private func first(_ names: String...) -> [String] { names.lazy.compactMap { fields[$0] }.first ?? [] }

    // MARK: - Names of other repositories

    /// `organization/name`, or an address, as the keys that describe another model or a data set.
    private static func references(_ kind: String, _ names: [String]) -> [(key: String, value: GGUFValue)] {
        guard !names.isEmpty else { return [] }
        let names = names.prefix(64)
        var result: [(key: String, value: GGUFValue)] = [("general.\(kind).count", .uint32(UInt32(names.count)))]
        for (number, name) in names.enumerated() {
            let prefix = "general.\(kind).\(number)"
            let isAddress = ["http://", "https://", "ssh://"].contains { name.hasPrefix($0) }
            let host = ["https://huggingface.co/", "http://huggingface.co/"].first { name.hasPrefix($0) }
            let parts = (host.map { String(name.dropFirst($0.count)) } ?? name).split(
                separator: "/", omittingEmptySubsequences: false)
            if isAddress, host == nil || parts.count != 2 {
                result.append((prefix + ".repo_url", .text(name)))
                continue
            }
            if let last = parts.last { result.append((prefix + ".name", .text(title(last)))) }
            guard parts.count == 2 else { continue }
            result.append((prefix + ".organization", .text(title(parts[0]))))
            result.append((prefix + ".repo_url", .text(isAddress ? name : "https://huggingface.co/" + name)))
        }
        return result
    }

    /// "smollm2-135M-chat" as "Smollm2 135M Chat": words in lower case begin with a capital, except versions.
    static func title(_ text: some StringProtocol) -> String {
        text.split { $0 == "-" || $0.isWhitespace }.map { word in
            let isLower = word.contains { $0.isLowercase } && !word.contains { $0.isUppercase }
            let isVersion =
                word.first?.isNumber ?? false || (word.first == "v" && word.dropFirst().first?.isNumber ?? false)
            return isLower && !isVersion ? word.prefix(1).uppercased() + word.dropFirst() : String(word)
        }.joined(separator: " ")
    }
}

/// The part of YAML that model cards are written in: texts, and lists of texts in either form. Values of other kinds
/// (tables of results, examples) are passed over; every text stays a text, so that `no` is Norwegian.
enum FrontMatter {
    private static let entryLimit = 1000

    /// Top-level fields; a single text is a list of one.
    static func fields(of text: String) -> [String: [String]] {
        var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)[...]
        func isFence(_ line: Substring?) -> Bool { line.map { trimmed($0) == "---" && !$0.hasPrefix(" ") } ?? false }
        if lines.first?.hasPrefix("\u{FEFF}") == true { lines[0] = lines[0].dropFirst() }
        guard isFence(lines.popFirst()), let end = lines.firstIndex(where: { isFence($0) }) else { return [:] }
        var result: [String: [String]] = [:]
        lines = lines[..<end]
        while let line = lines.popFirst(), result.count < entryLimit {
            guard let first = line.first, !first.isWhitespace, first != "#", first != "-",
                let colon = separator(in: line)
            else { continue }
            let key = unquoted(trimmed(line[..<colon]))
            let rest = withoutComment(trimmed(line[line.index(after: colon)...]))
            var block: [Substring] = []
            while let next = lines.first, next.first?.isWhitespace ?? true || next.hasPrefix("-") {
                block.append(next)
                lines.removeFirst()
            }
            if let values = value(rest, block), result[key] == nil { result[key] = values }
        }
        return result
    }

    /// A value from the rest of its line and the lines that belong to it; nil when it is neither text nor list.
    private static func value(_ rest: String, _ block: [Substring]) -> [String]? {
        let below = block.map { trimmed($0) }.filter { !$0.isEmpty && !$0.hasPrefix("#") }
        if rest.isEmpty {
            let items = below.prefix(entryLimit).compactMap { line -> String? in
                guard line == "-" || line.hasPrefix("- ") else { return nil }
                let text = withoutComment(trimmed(line.dropFirst()))
                return text.isEmpty || isMapping(text) ? nil : unquoted(text)
            }
            return items.isEmpty ? nil : items
        }
        if rest.hasPrefix("[") {
            // A list may go on over several lines.
            let whole = ([rest] + below.map { withoutComment($0) }).joined(separator: " ")
            guard let close = whole.lastIndex(of: "]") else { return nil }
            let items = whole[whole.index(after: whole.startIndex)..<close].split(separator: ",")
                .prefix(entryLimit).map { unquoted(trimmed($0)) }.filter { !$0.isEmpty }
            return items.isEmpty ? nil : items
        }
        if rest.hasPrefix("|") || rest.hasPrefix(">") {
            let text = below.joined(separator: rest.hasPrefix("|") ? "\n" : " ")
            return text.isEmpty ? nil : [text]
        }
        if rest.hasPrefix("{") || rest.hasPrefix("&") || rest.hasPrefix("*") || rest.hasPrefix("!") { return nil }
        guard rest != "null", rest != "~" else { return nil }
        // A plain text may go on in lines that are set in.
        let more = below.filter { !$0.hasPrefix("- ") }
        return [unquoted(([rest] + more).joined(separator: " "))]
    }

    /// The colon that ends a key: before a blank or the end of the line, outside quotes.
    private static func separator(in line: Substring) -> Substring.Index? {
        var quote: Character?
        for index in line.indices {
            let character = line[index]
            if let open = quote {
                if character == open { quote = nil }
            } else if character == "\"" || character == "'" {
                quote = character
            } else if character == ":" {
                let next = line.index(after: index)
                if next == line.endIndex || line[next].isWhitespace { return index }
            }
        }
        return nil
    }

    private static func isMapping(_ text: String) -> Bool {
        !text.hasPrefix("\"") && !text.hasPrefix("'") && separator(in: text[...]) != nil
    }

    private static func withoutComment(_ text: String) -> String {
        if text.hasPrefix("#") { return "" }
        if let quote = text.first, quote == "\"" || quote == "'" {
            guard let close = text.dropFirst().firstIndex(of: quote) else { return text }
            return String(text[...close])
        }
        guard let comment = text.range(of: " #") else { return text }
        return trimmed(text[..<comment.lowerBound])
    }

    private static func unquoted(_ text: String) -> String {
        guard text.count >= 2, let quote = text.first, quote == "\"" || quote == "'", text.last == quote else {
            return text
        }
        return String(text.dropFirst().dropLast())
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        var rest = Substring(text)
        while rest.first?.isWhitespace ?? false { rest.removeFirst() }
        while rest.last?.isWhitespace ?? false { rest.removeLast() }
        return String(rest)
    }
}

import ByteIO
import Foundation
import GGUF

/// The chat templates of a folder.
///
/// `chat_template.jinja` (with `additional_chat_templates/*.jinja`) comes before `chat_template.json`, and that before
/// `tokenizer_config.json`, as in transformers. The last two may hold one template or a list of named ones.
enum ChatTemplateFiles {
    private static let countLimit = 64

    static func pairs(_ sources: inout TokenizerSources) throws -> [(key: String, value: GGUFValue)] {
        let templates = try read(&sources)
        var pairs: [(key: String, value: GGUFValue)] = []
        var names: [String] = []
        var main: String?
        for (name, text) in templates {
            let key = self.key(name)
            if key == "default" {
                main = text
            } else if !key.isEmpty, !names.contains(key) {
                names.append(key)
                pairs.append(("tokenizer.chat_template.\(key)", .text(text)))
            }
        }
        if !names.isEmpty { pairs.append(("tokenizer.chat_templates", .array(GGUFArray(names)))) }
        if let main { pairs.append(("tokenizer.chat_template", .text(main))) }
        return pairs
    }

    /// A name as it may stand in a key.
    static func key(_ name: String) -> String {
        String(
            String.UnicodeScalarView(
                name.unicodeScalars.map { scalar in
                    switch scalar {
                    case "a"..."z", "A"..."Z", "0"..."9": scalar
                    default: "_"
                    }
                }))
    }

    private static func read(_ sources: inout TokenizerSources) throws -> [(name: String, text: String)] {
        if let text = try sources.folder.text("chat_template.jinja") {
            return try [("default", text)] + additional(sources.folder)
        }
        if let object = try sources.folder.json("chat_template.json"), let value = object["chat_template"] {
            return named(value, file: "chat_template.json", sources: &sources)
        }
        guard let value = sources.configuration["chat_template"] else { return [] }
        return named(value, file: "tokenizer_config.json", sources: &sources)
    }

    private static func additional(_ folder: TokenizerFolder) throws -> [(name: String, text: String)] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path(of: "additional_chat_templates")))
        return try (names ?? []).filter { $0.hasSuffix(".jinja") }.sorted().prefix(countLimit).compactMap { name in
            try folder.text("additional_chat_templates/" + name).map { (String(name.dropLast(".jinja".count)), $0) }
        }
    }

    private static func named(
        _ value: JSONValue, file: String, sources: inout TokenizerSources
    ) -> [(name: String, text: String)] {
        switch value {
        case .string(let text): return [("default", text)]
        case .array(let list):
            let found = list.prefix(countLimit).compactMap { entry -> (name: String, text: String)? in
                guard let name = entry["name"]?.stringValue, let text = entry["template"]?.stringValue else {
                    return nil
                }
                return (name, text)
            }
            if found.count < list.count {
                sources.warnings.append(
                    "\(list.count - found.count) of the chat templates in \(file) have no name or text and are left out"
                )
            }
            return found
        case .object(let object):
            return object.members.prefix(countLimit).compactMap { member in
                member.value.stringValue.map { (member.key, $0) }
            }
        case .null: return []
        default:
            sources.warnings.append("the chat_template in \(file) is \(value.kind) and is left out")
            return []
        }
    }
}

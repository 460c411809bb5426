import ArgumentParser
import ByteIO
import Conversion
import Foundation
import GGUF

struct MetadataCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metadata",
        abstract: "List, read and change the metadata of a GGUF file; its tensors stay as they are.",
        discussion: """
              incipit metadata list model.gguf --prefix tokenizer.
              incipit metadata get model.gguf tokenizer.chat_template
              incipit metadata set model.gguf general.name "Otter 1B"
              incipit metadata set model.gguf general.tags '["otter","small"]'
              incipit metadata set model.gguf tokenizer.ggml.eos_token_id 2 --dry-run
              incipit metadata rename model.gguf general.autor general.author

            A change that leaves the tensors where they are is written in place, in a moment, whatever the file's size; \
            the old bytes lie in a journal until it is complete, and a change that a crash interrupted is undone by the \
            next metadata command. Any other change writes the file anew beside the old one and then takes its place. \
            Values keep the type they have; --type names that of a new key. Of a split model, the first part carries the \
            metadata.
            """,
        subcommands: [List.self, Get.self, Set.self, Delete.self, Rename.self])

    /// The file, opened as it is on disk: any part of a split model, alone.
    static func open(_ path: String) throws -> GGUFFile { try GGUFFile(path: path, split: .partAlone) }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List keys, types and values.")
        @Argument(help: "GGUF file.", completion: .file(extensions: ["gguf"])) var file: String
        @Option(help: "Only keys that begin so.") var prefix = ""
        @Flag(help: "Print JSON, with whole values.") var json = false

        func run() throws {
            let entries = try MetadataCommand.open(file).metadata.entries.filter { $0.key.hasPrefix(prefix) }
            if json {
                let rows = entries.map { entry -> JSONValue in
                    [
                        "key": .string(entry.key), "type": .string(MetadataText.typeName(entry.value)),
                        "value": MetadataText.json(entry.value),
                    ]
                }
                return Output.line(JSONValue.array(rows).prettyText)
            }
            Output.line(
                Output.table(
                    ["key", "type", "value"],
                    entries.map { [$0.key, MetadataText.typeName($0.value), MetadataText.brief($0.value, width: 60)] }))
        }
    }

    struct Get: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print one value: a string as it is, an array as JSON.")
        @Argument(help: "GGUF file.", completion: .file(extensions: ["gguf"])) var file: String
        @Argument(help: "Key.") var key: String
        @Flag(help: "Print JSON with key and type.") var json = false

        func run() throws {
            let metadata = try MetadataCommand.open(file).metadata
            guard let value = metadata[key] else {
                throw CommandFailure(.notFound, "\(file): there is no metadata key \(key.quotedForMessage)")
            }
            guard json else { return Output.line(MetadataText.full(value)) }
            let row: JSONValue = [
                "key": .string(key), "type": .string(MetadataText.typeName(value)), "value": MetadataText.json(value),
            ]
            Output.line(row.prettyText)
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a key a value.",
            discussion:
                "Arrays are written as JSON: '[1,2]', '[\"a\",\"b\"]'. VALUE is taken from a file as @PATH. A negative number comes "
                + "last, after --: set --type i32 FILE KEY -- -1.")
        @Argument(help: "GGUF file.", completion: .file(extensions: ["gguf"])) var file: String
        @Argument(help: "Key.") var key: String
        @Argument(help: "Value, or @PATH of a file that holds it.") var value: String
        @OptionGroup var options: EditOptions

        func run() throws {
            var editor = try GGUFMetadataEditor(path: file, force: options.force)
            let known = editor.metadata[key].map(MetadataText.typeName) ?? MetadataText.standardType(of: key)
            guard let type = options.type ?? known else {
                throw CommandFailure(
                    .usage,
                    "\(file): \(key) is not there yet; say what it is with --type string, u32, f32, bool, [string], …")
            }
            var text = value
            if value.hasPrefix("@") {
                text = String(decoding: try MappedFile(path: String(value.dropFirst())).copyBytes(), as: UTF8.self)
            }
            try editor.set(key, to: MetadataText.parse(text, as: type))
            try options.finish(&editor)
        }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a key.")
        @Argument(help: "GGUF file.", completion: .file(extensions: ["gguf"])) var file: String
        @Argument(help: "Key.") var key: String
        @OptionGroup var options: EditOptions

        func run() throws {
            var editor = try GGUFMetadataEditor(path: file, force: options.force)
            try editor.delete(key)
            try options.finish(&editor)
        }
    }

    struct Rename: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give a value another key.")
        @Argument(help: "GGUF file.", completion: .file(extensions: ["gguf"])) var file: String
        @Argument(help: "Key.") var key: String
        @Argument(help: "The new key.") var newKey: String
        @OptionGroup var options: EditOptions

        func run() throws {
            var editor = try GGUFMetadataEditor(path: file, force: options.force)
            try editor.rename(key, to: newKey)
            try options.finish(&editor)
        }
    }
}

/// What every changing subcommand takes.
struct EditOptions: ParsableArguments {
    @Option(help: "Type of the value: u8 … u64, i8 … i64, f32, f64, bool, string, or [TYPE] for an array.")
    var type: String?
    @Flag(help: "Allow what other programs may stumble over: no architecture, another type, lists that do not fit.")
    var force = false
    @Flag(help: "Say what would be done and write nothing.") var dryRun = false
    @Flag(help: "Print JSON.") var json = false

    private struct Report: Encodable {
        let path, how: String
        let bytes: Int
        let changesFingerprint: [String]
        let written: Bool
    }

    /// Writes the changes, or says how they would be written, and whether the fingerprint changes by them.
    func finish(_ editor: inout GGUFMetadataEditor) throws {
        let file = editor.file
        let plan = try editor.plan()
        let changed = ModelFingerprint.partsChanged(in: file, by: editor.metadata)
        if !force, let first = editor.inconsistencies.first {
            throw CommandFailure(.data, "\(file.path): \(first); --force writes it all the same")
        }
        let (how, bytes) =
            switch plan {
            case .nothing: ("unchanged", 0)
            case .inPlace(let bytes): ("in place", bytes)
            case .rewrite(let bytes): ("rewritten", bytes)
            }
        if !dryRun { try ByteProgress.writing(total: bytes) { _ = try editor.commit(shouldContinue: $0) } }
        if json {
            return try Output.json(
                Report(path: file.path, how: how, bytes: bytes, changesFingerprint: changed, written: !dryRun))
        }
        let verb = dryRun ? "would be " : ""
        switch plan {
        case .nothing: Output.line("\(file.path) has that already; nothing to do")
        case .inPlace: Output.line("\(file.path) \(verb)changed in place, \(Output.bytes(bytes)) of it")
        case .rewrite: Output.line("\(file.path) \(verb)rewritten, \(Output.bytes(bytes))")
        }
        if !changed.isEmpty {
            Output.line(
                "its fingerprint \(dryRun ? "would change" : "has changed") (\(changed.joined(separator: " and "))): "
                    + "soft prompts made for it before are refused")
        } else if plan != .nothing {
            Output.line("its fingerprint \(dryRun ? "would stay" : "is") the same")
        }
    }
}

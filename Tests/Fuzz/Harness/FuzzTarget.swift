import Foundation

/// Something that reads bytes nobody vouches for. Whatever they are, it returns or throws an error: it never traps, hangs
/// or takes memory out of proportion.
public struct FuzzTarget: Sendable {
    /// Also the name of its folder in `Fixtures/Malformed`.
    public let name: String
    /// Reads the bytes, and swallows the errors that are allowed.
    public let run: @Sendable ([UInt8]) -> Void

    /// Every target: one line each. A new one also wants a line in `Tests/Fuzz/run.sh` that says what seeds it.
    public static let all: [FuzzTarget] = [
        FuzzTarget(name: "gguf", run: readGGUF),
        FuzzTarget(name: "safetensors", run: readSafetensors),
        FuzzTarget(name: "safetensors-index", run: readSafetensorsIndex),
        FuzzTarget(name: "tokenizer-json", run: { importTokenizer([("tokenizer.json", $0)]) }),
        FuzzTarget(name: "sentencepiece", run: { importTokenizer([("tokenizer.model", $0)]) }),
        FuzzTarget(name: "tokenizer", run: tokenize),
        FuzzTarget(name: "chat-template", run: renderTemplate),
        FuzzTarget(name: "manifest", run: admitManifest),
        FuzzTarget(name: "upload", run: driveUploads),
    ]
}

/// A folder of this process, for what is read from files only.
enum Scratch {
    /// In memory where the system offers that: every input is written to files.
    private static var place: String {
        FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
    }

    private static let folder: String = {
        var template = Array((Self.place + "/incipit-fuzz-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("no temporary folder: \(errno)") }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return path
    }()

    /// The path of a folder with just these files in it.
    static func folder(with files: [(name: String, bytes: [UInt8])]) throws -> String {
        let manager = FileManager.default
        for old in try manager.contentsOfDirectory(atPath: folder) {
            try manager.removeItem(atPath: folder + "/" + old)
        }
        for file in files { try Data(file.bytes).write(to: URL(filePath: folder + "/" + file.name)) }
        return folder
    }
}

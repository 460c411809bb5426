import Conversion
import Foundation
import GGUF

/// Opens what the user names as a model: a GGUF file or a Hugging Face folder.
enum ModelSourceOpening {
    static func open(_ path: String) throws -> any ModelSource {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
            return GGUFSource(try GGUFFile(path: path))
        }
        return try HuggingFaceSource(folder: path)
    }
}

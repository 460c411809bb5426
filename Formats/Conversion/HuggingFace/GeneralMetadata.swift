import ByteIO
import Foundation
import GGUF

/// `general.*` and our own keys of a file made from a folder, and the way back.
enum GeneralMetadata {
    /// The class in transformers that a file was made from, so that the way back finds it among relatives.
    static let sourceClassKey = "incipit.source.architecture"
    static let fingerprintKey = "incipit.source.fingerprint"
    static let recipeKey = "incipit.recipe"
    /// A window that GGUF's architecture has no key for, because its readers attend to everything: kept for the way
    /// back alone, and no part of the fingerprint, which files made by others share.
    static let windowKey = "incipit.source.sliding_window"

    /// Recommended sampling: GGUF's key, and `generation_config.json`'s.
    private static let sampling: [(key: String, field: String, isCount: Bool)] = [
        ("general.sampling.top_k", "top_k", true), ("general.sampling.top_p", "top_p", false),
        ("general.sampling.min_p", "min_p", false), ("general.sampling.temp", "temperature", false),
        ("general.sampling.penalty_repeat", "repetition_penalty", false),
    ]

    static func pairs(
        folder: String, config: HuggingFaceConfig, mapping: any ArchitectureMapping, modelClass: ModelClass
    ) -> GGUFMetadata {
        var metadata = GGUFMetadata()
        metadata["general.architecture"] = .text(mapping.name)
        metadata["general.type"] = .text("model")
        let name = URL(fileURLWithPath: folder).standardizedFileURL.lastPathComponent
        if !name.isEmpty, name != "/" { metadata["general.name"] = .text(name) }
        for (key, value) in ModelCard(folder: folder).pairs { metadata[key] = value }
        if LlamaFamily.windowed.contains(modelClass.type), let window = try? config.int("sliding_window"),
            let count = UInt32(exactly: window)
        {
            metadata[windowKey] = .uint32(count)
        }
        metadata[sourceClassKey] = .text(modelClass.name)
        let path = folder + "/generation_config.json"
        if let file = try? MappedFile(path: path), let json = try? JSONValue.parse(file.copyBytes(), path: path) {
            for (key, field, isCount) in sampling {
                guard let number = json[field]?.doubleValue, number.isFinite else { continue }
                if isCount {
                    if let count = Int32(exactly: number) { metadata[key] = .int32(count) }
                } else {
                    metadata[key] = .float32(Float(number))
                }
            }
        }
        return metadata
    }

    /// `generation_config.json` of a GGUF model.
    static func generationConfig(_ metadata: GGUFMetadata) -> JSONObject {
        var result = JSONObject()
        for (field, value) in tokenIds(metadata) { result[field] = value }
        var samples = false
        for (key, field, isCount) in sampling {
            guard let value = metadata[key] else { continue }
            if isCount, let count = value.intValue {
                result[field] = JSONValue(count)
                samples = true
            } else if let number = value.doubleValue {
                result[field] = .shortest(Float(number))
                samples = true
            }
        }
        if samples { result["do_sample"] = true }
        return result
    }

    /// Ids that both `config.json` and `generation_config.json` have.
    static func tokenIds(_ metadata: GGUFMetadata) -> [(String, JSONValue)] {
        [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")].compactMap { field, name in
            metadata["tokenizer.ggml.\(name)_token_id"].flatMap(\.intValue).map { (field, JSONValue($0)) }
        }
    }
}

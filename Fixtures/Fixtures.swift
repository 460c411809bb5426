import Foundation

/// The small files with known answers that tests read, by name.
///
/// Files are found beside this source file, not copied into a bundle, so a test sees exactly what is committed.
/// `Fixtures/README.md` says how each was made.
public enum Fixtures {
    /// The folder `Fixtures` of the package.
    public static let directory = URL(filePath: #filePath).deletingLastPathComponent()

    /// The URL of a file or folder given by its path below `Fixtures`; it need not exist.
    public static func url(_ path: String) -> URL {
        directory.appending(path: path)
    }

    /// The tiny llama in its three forms: the same trained weights, 459 tokens, 2 layers, width 64.
    public enum Models {
        /// F32 GGUF.
        public static let tinyLlama = Fixtures.url("Models/tiny/tiny-llama.gguf")
        /// Q4_1 matrices, Q8_0 embedding, F32 norms.
        public static let tinyLlamaQ4_1 = Fixtures.url("Models/tiny/tiny-llama-q4_1.gguf")
        /// Hugging Face folder: `config.json`, `model.safetensors` (F16), `tokenizer.json`, `tokenizer_config.json`.
        public static let tinyLlamaFolder = Fixtures.url("Models/tiny")
    }

    /// What Hugging Face's libraries compute; see `Fixtures/Scripts/make_golden.py` for the formats.
    public enum Golden {
        /// Teacher-forced logits for each form of the tiny model.
        public static let tinyLogits = Fixtures.url("Golden/tiny-logits.json")
        /// Ten SGD steps of PEFT's prompt tuning and prefix tuning on the tiny model.
        public static let tinyPEFT = Fixtures.url("Golden/tiny-peft.json")
        /// Texts and their ids by the tiny tokenizer.
        public static let tinyTokenization = Fixtures.url("Golden/tiny-tokenization.json")
        public static let pretokenizers = Fixtures.url("Golden/pretokenizers.json")
        /// The same texts by SmolLM2's tokenizer.
        public static let smolLM2Tokenization = Fixtures.url("Golden/smollm2-tokenization.json")
        /// Type, "plain" or "importance", digest of the bytes that ggml encodes; `Scripts/make_tensor_type_digests.py`.
        public static let tensorTypes = Fixtures.url("Golden/tensor-types.tsv")
    }

    /// Labelled text, one JSON object a line: `input`, `target`, `split`.
    public enum Data {
        /// 96 / 32 / 64 rows in the tiny model's own language, four labels of one token each.
        public static let tinyKinds = Fixtures.url("Data/tiny-kinds.jsonl")
        /// 1600 / 400 / 800 dictionary glosses with the kind of thing they describe, eight labels.
        public static let glossCategory = Fixtures.url("Data/gloss_category.jsonl")
    }

    /// The folder of `vectors` beside the package, when a checkout has one; tests that use it skip when this is `nil`.
    public static func externalVectors(_ name: String) -> URL? {
        let folder = directory.deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "shared/vectors/\(name)")
        return FileManager.default.fileExists(atPath: folder.path) ? folder : nil
    }
}

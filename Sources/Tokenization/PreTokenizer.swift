/// Cuts text into the pieces that are merged separately.
///
/// A pre-tokenizer is a list of expressions. Each is applied to every piece that the earlier ones left; its matches
/// become pieces and so do the gaps between them, so nothing is lost.
struct PreTokenizer: Sendable {
    let names: [String]
    let scanners: [PieceScanner]
    /// The family's habits, used where the file says nothing.
    let habits: Habits

    /// What a family of vocabularies does unless the file says otherwise.
    struct Habits: OptionSet, Sendable {
        let rawValue: Int
        /// A piece found whole in the vocabulary is one token, without merging.
        static let ignoresMerges = Habits(rawValue: 1)
        /// The beginning token goes first.
        static let addsBeginning = Habits(rawValue: 2)
        /// Beginning and separator tokens go round the text.
        static let addsSeparator = Habits(rawValue: 4)
        /// Blanks before punctuation are not removed when ids become text.
        static let keepsSpaces = Habits(rawValue: 8)
        /// Text is merged as it is, blanks written `▁`, not in GPT-2's byte alphabet; what is missing becomes `<0xXX>`.
        static let rawText = Habits(rawValue: 16)
    }

    private init(_ names: String, _ scanners: [PieceScanner], _ habits: Habits = []) {
        self.names = names.split(separator: " ").map(String.init)
        self.scanners = scanners
        self.habits = habits
    }

    /// Every pre-tokenizer there is: the names are those of `tokenizer.ggml.pre`.
    static let all: [PreTokenizer] = {
        let digit = PieceScanner.runs(of: .number, atMost: 1)
        let threeDigits = PieceScanner.runs(of: .number, atMost: 3)
        let llama3 = PieceScanner.llama3(digits: 3)
        let qwen = PieceScanner.llama3(digits: 1)
        let gpt4o = PieceScanner.o200(digits: 3, contractions: true)
        return [
            PreTokenizer(
                "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", [llama3],
                [.ignoresMerges, .addsBeginning]),
            PreTokenizer("dbrx smaug-bpe chatglm-bpe", [llama3]),
            PreTokenizer("glm4 glm5", [llama3], .ignoresMerges),
            PreTokenizer("jais-2", [.jais2]),
            PreTokenizer(
                "qwen2 deepseek-r1-qwen kormo f2llmv2 hunyuan solar-open grok-2 bailingmoe bailingmoe2 llada-moe",
                [qwen], .keepsSpaces),
            PreTokenizer("megrez stablelm2", [qwen]),
            PreTokenizer("qwen35", [.llama3(digits: 1, word: [.letter, .mark])], .keepsSpaces),
            PreTokenizer("ufakzeka", [.llama3(digits: 1, contractions: false)], .keepsSpaces),
            PreTokenizer("seed-coder", [.llama3(digits: 1, tail: .nothing)], .keepsSpaces),
            PreTokenizer("minicpm5", [threeDigits, .llama3(digits: .max)], .ignoresMerges),
            PreTokenizer("laguna", [.lines, qwen], .keepsSpaces),
            PreTokenizer("exaone-moe", [.exaoneMoE]),
            PreTokenizer(
                "gpt-2 phi-2 mpt olmo jais exaone4 gigachat a.x-4.0 mellum modern-bert jina-es jina-de jina-v2-es "
                    + "jina-v2-de", [.gpt2]),
            PreTokenizer("trillion granite-docling", [.gpt2], .keepsSpaces),
            PreTokenizer("roberta-bpe jina-v1-en jina-v2-code", [.gpt2], .addsSeparator),
            PreTokenizer("starcoder refact codeshell exaone minerva-7b mellum2", [digit, .gpt2]),
            PreTokenizer("command-r smollm", [digit, .gpt2], .keepsSpaces),
            PreTokenizer("falcon", [.punctuation(backtick: true), .gpt2, .threeDigits]),
            PreTokenizer(
                "default", [.punctuation(backtick: false), .gpt2, .runs(of: .number), .threeDigits]),
            PreTokenizer(
                "tekken", [.o200(digits: 1, contractions: false)], [.ignoresMerges, .addsBeginning, .keepsSpaces]),
            PreTokenizer("gpt-4o llama4 kanana2 talkie minimax-m2", [gpt4o], .keepsSpaces),
            PreTokenizer("granite-embed-multi-97m", [gpt4o], [.ignoresMerges, .keepsSpaces]),
            PreTokenizer(
                "tiny_aya cohere2moe", [.groupsOfThree(.decimal, beforeBoundary: true), gpt4o], .keepsSpaces),
            PreTokenizer(
                "youtu", [.eastAsian, .o200(digits: 1, contractions: true)], [.ignoresMerges, .keepsSpaces]),
            PreTokenizer("kimi-k2", [.kimi], .keepsSpaces),
            PreTokenizer(
                "deepseek-llm",
                [
                    .runs(of: .lineBreak, atMost: 1), .runs(of: .deepseekLetters, afterBlank: true),
                    .runs(of: .deepseekPunctuation, afterBlank: true), .trailingBlanks, .runs(of: .deepseekWide),
                    .runs(of: .number),
                ], .keepsSpaces),
            PreTokenizer(
                "deepseek-coder",
                [
                    .runs(of: .lineBreak, atMost: 1), .blankThenRun(of: .letter), .blankThenRun(of: .punctuation),
                    .runs(of: .deepseekWide), digit,
                ], .keepsSpaces),
            PreTokenizer(
                "deepseek-v3 hunyuan-dense joyai-llm hy_v4", [threeDigits, .runs(of: .hanAndKana), .deepseek3()],
                .keepsSpaces),
            PreTokenizer(
                "spark2_5", [threeDigits, .runs(of: .hanAndKana), .deepseek3(spark: true), digit], .keepsSpaces),
            PreTokenizer(
                "afmoe", [.groupsOfThree(.number, beforeBoundary: false), .runs(of: .unspaced), .deepseek3()],
                .keepsSpaces),
            PreTokenizer("bloom gpt3-finnish", [.bloom]),
            PreTokenizer("poro-chat", [.bloom], .keepsSpaces),
            PreTokenizer("viking", [.bloom, digit], .keepsSpaces),
            PreTokenizer("superbpe", [.runs(of: .number), .cutsOfThree], .keepsSpaces),
            PreTokenizer(
                "chameleon", [.sentinel, .imageToken, .indentation, digit, .eachPunctuation, .gpt2],
                [.addsBeginning, .keepsSpaces]),
            PreTokenizer("gemma4 granite-embed-multi-311m", [.lines], .rawText),
            PreTokenizer("sarvam-moe", [.lines], [.rawText, .keepsSpaces]),
        ]
    }()

    /// - Throws: `TokenizationError.Code.unknownPreTokenizer`, naming the nearest known names.
    static func named(_ name: String) throws -> PreTokenizer {
        if let found = all.first(where: { $0.names.contains(name) }) { return found }
        let known = all.flatMap(\.names)
        let shown = name.count <= 60 ? name : String(name.prefix(60)) + "…"
        let nearest = known.map { ($0, editDistance(Array(shown.utf8), Array($0.utf8))) }
            .sorted { ($0.1, $0.0) < ($1.1, $1.0) }.prefix(3).map(\.0)
        throw TokenizationError(
            code: .unknownPreTokenizer,
            message: "the pre-tokenizer '\(shown)' is not known, so text would be split wrongly; nearest known names: "
                + nearest.joined(separator: ", ") + "; all known names: " + known.sorted().joined(separator: ", "),
            field: "preTokenizer")
    }

    /// Calls `body` with the byte range of each piece between `start` and `limit`, in order.
    @inline(__always)
    func forEachPiece(of text: ScalarText, from start: Int, to limit: Int, _ body: (Int, Int) -> Void) {
        if scanners.count == 1 {
            scanners[0].cut(text, start, limit, body)
        } else {
            split(level: 0, text, start, limit, body)
        }
    }

    private func split(level: Int, _ text: ScalarText, _ start: Int, _ limit: Int, _ body: (Int, Int) -> Void) {
        guard level < scanners.count else { return body(start, limit) }
        scanners[level].cut(text, start, limit) { split(level: level + 1, text, $0, $1, body) }
    }

    private static func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var row = Array(0...b.count)
        for (i, x) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, y) in b.enumerated() {
                let cost = min(row[j + 1] + 1, row[j] + 1, diagonal + (x == y ? 0 : 1))
                diagonal = row[j + 1]
                row[j + 1] = cost
            }
        }
        return row[b.count]
    }
}

/// Cuts text into the pieces that are merged separately.
///
/// A pre-tokenizer is a list of expressions. Each is applied to every piece that the earlier ones left; its matches
/// become pieces and so do the gaps between them, so nothing is lost.
struct PreTokenizer: Sendable {
    let names: [String]
    let scanners: [PieceScanner]
    /// The family's habits, used where the file says nothing.
    let ignoresMerges: Bool
    let addsBeginning: Bool

    private init(_ names: String, _ scanners: [PieceScanner], ignoresMerges: Bool = false, addsBeginning: Bool = false)
    {
        self.names = names.split(separator: " ").map(String.init)
        self.scanners = scanners
        self.ignoresMerges = ignoresMerges
        self.addsBeginning = addsBeginning
    }

    /// Every pre-tokenizer there is: the names are those of `tokenizer.ggml.pre`.
    static let all: [PreTokenizer] = [
        PreTokenizer(
            "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", [.llama3(digits: 3)],
            ignoresMerges: true, addsBeginning: true),
        PreTokenizer("dbrx smaug-bpe chatglm-bpe", [.llama3(digits: 3)]),
        PreTokenizer("glm4 glm5", [.llama3(digits: 3)], ignoresMerges: true),
        PreTokenizer(
            "qwen2 deepseek-r1-qwen kormo f2llmv2 hunyuan solar-open megrez stablelm2 grok-2", [.llama3(digits: 1)]),
        PreTokenizer("qwen35", [.llama3(digits: 1, word: [.letter, .mark])]),
        PreTokenizer("seed-coder", [.llama3(digits: 1, breaksAfterSymbols: false)]),
        PreTokenizer(
            "gpt-2 phi-2 mpt olmo jais exaone4 trillion granite-docling gigachat a.x-4.0 mellum modern-bert jina-es "
                + "jina-de jina-v2-es jina-v2-de roberta-bpe jina-v1-en jina-v2-code", [.gpt2]),
        PreTokenizer(
            "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2",
            [.runs(of: .number, atMost: 1), .gpt2]),
        PreTokenizer("falcon", [.punctuation(backtick: true), .gpt2, .threeDigits]),
        PreTokenizer("default", [.punctuation(backtick: false), .gpt2, .runs(of: .number), .threeDigits]),
        PreTokenizer(
            "tekken", [.o200(digits: 1, contractions: false)], ignoresMerges: true, addsBeginning: true),
        PreTokenizer("gpt-4o llama4 kanana2 talkie minimax-m2", [.o200(digits: 3, contractions: true)]),
    ]

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
            scan(0, text, start, limit) { body($0, $1) }
        } else {
            split(level: 0, text, start, limit, body)
        }
    }

    private func split(level: Int, _ text: ScalarText, _ start: Int, _ limit: Int, _ body: (Int, Int) -> Void) {
        guard level < scanners.count else { return body(start, limit) }
        scan(level, text, start, limit) { split(level: level + 1, text, $0, $1, body) }
    }

    @inline(__always)
    private func scan(_ level: Int, _ text: ScalarText, _ start: Int, _ limit: Int, _ body: (Int, Int) -> Void) {
        let next = scanners[level].next
        var position = start
        while position < limit {
            let match = next(text, position, limit)
            if match.start > position { body(position, match.start) }
            if match.end > match.start { body(match.start, match.end) }
            position = match.end
        }
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

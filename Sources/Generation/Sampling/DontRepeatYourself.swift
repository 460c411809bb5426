import Foundation
import Tokenization

/// DRY: makes a token less likely the longer the repetition that it would continue.
///
/// Let n be the length of the longest end of the text that stood earlier in the last tokens, followed there by the
/// token. From n ≥ allowed on:
///
///     logit ← logit − multiplier · base^(n − allowed)
///
/// Repetitions are not seen across a sequence breaker (a new line, a colon, a quotation mark, an asterisk), so that lists
/// and names may repeat, and breakers themselves are never made less likely. A breaker that several tokens spell is found
/// where a token ends with its beginning and further tokens are its rest.
struct DontRepeatYourself: SamplingStep {
    static let kind = SamplerKind(
        "dry", formula: "logit − m·b^(n − a) where the token would continue a repetition of length n ≥ a",
        source: "p-e-w 2024 (text-generation-webui #5677)"
    ) { settings, tokenizer throws(SamplerSettingsError) in
        guard settings.dryMultiplier != 0, settings.dryBase >= 1, settings.dryWindow != 0 else { return nil }
        guard let tokenizer = tokenizer ?? (settings.drySequenceBreakers.isEmpty ? EmptyTokenizer() : nil) else {
            throw SamplerSettingsError(
                setting: "drySequenceBreakers",
                message: "DRY's sequence breakers are texts, so the sampler needs the model's tokenizer")
        }
        return DontRepeatYourself(
            multiplier: settings.dryMultiplier, base: settings.dryBase, allowedLength: settings.dryAllowedLength,
            window: settings.dryWindow,
            breakers: SequenceBreakers(settings.drySequenceBreakers, tokenizer: tokenizer))
    }

    let multiplier, base: Float
    let allowedLength: Int
    let breakers: SequenceBreakers
    private var recent: RecentTokens
    var keepsLikeliest: Bool { false }

    init(multiplier: Float, base: Float, allowedLength: Int, window: Int?, breakers: SequenceBreakers) {
        self.multiplier = multiplier
        self.base = base
        self.allowedLength = allowedLength
        self.breakers = breakers
        recent = RecentTokens(limit: window)
    }

    mutating func accept(_ token: Int) { recent.append(token) }

    func apply(_ candidates: inout Candidates, _ random: inout RandomGenerator) {
        let penalties = penalties()
        candidates.edit(penalties) { logit, penalty in logit -= penalty }
    }

    /// What each token that would continue a repetition loses.
    private func penalties() -> [Int: Float] {
        guard recent.count > allowedLength else { return [:] }
        // The text backwards: what it ends with is what this begins with.
        let tokens = recent.reversed
        let limit = breakers.repetitionLimit(tokens)
        guard limit >= allowedLength else { return [:] }
        let lengths = Self.prefixMatches(tokens)
        var longest: [Int: Int] = [:]
        for place in 1..<tokens.count where lengths[place] > 0 || allowedLength == 0 {
            let length = min(lengths[place], limit)
            if length >= allowedLength {
                longest[tokens[place - 1], default: 0] = max(longest[tokens[place - 1]] ?? 0, length)
            }
        }
        // Beyond this exponent base^n is no number of single precision.
        let highest = base > 1.000_001 ? Int(88.722_839_1 / log(base)) : 0
        var result: [Int: Float] = [:]
        for (token, length) in longest where !breakers.single.contains(token) {
            var exponent = length - allowedLength
            if highest > 0 { exponent = min(exponent, highest) }
            result[token] = multiplier * pow(base, Float(exponent))
        }
        return result
    }

    /// For each place the length of the longest common beginning of the list and the list from there (the Z algorithm;
    /// linear time). Place 0 has 0.
    static func prefixMatches(_ tokens: [Int]) -> [Int] {
        var lengths = [Int](repeating: 0, count: tokens.count)
        var (left, right) = (0, 0)
        for place in 1..<max(1, tokens.count) {
            var length = place < right ? min(right - place, lengths[place - left]) : 0
            while place + length < tokens.count, tokens[length] == tokens[place + length] { length += 1 }
            if place + length > right { (left, right) = (place, place + length) }
            lengths[place] = length
        }
        return lengths
    }
}

/// The tokens, and sequences of tokens, with which a sequence breaker may be spelled.
struct SequenceBreakers: Sendable {
    /// Tokens that hold a whole breaker.
    private(set) var single: Set<Int> = []
    /// For a token that ends with the beginning of a breaker, the tokens that would complete it.
    private var tails: [Int: [[Int]]] = [:]

    /// Longer breakers are cut to this many bytes, longer tails to this many tokens.
    private static let longest = 40, longestTail = 20

    init(_ breakers: [String], tokenizer: any Tokenizer) {
        let texts = breakers.map { Array($0.utf8.prefix(Self.longest)) }.filter { !$0.isEmpty }
        var completions: [[UInt8]: [Int]] = [:]
        var bytes: [UInt8] = []
        for id in 0..<tokenizer.vocabularyCount {
            bytes.removeAll(keepingCapacity: true)
            tokenizer.appendBytes(of: id, to: &bytes)
            for text in texts where bytes.contains(text[0]) {
                if Self.contains(bytes, text) {
                    single.insert(id)
                    continue
                }
                for start in bytes.indices where bytes[start] == text[0] {
                    let shared = bytes.count - start
                    guard shared < text.count, bytes[start...].elementsEqual(text[..<shared]) else { continue }
                    let rest = Array(text[shared...])
                    let ids =
                        completions[rest]
                        ?? Array(
                            tokenizer.encode(
                                String(decoding: rest, as: UTF8.self), parseSpecial: false, addSpecial: false
                            ).prefix(Self.longestTail))
                    completions[rest] = ids
                    if !(tails[id] ?? []).contains(ids) { tails[id, default: []].append(ids) }
                }
            }
        }
    }

    private static func contains(_ bytes: [UInt8], _ text: [UInt8]) -> Bool {
        guard bytes.count >= text.count else { return false }
        return (0...bytes.count - text.count).contains { bytes[$0..<$0 + text.count].elementsEqual(text) }
    }

    /// How long a repetition may be that does not reach across the last breaker of a text, given backwards.
    func repetitionLimit(_ reversed: [Int]) -> Int {
        if single.isEmpty && tails.isEmpty { return reversed.count }
        for (place, token) in reversed.enumerated() {
            var longest = single.contains(token) ? 0 : -1
            for tail in tails[token] ?? [] where tail.count > longest && tail.count <= place {
                if tail.indices.allSatisfy({ tail[$0] == reversed[place - $0 - 1] }) { longest = tail.count }
            }
            if longest >= 0 { return place - longest }
        }
        return reversed.count
    }
}

/// Stands in where no text has to be read.
private struct EmptyTokenizer: Tokenizer {
    var vocabularyCount: Int { 0 }
    var special: SpecialTokens { SpecialTokens() }
    var endOfGeneration: Set<Int> { [] }
    var warnings: [String] { [] }
    var addsBeginning: Bool { false }
    func encode(_ text: String, parseSpecial: Bool, addSpecial: Bool) -> [Int] { [] }
    func bytes(of id: Int) -> [UInt8] { [] }
    func kind(of id: Int) -> TokenKind { .unused }
    func appendBytes(of id: Int, to bytes: inout [UInt8]) {}
}

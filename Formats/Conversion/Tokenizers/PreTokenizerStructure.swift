import ByteIO

/// What a `tokenizer.json` does to text before merging, as a list of expressions.
struct PreTokenizerStructure: Sendable {
    /// The canonical steps; see ``RegexPattern``.
    var steps: [RegexPattern] = []
    /// Whether the text then becomes GPT-2's byte alphabet.
    var usesByteAlphabet = false
    /// Whether a blank is put before the text.
    var addsPrefixSpace = false
    /// Kinds of steps that no GGUF reader has.
    var foreignSteps: [String] = []

    private static let stepLimit = 64

    /// - Parameter value: the `pre_tokenizer` of the file; nil and null mean none.
    init(_ value: JSONValue?, path: String) throws {
        var queue = value.map { [$0] } ?? []
        var visited = 0
        while !queue.isEmpty {
            let step = queue.removeFirst()
            if step.isNull { continue }
            visited += 1
            guard visited <= Self.stepLimit else {
                throw ConversionError(
                    .malformed, "the pre_tokenizer has more than \(Self.stepLimit) steps", path: path)
            }
            guard let type = step["type"]?.stringValue else {
                throw ConversionError(.malformed, "a step of the pre_tokenizer has no type", path: path)
            }
            if type == "Sequence" {
                guard let inner = step["pretokenizers"]?.arrayValue else {
                    throw ConversionError(
                        .malformed, "a Sequence in the pre_tokenizer has no list \"pretokenizers\"", path: path)
                }
                guard inner.count <= Self.stepLimit else {
                    throw ConversionError(
                        .malformed, "the pre_tokenizer has more than \(Self.stepLimit) steps", path: path)
                }
                queue.insert(contentsOf: inner, at: 0)
            } else {
                try add(type, step, path: path)
            }
        }
    }

    private mutating func add(_ type: String, _ step: JSONValue, path: String) throws {
        switch type {
        case "Split":
            let source: String
            if let regex = step["pattern"]?["Regex"]?.stringValue {
                source = regex
            } else if let text = step["pattern"]?["String"]?.stringValue {
                source = text.unicodeScalars.map { RegexSet.describe($0) }.joined()
            } else {
                throw ConversionError(
                    .malformed, "a Split in the pre_tokenizer has no pattern (Regex or String)", path: path)
            }
            let behavior = step["behavior"]?.stringValue ?? "Isolated"
            // "Removed" with "invert" keeps the matches, and these patterns match everything.
            if behavior == "Isolated" || (behavior == "Removed" && step["invert"]?.boolValue == true) {
                steps.append(RegexPattern(source))
            } else {
                foreignSteps.append("Split \(RegexPattern(source).canonical) with behavior \(behavior)")
            }
        case "Digits":
            steps.append(RegexPattern(step["individual_digits"]?.boolValue == true ? #"\p{N}"# : #"\p{N}+"#))
        case "Punctuation":
            if step["behavior"]?.stringValue == "Contiguous" {
                steps.append(RegexPattern(PreTokenizerTable.punctuation))
            } else {
                foreignSteps.append("Punctuation with behavior \(step["behavior"]?.stringValue ?? "Isolated")")
            }
        case "ByteLevel":
            usesByteAlphabet = true
            if step["add_prefix_space"]?.boolValue ?? true { addsPrefixSpace = true }
            if step["use_regex"]?.boolValue ?? true { steps.append(RegexPattern(PreTokenizerTable.gpt2)) }
        default: foreignSteps.append(type)
        }
    }

    /// The steps as one text, for comparing and for messages.
    var text: String { (steps.map(\.canonical) + foreignSteps).joined(separator: "  then  ") }
}

/// A row of the table with its steps in canonical form.
struct RecognisedRow: Sendable {
    let row: PreTokenizerRow
    let forms: [[RegexPattern]]

    static let all: [RecognisedRow] = PreTokenizerTable.rows.filter(\.isRecognised).map { row in
        RecognisedRow(
            row: row, forms: ([row.steps] + row.alternatives).map { form in form.map { RegexPattern($0) } })
    }
}

/// Finds the name of a structure.
enum PreTokenizerRecognition {
    struct Request {
        var structure: PreTokenizerStructure
        var ignoresMerges: Bool
        var architecture: String
        /// Whether the vocabulary has a token.
        var hasToken: (String) -> Bool
        var path: String
    }

    /// - Throws: ``ConversionError`` that names the nearest known structure when none fits.
    static func name(for request: Request, warnings: inout [String]) throws -> PreTokenizerRow.Name {
        let structure = request.structure
        let matching = RecognisedRow.all.first { row in
            structure.foreignSteps.isEmpty && row.row.usesByteAlphabet == structure.usesByteAlphabet
                && row.forms.contains { matches($0, structure.steps) }
        }
        guard let matching else { throw unknown(request) }
        let best = matching.row.names.enumerated().max { left, right in
            let (a, b) = (score(left.element, request), score(right.element, request))
            return a < b || (a == b && left.offset > right.offset)
        }
        guard let name = best?.element else { throw unknown(request) }
        if request.ignoresMerges, !name.ignoresMerges {
            warnings.append(
                "tokenizer.json sets ignore_merges, which readers do not do for the pre-tokenizer \"\(name.name)\"; "
                    + "a few rare words will be cut differently")
        }
        return name
    }

    private static func matches(_ form: [RegexPattern], _ steps: [RegexPattern]) -> Bool {
        form.count == steps.count
            && zip(form, steps).allSatisfy { known, found in
                known.canonical == found.canonical || (isCasedLetters(known) && isCasedLetters(found))
            }
    }

    /// The list of cased letters differs from model to model in letters of dead scripts.
    private static func isCasedLetters(_ pattern: RegexPattern) -> Bool {
        pattern.canonical.hasPrefix("\\s?[A-Za-zµÀ-ÖØ-öø-ƺ")
    }

    private static func score(_ name: PreTokenizerRow.Name, _ request: Request) -> Int {
        var score = name.ignoresMerges == request.ignoresMerges ? 8 : 0
        if let marker = name.marker {
            guard request.hasToken(marker) else { return -1 }
            score += 2
        }
        if name.architectures.contains(request.architecture) { return score + 4 }
        return name.architectures.isEmpty ? score + 1 : score
    }

    // MARK: - What to say when none fits

    private static func unknown(_ request: Request) -> ConversionError {
        let text = request.structure.text
        let nearest = RecognisedRow.all
            .flatMap { row in row.forms.map { (row: row.row, form: $0, distance: distance($0, text)) } }
            .min { $0.distance < $1.distance }
        var message = "the pre-tokenizer of this tokenizer is not one that GGUF readers know"
        if let nearest, let name = nearest.row.names.first {
            message += "; the nearest is \"\(name.name)\", which "
            message += difference(between: nearest.form, and: request.structure, row: nearest.row)
        }
        message += ". Pass --pre NAME to take a known one although it may cut some words differently"
        return ConversionError(.unsupported, message, path: request.path)
    }

    private static func distance(_ form: [RegexPattern], _ text: String) -> Int {
        EditDistance.between(form.map(\.canonical).joined(separator: "  then  "), text)
    }

    private static func difference(
        between form: [RegexPattern], and structure: PreTokenizerStructure, row: PreTokenizerRow
    ) -> String {
        let known = form.flatMap(\.alternatives)
        let found = structure.steps.flatMap(\.alternatives) + structure.foreignSteps
        let missing = known.filter { !found.contains($0) }
        let extra = found.filter { !known.contains($0) }
        switch (missing.isEmpty, extra.isEmpty) {
        case (true, true):
            return structure.usesByteAlphabet == row.usesByteAlphabet
                ? "has the same parts in another order" : "works on bytes where this one does not"
        case (false, true): return "also has \(list(missing))"
        case (true, false): return "does not have \(list(extra))"
        case (false, false): return "has \(list(missing)) where this one has \(list(extra))"
        }
    }

    private static func list(_ parts: [String]) -> String {
        let shown = parts.prefix(3).map { $0.unicodeScalars.count > 80 ? String($0.prefix(80)) + "…" : $0 }
        return shown.joined(separator: " and ") + (parts.count > 3 ? " and \(parts.count - 3) more" : "")
    }
}

/// How many scalars must be put in, taken out or changed to make one text of another.
enum EditDistance {
    /// Longer texts are compared by their beginnings.
    private static let lengthLimit = 400

    static func between(_ left: String, _ right: String) -> Int {
        let a = Array(left.unicodeScalars.prefix(lengthLimit))
        let b = Array(right.unicodeScalars.prefix(lengthLimit))
        guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
        var previous = Array(0...b.count)
        var current = previous
        for (row, scalar) in a.enumerated() {
            current[0] = row + 1
            for column in 0..<b.count {
                current[column + 1] = min(
                    previous[column] + (scalar == b[column] ? 0 : 1), previous[column + 1] + 1, current[column] + 1)
            }
            swap(&previous, &current)
        }
        return previous[b.count]
    }
}

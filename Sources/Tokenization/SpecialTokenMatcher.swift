/// Finds tokens that are written out in the text, before anything else happens to it.
///
/// The longest token wins wherever two overlap; of equally long ones the one further left. White space is swallowed
/// beside tokens that say so.
struct SpecialTokenMatcher: Sendable {
    enum Fragment: Equatable {
        case text(Range<Int>)
        case token(Int)
    }

    private struct Candidate: Sendable {
        let id: Int
        let text: [UInt8]
        let isHidden: Bool  // control or unknown: only found with `parseSpecial`
        let stripsLeft: Bool
        let stripsRight: Bool
    }

    /// By first byte, longest first.
    private var candidates = [[Candidate]](repeating: [], count: 256)
    private var isEmpty = true

    init(tokens: [[UInt8]], kinds: [TokenKind], leftStripping: Set<Int>, rightStripping: Set<Int>) {
        var seen: Set<[UInt8]> = []
        for (id, text) in tokens.enumerated() {
            let kind = kinds[id]
            guard kind == .control || kind == .userDefined || kind == .unknown, let first = text.first,
                // A text that is no UTF-8 never occurs in a String, and a torn one must not tear characters.
                String(validating: text, as: UTF8.self) != nil, seen.insert(text).inserted
            else { continue }
            isEmpty = false
            candidates[Int(first)].append(
                Candidate(
                    id: id, text: text, isHidden: kind != .userDefined, stripsLeft: leftStripping.contains(id),
                    stripsRight: rightStripping.contains(id)))
        }
        for index in candidates.indices { candidates[index].sort { $0.text.count > $1.text.count } }
    }

    /// Calls `body` with the fragments of the text, in order; text fragments are never empty.
    func forEachFragment(
        of text: UnsafeBufferPointer<UInt8>, parseSpecial: Bool, _ body: (Fragment) -> Void
    ) {
        var found = occurrences(in: text, parseSpecial: parseSpecial)
        guard !found.isEmpty else {
            if !text.isEmpty { body(.text(0..<text.count)) }
            return
        }
        if zip(found, found.dropFirst()).contains(where: { $0.start + $0.candidate.text.count > $1.start }) {
            found = resolved(found, count: text.count)
        }
        var position = 0
        for (index, match) in found.enumerated() {
            let (start, candidate) = match
            var end = start
            if candidate.stripsLeft { while end > position, Self.isBlank(text[end - 1]) { end -= 1 } }
            if end > position { body(.text(position..<end)) }
            body(.token(candidate.id))
            position = start + candidate.text.count
            let limit = index + 1 < found.count ? found[index + 1].start : text.count
            if candidate.stripsRight { while position < limit, Self.isBlank(text[position]) { position += 1 } }
        }
        if position < text.count { body(.text(position..<text.count)) }
    }

    private func occurrences(
        in text: UnsafeBufferPointer<UInt8>, parseSpecial: Bool
    ) -> [(start: Int, candidate: Candidate)] {
        guard !isEmpty else { return [] }
        var found: [(start: Int, candidate: Candidate)] = []
        candidates.withUnsafeBufferPointer { candidates in
            for start in 0..<text.count {
                let list = candidates[Int(text[start])]
                if list.isEmpty { continue }
                for candidate in list where parseSpecial || !candidate.isHidden {
                    let length = candidate.text.count
                    guard start + length <= text.count else { continue }
                    var offset = 1
                    while offset < length, text[start + offset] == candidate.text[offset] { offset += 1 }
                    if offset == length { found.append((start, candidate)) }
                }
            }
        }
        return found
    }

    /// Longest first over the whole text, then from the left; what overlaps an earlier choice is dropped.
    private func resolved(
        _ found: [(start: Int, candidate: Candidate)], count: Int
    ) -> [(start: Int, candidate: Candidate)] {
        var taken = [Bool](repeating: false, count: count)
        var chosen: [(start: Int, candidate: Candidate)] = []
        for match in found.sorted(by: { ($1.candidate.text.count, $0.start) < ($0.candidate.text.count, $1.start) }) {
            let last = match.start + match.candidate.text.count - 1
            // No chosen match is shorter, so one that overlaps covers an end.
            guard !taken[match.start], !taken[last] else { continue }
            for index in match.start...last { taken[index] = true }
            chosen.append(match)
        }
        return chosen.sorted { $0.start < $1.start }
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}

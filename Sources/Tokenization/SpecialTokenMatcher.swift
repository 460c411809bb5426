/// Finds tokens that are written out in the text, before anything else happens to it.
///
/// The longest token wins wherever two overlap; of equally long ones the one further left. White space, all that
/// Unicode calls so, is swallowed beside tokens that say so.
struct SpecialTokenMatcher: Sendable {
    enum Fragment: Equatable {
        case text(Range<Int>)
        case token(Int)
    }

    /// Longer texts are no markers; without a limit one could make matching quadratic.
    private static let longestText = 1024

    private struct Candidate: Sendable {
        let id: Int
        let length: Int
        let stripsLeft: Bool
        let stripsRight: Bool
    }

    private struct Match {
        let start: Int
        let candidate: Int32
    }

    private var candidates: [Candidate] = []
    /// What is always found: tokens added by hand.
    private var visible = ByteTrie()
    /// These and what is only found with `parseSpecial`: control and unknown.
    private var all = ByteTrie()
    /// First bytes of the tokens of each trie.
    private var visibleFirsts = [Bool](repeating: false, count: 256)
    private var allFirsts = [Bool](repeating: false, count: 256)

    init(tokens: [[UInt8]], kinds: [TokenKind], leftStripping: Set<Int>, rightStripping: Set<Int>) {
        for (id, text) in tokens.enumerated() {
            let kind = kinds[id]
            guard kind == .control || kind == .userDefined || kind == .unknown, let first = text.first,
                text.count <= Self.longestText,
                // A text that is no UTF-8 never occurs in a String, and a torn one must not tear characters.
                String(validating: text, as: UTF8.self) != nil
            else { continue }
            let number = Int32(candidates.count)
            candidates.append(
                Candidate(
                    id: id, length: text.count, stripsLeft: leftStripping.contains(id),
                    stripsRight: rightStripping.contains(id)))
            all.insert(text, number)
            allFirsts[Int(first)] = true
            if kind == .userDefined {
                visible.insert(text, number)
                visibleFirsts[Int(first)] = true
            }
        }
    }

    /// Calls `body` with the fragments of the text, in order; text fragments are never empty.
    func forEachFragment(
        of text: UnsafeBufferPointer<UInt8>, parseSpecial: Bool, _ body: (Fragment) -> Void
    ) {
        let found = matches(in: text, parseSpecial: parseSpecial)
        guard !found.isEmpty else {
            if !text.isEmpty { body(.text(0..<text.count)) }
            return
        }
        let scalars = ScalarText(text)
        var position = 0
        for (index, match) in found.enumerated() {
            let candidate = candidates[Int(match.candidate)]
            var end = match.start
            if candidate.stripsLeft { end = Self.end(ofTextBefore: end, from: position, in: scalars) }
            if end > position { body(.text(position..<end)) }
            body(.token(candidate.id))
            position = match.start + candidate.length
            let limit = index + 1 < found.count ? found[index + 1].start : text.count
            if candidate.stripsRight {
                position = scalars.end(ofRunOf: .space, from: position, limit: limit)
            }
        }
        if position < text.count { body(.text(position..<text.count)) }
    }

    /// The matches that count, in order, none overlapping another.
    private func matches(in text: UnsafeBufferPointer<UInt8>, parseSpecial: Bool) -> [Match] {
        let trie = parseSpecial ? all : visible
        guard !trie.isEmpty else { return [] }
        let firsts = parseSpecial ? allFirsts : visibleFirsts
        var found: [Match] = []
        var overlaps = false
        var reach = 0
        firsts.withUnsafeBufferPointer { firsts in
            for start in 0..<text.count where firsts[Int(text[start])] {
                guard let candidate = longest(in: text, at: start, upTo: .max, trie) else { continue }
                found.append(Match(start: start, candidate: candidate))
                if start < reach { overlaps = true }
                reach = max(reach, start + candidates[Int(candidate)].length)
            }
        }
        return overlaps ? resolved(found, in: text, trie) : found
    }

    /// The longest token at `start` of at most `limit` bytes.
    private func longest(
        in text: UnsafeBufferPointer<UInt8>, at start: Int, upTo limit: Int, _ trie: ByteTrie
    ) -> Int32? {
        var node = ByteTrie.root
        var best: Int32 = -1
        var position = start
        let end = limit < text.count - start ? start + limit : text.count
        while position < end, let next = trie.child(of: node, text[position]) {
            node = next
            position += 1
            let value = trie.value(at: node)
            if value >= 0 { best = value }
        }
        return best >= 0 ? best : nil
    }

    /// Longest first over the whole text, then from the left; what overlaps an earlier choice gives way to the next
    /// shorter token at its place, or to none.
    private func resolved(_ found: [Match], in text: UnsafeBufferPointer<UInt8>, _ trie: ByteTrie) -> [Match] {
        func precedes(_ a: Match, _ b: Match) -> Bool {
            let (x, y) = (candidates[Int(a.candidate)].length, candidates[Int(b.candidate)].length)
            return x > y || (x == y && a.start < b.start)
        }
        var heap = BinaryHeap<Match>(precedes: precedes)
        for match in found { heap.push(match) }
        var taken = [Bool](repeating: false, count: text.count)
        var chosen: [Match] = []
        while let match = heap.pop() {
            // No chosen match is shorter, so one that overlaps covers an end.
            guard !taken[match.start] else { continue }
            let length = candidates[Int(match.candidate)].length
            guard !taken[match.start + length - 1] else {
                if let shorter = longest(in: text, at: match.start, upTo: length - 1, trie) {
                    heap.push(Match(start: match.start, candidate: shorter))
                }
                continue
            }
            for index in match.start..<match.start + length { taken[index] = true }
            chosen.append(match)
        }
        return chosen.sorted { $0.start < $1.start }
    }

    /// Where the white space begins that ends at `end`.
    private static func end(ofTextBefore end: Int, from start: Int, in text: ScalarText) -> Int {
        var end = end
        while end > start {
            var last = end - 1
            while last > start, text.bytes[last] & 0xC0 == 0x80 { last -= 1 }
            guard text.scalarClass(at: last, limit: end).found.meets(.space) else { break }
            end = last
        }
        return end
    }
}

/// The texts that merging can reach, the merges between them, and the tokens they become.
struct MergeVocabulary: Sendable {
    private let merges: MergeTable
    private let symbols: ByteStringTable
    /// A symbol's token, or -1 for one that is only a step on the way.
    private let ids: [Int32]
    /// The symbols of the 256 bytes; in raw text only those of ASCII count.
    private let byteSymbols: [Int32]
    /// The same, and -1 for a byte without a token that no merge knows: it is left out before merging, as Hugging Face's
    /// `tokenizers` has it, so that its neighbours may become one.
    private let startSymbols: [Int32]
    /// Raw text: the tokens `<0x00>`…`<0xFF>`, or -1.
    private let byteIds: [Int32]
    /// Whether symbols start as characters, with `▁` for blanks, rather than as bytes.
    private let isRaw: Bool

    /// - Parameters:
    ///   - vocabulary: receives warnings about duplicates, unreadable merges and missing bytes.
    ///   - tokens: texts as stored.
    ///   - merges: two texts as stored, with a blank between them, best first.
    /// - Throws: `invalidVocabulary` if a token of the byte kind is not written `<0xXX>`.
    init(_ vocabulary: inout Vocabulary, tokens: [[UInt8]], merges lines: [[UInt8]], isRaw: Bool) throws {
        self.isRaw = isRaw
        var symbols = ByteStringTable(minimumCapacity: vocabulary.count + 256)
        var ids: [Int32] = []
        ids.reserveCapacity(vocabulary.count + 256)
        func symbol(_ bytes: UnsafeBufferPointer<UInt8>) -> Int32 {
            let (number, isNew) = symbols.insert(bytes)
            if isNew { ids.append(-1) }
            return Int32(number)
        }
        func symbol(_ bytes: ArraySlice<UInt8>) -> Int32 { bytes.withUnsafeBufferPointer { symbol($0) } }
        let byteIds = isRaw ? try vocabulary.byteTokens(tokens) : [Int32](repeating: -1, count: 256)
        // Control tokens stay out: no text may become one. Tokens added by hand only fill what is free.
        var duplicates = 0
        for id in 0..<vocabulary.count {
            let kind = vocabulary.kinds[id]
            if kind == .control || kind == .unknown || kind == .userDefined { continue }
            if isRaw, kind == .byte { continue }
            let bytes = vocabulary.bytes(of: id)
            if bytes.isEmpty { continue }
            let number = Int(symbol(bytes))
            if ids[number] >= 0 { duplicates += 1 }
            ids[number] = Int32(id)
        }
        for id in 0..<vocabulary.count where vocabulary.kinds[id] == .userDefined {
            let bytes = vocabulary.bytes(of: id)
            if bytes.isEmpty { continue }
            let number = Int(symbol(bytes))
            if ids[number] < 0 { ids[number] = Int32(id) }
        }
        let byteSymbols = (0...255).map { symbol([UInt8($0)]) }
        // C0, C1 and F5…FF never occur in UTF-8.
        let missing = (0..<0xF5).count {
            $0 != 0xC0 && $0 != 0xC1 && (isRaw ? byteIds[$0] < 0 : ids[Int(byteSymbols[$0])] < 0)
        }

        // Both halves of a merge, one behind the other.
        var joined: [UInt8] = []
        func append(_ half: ArraySlice<UInt8>) -> Bool {
            guard isRaw else { return ByteAlphabet.append(half, to: &joined) }
            joined += BlankMark.removed(from: half)
            return true
        }
        var merges = MergeTable(minimumCapacity: lines.count + 1)
        var unreadable = 0
        var mergeable = Set<Int32>()
        for (rank, line) in lines.enumerated() {
            // Split at the first blank from index 1 on: a half may not be empty.
            joined.removeAll(keepingCapacity: true)
            guard line.count >= 3, let blank = line[1...].firstIndex(of: 0x20), blank + 1 < line.count,
                append(line[..<blank])
            else {
                unreadable += 1
                continue
            }
            let border = joined.count
            guard append(line[(blank + 1)...]) else {
                unreadable += 1
                continue
            }
            let (left, right) = (symbol(joined[..<border]), symbol(joined[border...]))
            if border == 1 { mergeable.insert(left) }
            if joined.count == border + 1 { mergeable.insert(right) }
            merges.insert(left, right, rank: UInt32(clamping: rank), merged: symbol(joined[...]))
        }
        startSymbols = byteSymbols.map { ids[Int($0)] >= 0 || mergeable.contains($0) ? $0 : -1 }
        self.byteIds = byteIds
        self.byteSymbols = byteSymbols
        self.merges = merges
        self.symbols = symbols
        self.ids = ids
        if duplicates > 0 {
            vocabulary.warn("\(duplicates) tokens repeat the text of another; the last of each counts")
        }
        if unreadable > 0 {
            vocabulary.warn(
                "\(unreadable) merges are not two texts "
                    + (isRaw ? "with a blank between them" : "in the byte alphabet") + " and are ignored")
        }
        if missing > 0 {
            vocabulary.warn(
                "\(missing) bytes have no token; text that needs them "
                    + (isRaw ? "becomes unknown" : "loses them"))
        }
    }

    // MARK: - Lookup

    /// Appends the token of a single byte, unless characters are what counts.
    @inline(__always)
    func appendByte(_ byte: UInt8, to result: inout [Int]) -> Bool {
        if isRaw { return false }
        let id = ids[Int(byteSymbols[Int(byte)])]
        if id >= 0 { result.append(Int(id)) }
        return true
    }

    /// Appends the token whose text is the whole piece, if there is one.
    func appendWhole(_ piece: UnsafeBufferPointer<UInt8>, to result: inout [Int]) -> Bool {
        let number =
            isRaw ? BlankMark.removed(from: piece).withUnsafeBufferPointer { symbols.find($0) } : symbols.find(piece)
        guard let number, ids[number] >= 0 else { return false }
        result.append(Int(ids[number]))
        return true
    }

    // MARK: - Merging

    /// Appends the tokens that merging makes of the piece.
    func merge(
        _ piece: UnsafeBufferPointer<UInt8>, with merger: inout SymbolMerger, to result: inout [Int], unknown: Int?
    ) {
        merger.symbols.removeAll(keepingCapacity: true)
        if isRaw { return mergeCharacters(piece, with: &merger, to: &result, unknown: unknown) }
        for byte in piece where startSymbols[Int(byte)] >= 0 { merger.symbols.append(startSymbols[Int(byte)]) }
        merger.merge(with: merges)
        for symbol in merger.symbols {
            let id = ids[Int(symbol)]
            if id >= 0 {
                result.append(Int(id))
                continue
            }
            // Merged into something that is no token: byte by byte, dropping bytes without a token.
            for byte in symbols[Int(symbol)] {
                let id = ids[Int(byteSymbols[Int(byte)])]
                if id >= 0 { result.append(Int(id)) }
            }
        }
    }

    private func mergeCharacters(
        _ piece: UnsafeBufferPointer<UInt8>, with merger: inout SymbolMerger, to result: inout [Int], unknown: Int?
    ) {
        let text = BlankMark.removed(from: piece)
        // Characters without a symbol get numbers above all symbols, which no merge knows.
        var strangers: [Range<Int>] = []
        text.withUnsafeBufferPointer { text in
            forEachCharacter(of: text[...]) { range in
                if range.count == 1 {
                    merger.symbols.append(byteSymbols[Int(text[range.lowerBound])])
                } else if let number = symbols.find(UnsafeBufferPointer(rebasing: text[range])) {
                    merger.symbols.append(Int32(number))
                } else {
                    merger.symbols.append(Int32(symbols.count + strangers.count))
                    strangers.append(range)
                }
            }
        }
        merger.merge(with: merges)
        for symbol in merger.symbols {
            if Int(symbol) >= symbols.count {
                appendBytes(text[strangers[Int(symbol) - symbols.count]], to: &result, unknown: unknown)
                continue
            }
            if ids[Int(symbol)] >= 0 {
                result.append(Int(ids[Int(symbol)]))
                continue
            }
            symbols[Int(symbol)].withUnsafeBufferPointer { bytes in
                forEachCharacter(of: bytes[...]) { range in
                    let character = bytes[range]
                    if let number = symbols.find(UnsafeBufferPointer(rebasing: character)), ids[number] >= 0 {
                        result.append(Int(ids[number]))
                    } else {
                        appendBytes(character, to: &result, unknown: unknown)
                    }
                }
            }
        }
    }

    /// The byte tokens of a character, or the unknown token if one is missing.
    private func appendBytes(_ bytes: some Sequence<UInt8>, to result: inout [Int], unknown: Int?) {
        if bytes.allSatisfy({ byteIds[Int($0)] >= 0 }) {
            for byte in bytes { result.append(Int(byteIds[Int(byte)])) }
        } else if let unknown {
            result.append(unknown)
        }
    }

    private func forEachCharacter(of text: Slice<UnsafeBufferPointer<UInt8>>, _ body: (Range<Int>) -> Void) {
        var start = text.startIndex
        while start < text.endIndex {
            var end = start + 1
            while end < text.endIndex, text[end] & 0xC0 == 0x80 { end += 1 }
            body(start..<end)
            start = end
        }
    }
}

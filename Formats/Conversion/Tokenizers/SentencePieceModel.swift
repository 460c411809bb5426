import ByteIO

/// A SentencePiece model (`tokenizer.model`, `spiece.model`): pieces with scores, and how text is normalised.
///
/// | message | field |
/// | --- | --- |
/// | ModelProto | 1 piece (repeated), 2 trainer, 3 normalizer |
/// | piece | 1 text, 2 score f32, 3 type (numbers of ``TokenKind``) |
/// | trainer | 3 model type (1 unigram, 2 BPE), 4 vocabulary size, 24 blanks as suffix, 35 byte fallback, 40–43 ids, 45–48 texts of unk, bos, eos, pad |
/// | normalizer | 1 name, 2 charsmap, 3 dummy prefix, 4 remove extra blanks, 5 escape blanks |
struct SentencePieceModel: Sendable {
    struct Piece: Sendable {
        var text: String
        var score: Float
        var kind: TokenKind
    }

    enum Algorithm: UInt64, Sendable {
        case unigram = 1
        case bytePair = 2
        case word = 3
        case character = 4
    }

    var pieces: [Piece] = []
    var algorithm = Algorithm.unigram
    var hasByteFallback = false
    /// Whether blanks end words rather than begin them; no GGUF reader knows such models.
    var treatsBlankAsSuffix = false
    var normalizerName = ""
    /// The compiled normalisation rules; empty for none.
    var charsmap: [UInt8] = []
    var addsDummyPrefix = true
    var removesExtraBlanks = true
    var escapesBlanks = true
    /// Ids of the special pieces; -1 for none.
    var unknownID = 0
    var beginID = 1
    var endID = 2
    var paddingID = -1
}

// MARK: - Reading

extension SentencePieceModel {
    /// - Throws: ``ConversionError`` when the bytes are not such a model, with the reason.
    init(_ bytes: UnsafeRawBufferPointer, path: String) throws {
        guard let first = bytes.first, first == 0x0A else {
            throw ConversionError(
                .malformed,
                bytes.isEmpty
                    ? "the file is empty; a SentencePiece model is expected"
                    : "not a SentencePiece model (a tiktoken vocabulary has the same name; use its tokenizer.json)",
                path: path)
        }
        var message = ProtobufReader(bytes, name: "the model", path: path)
        while let (field, value) = try message.next() {
            switch (field, value) {
            case (1, .bytes(let body)):
                guard pieces.count < VocabularyTable.idLimit else {
                    throw message.failure("there are more than \(VocabularyTable.idLimit) pieces")
                }
                pieces.append(try Self.piece(body, number: pieces.count, path: path))
            case (2, .bytes(let body)): try readTrainer(body, path: path)
            case (3, .bytes(let body)): try readNormalizer(body, path: path)
            case (1...3, _): throw message.failure("field \(field) is not a message")
            default: break
            }
        }
        guard !pieces.isEmpty else { throw message.failure("there are no pieces") }
    }

    private static func piece(_ bytes: UnsafeRawBufferPointer, number: Int, path: String) throws -> Piece {
        var message = ProtobufReader(bytes, name: "piece \(number)", path: path)
        var text: String?
        var score: Float = 0
        var kind = TokenKind.normal
        while let (field, value) = try message.next() {
            switch (field, value) {
            case (1, .bytes(let body)):
                guard let valid = String(validating: body, as: UTF8.self) else {
                    throw message.failure("the text is not valid UTF-8")
                }
                text = valid
            case (2, .fixed32(let bits)):
                score = Float(bitPattern: bits)
                guard score.isFinite else { throw message.failure("the score is not finite") }
            case (3, .varint(let number)):
                guard let known = Int32(exactly: number).flatMap({ TokenKind(rawValue: $0) }) else {
                    throw message.failure("the type \(number) is unknown")
                }
                kind = known
            case (1...3, _): throw message.failure("field \(field) has another type than it should")
            default: break
            }
        }
        guard let text, !text.isEmpty else { throw message.failure("there is no text") }
        if kind == .byte, TokenText.byte(text) == nil {
            throw message.failure("\(text.quotedForMessage) is marked as a byte but is not written <0xHH>")
        }
        return Piece(text: text, score: score, kind: kind)
    }

    private mutating func readTrainer(_ bytes: UnsafeRawBufferPointer, path: String) throws {
        var message = ProtobufReader(bytes, name: "the trainer's part", path: path)
        while let (field, value) = try message.next() {
            guard case .varint(let number) = value else { continue }
            // `int32` values are sign-extended to 64 bits.
            let signed = Int(exactly: Int64(bitPattern: number)) ?? -1
            switch field {
            case 3:
                guard let known = Algorithm(rawValue: number) else {
                    throw message.failure("the model type \(number) is unknown")
                }
                algorithm = known
            case 24: treatsBlankAsSuffix = number != 0
            case 35: hasByteFallback = number != 0
            case 40: unknownID = signed
            case 41: beginID = signed
            case 42: endID = signed
            case 43: paddingID = signed
            default: break
            }
        }
    }

    private mutating func readNormalizer(_ bytes: UnsafeRawBufferPointer, path: String) throws {
        var message = ProtobufReader(bytes, name: "the normalizer's part", path: path)
        while let (field, value) = try message.next() {
            switch (field, value) {
            case (1, .bytes(let body)): normalizerName = String(decoding: body, as: UTF8.self)
            case (2, .bytes(let body)): charsmap = Array(body)
            case (3, .varint(let flag)): addsDummyPrefix = flag != 0
            case (4, .varint(let flag)): removesExtraBlanks = flag != 0
            case (5, .varint(let flag)): escapesBlanks = flag != 0
            case (1...5, _): throw message.failure("field \(field) has another type than it should")
            default: break
            }
        }
        try CharacterMap.check(charsmap, path: path)
    }
}

// MARK: - Writing

extension SentencePieceModel {
    /// The model as SentencePiece reads it.
    func serialized() -> [UInt8] {
        var model = ProtobufWriter()
        for piece in pieces {
            var message = ProtobufWriter()
            message.text(1, piece.text)
            message.float(2, piece.score)
            if piece.kind != .normal { message.varint(3, UInt64(piece.kind.rawValue)) }
            model.bytes(1, message.bytes)
        }
        var trainer = ProtobufWriter()
        trainer.varint(3, algorithm.rawValue)
        trainer.int32(4, pieces.count)
        trainer.varint(35, hasByteFallback ? 1 : 0)
        trainer.int32(40, unknownID)
        trainer.int32(41, beginID)
        trainer.int32(42, endID)
        trainer.int32(43, paddingID)
        for (field, id) in [(45, unknownID), (46, beginID), (47, endID), (48, paddingID)]
        where id >= 0 && id < pieces.count { trainer.text(UInt64(field), pieces[id].text) }
        model.bytes(2, trainer.bytes)
        var normalizer = ProtobufWriter()
        normalizer.text(1, normalizerName)
        normalizer.bytes(2, charsmap)
        normalizer.varint(3, addsDummyPrefix ? 1 : 0)
        normalizer.varint(4, removesExtraBlanks ? 1 : 0)
        normalizer.varint(5, escapesBlanks ? 1 : 0)
        model.bytes(3, normalizer.bytes)
        return model.bytes
    }
}

/// SentencePiece's compiled normalisation rules.
///
/// | offset | size | what |
/// | --- | --- | --- |
/// | 0 | 4 | n, bytes of the trie, u32 |
/// | 4 | n | double array, u32 units |
/// | 4 + n | rest | replacements, each ended by a zero |
enum CharacterMap {
    /// Checks that the parts lie within the blob; an empty one means no rules.
    static func check(_ bytes: [UInt8], path: String) throws {
        guard !bytes.isEmpty else { return }
        let trieSize = bytes.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
        guard bytes.count >= 4, trieSize % 4 == 0, trieSize <= bytes.count - 4 else {
            throw ConversionError(
                .malformed,
                "the normalisation rules (precompiled charsmap, \(bytes.count) bytes) claim a table of \(trieSize) bytes",
                path: path)
        }
    }
}

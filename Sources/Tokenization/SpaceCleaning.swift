/// Removes blanks that word-based tokenizers left before punctuation and contractions.
///
/// The replacements are those of Transformers' `clean_up_tokenization_spaces`, one after the other over the whole text:
/// `" ."`, `" ?"`, `" !"`, `" ,"`, `" ' "`, `" n't"`, `" 'm"`, `" 's"`, `" 've"`, `" 're"`.
enum SpaceCleaning {
    private static let replacements: [(from: [UInt8], to: [UInt8])] = [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"),
        (" 've", "'ve"), (" 're", "'re"),
    ].map { (Array($0.0.utf8), Array($0.1.utf8)) }

    static func cleaned(_ text: String) -> String {
        var bytes = Array(text.utf8)
        for (from, to) in replacements where bytes.count >= from.count { bytes = replaced(bytes, from, to) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func replaced(_ bytes: [UInt8], _ from: [UInt8], _ to: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            if bytes[index] == 0x20, bytes[index...].starts(with: from) {
                result += to
                index += from.count
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return result
    }
}

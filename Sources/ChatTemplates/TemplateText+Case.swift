// Case as Python's str has it: full mappings by Unicode, the final sigma included. Each mapped scalar keeps the mark of
// the one it came from.

extension TemplateText {
    private func mapped(_ transform: (Int, Unicode.Scalar.Properties) -> String) -> TemplateText {
        var result = TemplateText(scalars: [])
        result.scalars.reserveCapacity(count)
        result.isMarkup = isMarkup
        for (index, element) in scalars.enumerated() {
            let value = element & TemplateText.valueMask
            let mark = element & TemplateText.inputMark
            guard value >= 0x80 || TemplateText.isASCIILetter(value), let scalar = Unicode.Scalar(value) else {
                result.scalars.append(element)
                continue
            }
            for mappedScalar in transform(index, scalar.properties).unicodeScalars {
                result.scalars.append(mappedScalar.value | mark)
            }
        }
        return result
    }

    static func isASCIILetter(_ value: UInt32) -> Bool { value | 0x20 >= 0x61 && value | 0x20 <= 0x7A }

    private static func properties(_ element: UInt32) -> Unicode.Scalar.Properties {
        TemplateText.scalar(element).properties
    }

    /// Capital sigma is lowered to a final one behind a letter and before none.
    private func lowered(_ index: Int, _ properties: Unicode.Scalar.Properties) -> String {
        guard self[index] == 0x3A3 else { return properties.lowercaseMapping }
        var before = index - 1
        while before >= 0 && TemplateText.properties(scalars[before]).isCaseIgnorable { before -= 1 }
        guard before >= 0, TemplateText.properties(scalars[before]).isCased else { return "σ" }
        var after = index + 1
        while after < count && TemplateText.properties(scalars[after]).isCaseIgnorable { after += 1 }
        return after < count && TemplateText.properties(scalars[after]).isCased ? "σ" : "ς"
    }

    func uppercased() -> TemplateText { mapped { $1.uppercaseMapping } }
    func lowercased() -> TemplateText { mapped { lowered($0, $1) } }
    func capitalized() -> TemplateText { mapped { $0 == 0 ? $1.titlecaseMapping : lowered($0, $1) } }

    func swappedCase() -> TemplateText {
        mapped { $1.isUppercase ? lowered($0, $1) : $1.isLowercase ? $1.uppercaseMapping : lowered($0, $1) }
    }

    /// Python's `str.title`: a letter behind none is a capital, each other one is small.
    func titled() -> TemplateText {
        mapped { index, properties in
            let follows = index > 0 && TemplateText.properties(scalars[index - 1]).isCased
            return follows ? lowered(index, properties) : properties.titlecaseMapping
        }
    }

    /// Whether there is a cased letter and none of the other case.
    func isCase(upper: Bool) -> Bool {
        var found = false
        for element in scalars {
            let properties = TemplateText.properties(element)
            if upper ? properties.isUppercase : properties.isLowercase {
                found = true
            } else if properties.isLowercase || properties.isUppercase || properties.generalCategory == .titlecaseLetter
            {
                return false
            }
        }
        return found
    }

    /// Whether the text is not empty and all of it satisfies the predicate.
    func allSatisfy(_ predicate: (Unicode.Scalar.Properties) -> Bool) -> Bool {
        !isEmpty && scalars.allSatisfy { predicate(TemplateText.properties($0)) }
    }

    /// `&`, `<`, `>` and quotes as HTML has them; the result is markup.
    func escaped() -> TemplateText {
        var result = TemplateText(scalars: [])
        for element in scalars {
            let mark = element & TemplateText.inputMark
            let replacement: String? =
                switch element & TemplateText.valueMask {
                case 0x26: "&amp;"
                case 0x3C: "&lt;"
                case 0x3E: "&gt;"
                case 0x27: "&#39;"
                case 0x22: "&#34;"
                default: nil
                }
            if let replacement {
                for scalar in replacement.unicodeScalars { result.scalars.append(scalar.value | mark) }
            } else {
                result.scalars.append(element)
            }
        }
        result.isMarkup = true
        return result
    }
}

import TensorTypes

extension QuantizationMix {
    /// Every mix there is, floats first, then from many bits to few. Choices are those of llama.cpp of October 2026.
    public static let all: [QuantizationMix] = floats + plain + kQuants + nonLinear + lowBit + special

    private static let floats = [
        QuantizationMix("F32", 0, "F32", "single precision, 32 bits a weight"),
        QuantizationMix("F16", 1, "F16", "half precision, 16 bits; values beyond 65504 become infinite"),
        QuantizationMix("BF16", 32, "BF16", "brain float, 16 bits, the range of single precision"),
    ]

    /// One type throughout, but for the output.
    private static let plain = [
        QuantizationMix("Q8_0", 7, "Q8_0", "8.5 bits, practically lossless"),
        QuantizationMix(
            "Q5_0", 8, "Q5_0", "5.5 bits, legacy; prefer Q5_K_M",
            [MixRule(.feedForwardDown, "Q5_1", .withImportance, .firstLayers(8))]),
        QuantizationMix("Q5_1", 9, "Q5_1", "6 bits, legacy; prefer Q5_K_M"),
        QuantizationMix(
            "Q4_0", 2, "Q4_0", "4.5 bits, legacy and fast",
            [MixRule(.feedForwardDown, "Q4_1", .withImportance, .firstLayers(8))]),
        QuantizationMix("Q4_1", 3, "Q4_1", "5 bits, legacy"),
    ]

    private static let kQuants = [
        QuantizationMix("Q6_K", 18, "Q6_K", "6.6 bits, hardly any loss"),
        QuantizationMix(
            "Q5_K_M", 17, "Q5_K", "5.7 bits, very little loss",
            [MixRule(.attentionValue, "Q6_K", .moreBits), MixRule(.feedForwardDown, "Q6_K", .moreBits)]),
        QuantizationMix("Q5_K_S", 16, "Q5_K", "5.5 bits, very little loss"),
        QuantizationMix(
            "Q4_K_M", 15, "Q4_K", "4.9 bits, the usual choice",
            [
                MixRule(.attentionValue, "Q6_K", .moreBits),
                MixRule(.feedForwardDown, "Q6_K", .falcon, .firstLayers(16)),
                MixRule(.feedForwardDown, "Q5_K", .falcon, .moreBits),
                MixRule(.feedForwardDown, "Q6_K", .notFalcon, .moreBits),
                outputOfExperts,
            ]),
        QuantizationMix(
            "Q4_K_S", 14, "Q4_K", "4.7 bits, a little smaller than Q4_K_M",
            [
                MixRule(.attentionValue, "Q5_K", .first(4)),
                MixRule(.feedForwardDown, "Q5_K", .notFalcon, .firstLayers(8)), outputOfExperts,
            ]),
        QuantizationMix(
            "Q3_K_L", 13, "Q3_K", "4.3 bits, visible loss",
            [
                MixRule(.attentionValue, "Q5_K"), MixRule(.feedForwardDown, "Q4_K", .falcon),
                MixRule(.feedForwardDown, "Q5_K"), MixRule(.attentionOutput, "Q4_K", .falcon),
                MixRule(.attentionOutput, "Q5_K", .notEightExperts),
            ]),
        QuantizationMix(
            "Q3_K_M", 12, "Q3_K", "3.9 bits, visible loss",
            [
                MixRule(.attentionValue, "Q5_K", .first(2)), MixRule(.attentionValue, "Q4_K"),
                MixRule(.feedForwardDown, "Q5_K", .firstLayers(16)), MixRule(.feedForwardDown, "Q4_K", .notFalcon),
                MixRule(.feedForwardDown, "Q4_K", .moreBits), outputOfExperts,
                MixRule(.attentionOutput, "Q4_K", .notFalcon),
            ]),
        QuantizationMix("Q3_K_S", 11, "Q3_K", "3.5 bits, much loss", [outputOfExperts]),
        QuantizationMix(
            "Q2_K", 10, "Q2_K", "3 bits, great loss; better with an importance matrix",
            [
                MixRule(.attentionValue, "Q4_K", .grouped), MixRule(.attentionValue, "Q3_K"),
                MixRule(.feedForwardDown, "Q3_K"), outputOfExperts, MixRule(.attentionOutput, "Q3_K", .notFalcon),
            ]),
        QuantizationMix(
            "Q2_K_S", 21, "Q2_K", "2.8 bits, great loss", needsImportance: true,
            [MixRule(.attentionValue, "Q4_K", .grouped), MixRule(.feedForwardDown, "Q4_K", .firstLayers(8))]),
    ]

    private static let nonLinear = [
        QuantizationMix(
            "IQ4_NL", 25, "IQ4_NL", "4.5 bits on a curved scale",
            [
                MixRule(.attentionValue, "Q5_K", .grouped),
                MixRule(.feedForwardDown, "Q5_K", .withoutImportance, .firstLayers(8)), outputOfExperts,
            ]),
        QuantizationMix(
            "IQ4_XS", 30, "IQ4_XS", "4.3 bits on a curved scale, better than its size suggests",
            [
                MixRule(.attentionValue, "Q5_K", .grouped),
                MixRule(.feedForwardDown, "Q5_K", .withoutImportance, .firstLayers(8)), outputOfExperts,
            ]),
        QuantizationMix(
            "IQ3_M", 27, "IQ3_S", "3.7 bits",
            [
                MixRule(.attentionValue, "Q4_K"), MixRule(.feedForwardDown, "Q4_K", .firstLayers(8)),
                MixRule(.feedForwardDown, "Q4_K", .eightExperts, .moreBits), outputOfExperts,
                MixRule(.attentionOutput, "Q4_K", .notFalcon),
            ]),
        QuantizationMix(
            "IQ3_S", 26, "IQ3_S", "3.4 bits", [MixRule(.attentionValue, "Q4_K", .grouped), outputOfExperts]),
        QuantizationMix(
            "IQ3_XS", 22, "IQ3_S", "3.3 bits",
            [
                MixRule(.attentionValue, "Q4_K", .grouped), MixRule(.attentionKey, "IQ3_XXS", .notEightExperts),
                MixRule(.attentionQuery, "IQ3_XXS"), MixRule(.feedForwardGate, "IQ3_XXS", .middleLayers),
                MixRule(.feedForwardUp, "IQ3_XXS", .middleLayers), outputOfExperts,
            ]),
        QuantizationMix(
            "IQ3_XXS", 23, "IQ3_XXS", "3.1 bits", embedding: "IQ3_S", output: "Q5_K",
            [
                MixRule(.attentionValue, "Q4_K", .grouped), MixRule(.attentionValue, "IQ3_S", .withoutImportance),
                MixRule(.attentionKey, "IQ2_S", .notEightExperts), MixRule(.attentionQuery, "IQ2_S"),
                MixRule(.feedForwardDown, "Q4_K", .withoutImportance, .firstLayers(8)),
                MixRule(.feedForwardDown, "Q3_K", .withoutImportance), outputOfExperts,
                MixRule(.attentionOutput, "IQ3_S", .notFalcon),
            ]),
    ]

    private static let lowBit = [
        low("IQ2_M", 29, "IQ2_S", "2.7 bits", higher: "IQ3_S", embedding: "IQ3_S", attentionOutput: "IQ3_S"),
        low("IQ2_S", 28, "IQ2_XS", "2.5 bits", higher: "IQ3_S", embedding: "IQ3_S", attentionOutput: "IQ3_S"),
        low("IQ2_XS", 20, "IQ2_XS", "2.3 bits", higher: "Q2_K", embedding: "Q2_K", attentionOutput: nil),
        low("IQ2_XXS", 19, "IQ2_XXS", "2.1 bits", higher: "Q2_K", embedding: "Q2_K", attentionOutput: nil),
        low("IQ1_M", 31, "IQ1_M", "1.75 bits", higher: "Q2_K", embedding: "Q2_K", attentionOutput: "IQ2_XXS"),
        low("IQ1_S", 24, "IQ1_S", "1.6 bits", higher: "Q2_K", embedding: "Q2_K", attentionOutput: "IQ2_XXS"),
    ]

    private static let special = [
        QuantizationMix("TQ2_0", 37, "TQ2_0", "2.1 bits, for ternary models", embedding: "Q4_K"),
        QuantizationMix("TQ1_0", 36, "TQ1_0", "1.7 bits, for ternary models", embedding: "Q4_K"),
        QuantizationMix("MXFP4_MOE", 38, "MXFP4", "4.25 bits for experts (OCP MXFP4), Q8_0 for the rest"),
        QuantizationMix("NVFP4", 39, "NVFP4", "4.5 bits (E2M1 with E4M3 scales)"),
        QuantizationMix("Q2_0", 41, "Q2_0", "2.25 bits, for models trained to four levels", embedding: "Q4_K"),
        QuantizationMix("Q1_0", 40, "Q1_0", "1.1 bits, for binary models"),
    ]

    private static let outputOfExperts = MixRule(.attentionOutput, "Q5_K", .eightExperts, .notFalcon)

    private static func low(
        _ name: String, _ fileType: UInt32, _ type: String, _ bits: String, higher: String, embedding: String,
        attentionOutput: String?
    ) -> QuantizationMix {
        var rules = [
            MixRule(.attentionValue, "Q4_K", .groupedOrExperts), MixRule(.attentionValue, higher),
            MixRule(.attentionKey, "Q4_K", .eightExperts), MixRule(.feedForwardDown, higher, .firstCounted(8)),
            MixRule(.attentionOutput, "Q5_K", .eightExperts),
        ]
        if let attentionOutput { rules.append(MixRule(.attentionOutput, attentionOutput)) }
        return QuantizationMix(
            name, fileType, type, "\(bits), great loss; needs an importance matrix", embedding: embedding,
            output: "Q5_K", isLowBit: true, rules)
    }
}

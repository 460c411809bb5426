/// Every tuning method there is. A new one is a line here.
public enum MethodCatalog {
    public static let methods: [any TuningMethod.Type] = [
        PrefixTuning.self,
        LatePrefix.self,
        ResidualPrefix.self,
        PromptTuningMethod.self,
        PTuning.self,
        PTuningLSTM.self,
        ContextAwarePromptTuning.self,
        MultitaskPromptTuning.self,
        AdaptionPrompt.self,
    ]

    /// The method called `name`.
    ///
    /// - Throws: `TuningError.unknownMethod`, listing those there are.
    public static func method(named name: String) throws -> any TuningMethod.Type {
        guard let match = methods.first(where: { $0.name == name }) else {
            throw TuningError(
                code: .unknownMethod,
                message:
                    "there is no tuning method “\(name)”; those there are: \(methods.map { $0.name }.joined(separator: ", "))"
            )
        }
        return match
    }
}

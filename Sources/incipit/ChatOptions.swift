import ArgumentParser
import ChatTemplates
import Generation
import LanguageModels

/// How a conversation becomes text.
struct ChatOptions: ParsableArguments {
    @Option(help: "What the model is told before the conversation.") var system: String?
    @Option(help: "Jinja file to use in place of the model's own chat template.", completion: .file())
    var chatTemplate: String?

    var isGiven: Bool { system != nil || chatTemplate != nil }

    var systemMessages: [ChatMessage] { system.map { [ChatMessage(role: "system", content: $0)] } ?? [] }

    /// The template of the model, or the one named.
    func prompt(_ loaded: LoadedModel) throws -> ChatPrompt {
        try ChatPrompt(loaded, template: chatTemplate.map { try TextFile.read($0) })
    }
}

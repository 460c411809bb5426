import ArgumentParser
import ChatTemplates
import Foundation
import Generation
import LanguageModels

struct ChatCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat", abstract: "Talk with a model, with soft prompts attached and detached on the way.",
        discussion: """
            Each line is a message; the answer is written as it is made, and Ctrl-C stops it without ending the program. \
            On a terminal lines can be edited and earlier ones recalled with the arrow keys; a line that ends with a \
            backslash goes on in the next. Without a terminal, lines are read as they come.

              incipit chat MODEL --system "You are terse." --temperature 0.7
              incipit chat MODEL --attach team/task < questions.txt

            \(ChatSession.help)

            What was computed for earlier messages is kept, so that a message costs only its own tokens. Nothing you write \
            can become a control token.
            """)

    @OptionGroup var options: ModelOptions
    @OptionGroup var attachment: AttachmentOptions
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var grammar: GrammarOptions
    @OptionGroup var chat: ChatOptions

    func run() async throws {
        let settings = try sampling.settings()
        _ = try grammar.load()
        let loaded = try options.load()
        let session = try ChatSession(
            loaded: loaded, prompt: chat.prompt(loaded), system: chat.system, settings: settings, sampling: sampling,
            constraint: grammar.constraint(loaded.tokenizer))
        if attachment.attach != nil { try await session.attach(attachment) }
        let reader = LineReader()
        if reader.isInteractive {
            Output.note("\(loaded.name); /help lists the commands, Ctrl-D ends")
        }
        while let line = try reader.read(prompt: "> ") {
            if line.hasPrefix("/") {
                do {
                    if try await session.command(line) { return }
                } catch {
                    // A wrong command ends a script, but not a conversation.
                    if !reader.isInteractive { throw error }
                    Output.note("\(error)")
                }
            } else if !line.allSatisfy(\.isWhitespace) {
                do { try session.answer(line) } catch {
                    if !reader.isInteractive { throw error }
                    Output.note("\(error)")
                }
            }
        }
    }
}

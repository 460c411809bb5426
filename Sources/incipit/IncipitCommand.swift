import ArgumentParser
import Foundation

/// The command line: every subcommand is one file in `Commands/`.
@main
struct IncipitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "incipit",
        abstract: "Soft prompts for open-weight language models: train, version, exchange, attach.",
        discussion: """
            A soft prompt is a handful of trained vectors that steer a frozen model better than words and cost nothing to \
            read again. A first session:

              incipit inspect MODEL.gguf
              incipit tune MODEL.gguf --data task.jsonl --name team/task --init-text "What to do."
              incipit run MODEL.gguf --attach team/task "a text"
              incipit push team/task:v1 registry.example.com/team/task:v1

            Prompts are stored under $INCIPIT_HOME (default $XDG_DATA_HOME/incipit or ~/.local/share/incipit) and belong to \
            the base model they were trained on; another base refuses them.

            Settings may come from a file: `incipit tune --config run.yaml` takes each `name: value` of it for a flag; flags on \
            the command line win.

            Exit codes: 0 done; 1 failed; 64 wrong usage; 65 damaged or unsuitable data; 66 not found; 69 a registry or \
            folder is unavailable; 70 the prompt belongs to another base; 130 interrupted, nothing lost.
            """,
        version: "0.1.0",
        groupedSubcommands: [
            CommandGroup(
                name: "Prompts",
                subcommands: [
                    TuneCommand.self, ContinueCommand.self, DistillCommand.self, CompileCommand.self, HealCommand.self,
                    PortCommand.self, EvalCommand.self, ExplainCommand.self, RunCommand.self, PromptCommand.self,
                    MethodsCommand.self,
                ]),
            CommandGroup(
                name: "Models",
                subcommands: [
                    ChatCommand.self, EmbedCommand.self, GrammarCommand.self, PerplexityCommand.self, BenchCommand.self,
                ]),
            CommandGroup(
                name: "Registry",
                subcommands: [
                    PushCommand.self, PullCommand.self, LoginCommand.self, LogoutCommand.self, ServeCommand.self,
                    AccessCommand.self, RegistryCommand.self, KeygenCommand.self, SignCommand.self,
                ]),
            CommandGroup(
                name: "Model files",
                subcommands: [
                    InspectCommand.self, FingerprintCommand.self, ConvertCommand.self, QuantizeCommand.self,
                    ImatrixCommand.self, VerifyCommand.self, DiffCommand.self, MetadataCommand.self,
                    SplitCommand.self, MergeCommand.self, MergeLoRACommand.self, TokenizeCommand.self,
                    TemplateCommand.self,
                ]),
        ])

    /// Runs the command and reports a failure as one sentence with the exit code that belongs to it.
    static func main() async {
        do {
            var command = try parseAsRoot(ConfigFile.expand(Array(CommandLine.arguments.dropFirst())))
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            ErrorReport.exit(error)
        }
    }
}

Output.line("warm")

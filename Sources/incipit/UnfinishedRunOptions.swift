import ArgumentParser

/// What becomes of an unfinished run of the same name.
struct UnfinishedRunOptions: ParsableArguments {
    @Flag(help: "Go on with the unfinished run of this name.") var resume = false
    @Flag(help: "Discard the unfinished run of this name.") var restart = false

    func validate() throws {
        if resume && restart { throw ValidationError("--resume and --restart exclude each other.") }
    }
}

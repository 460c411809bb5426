/// A precondition that holds in every build: this module is compiled with -Ounchecked, which drops `precondition`.
///
/// For broken invariants of the calling code, never for input data.
@inline(__always)
func require(_ condition: Bool, _ message: @autoclosure () -> String) {
    if !condition { fatalError(message()) }
}

// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that fuzzing needs no dependency and instruments nothing but what it tests. Its modules are
// the main package's, through the links `Formats`, `Registry` and `Sources`; Conversion and the registry's without the files
// that need a library: of the stores the one in memory is here. `Crypto` stands in for the hash library.
// libFuzzer and AddressSanitizer come with the toolchain.
let fuzzed: [SwiftSetting] = [
    .swiftLanguageMode(.v6), .unsafeFlags(["-sanitize=fuzzer,address", "-parse-as-library", "-g"]),
]
// lld: gold, the default, fails on what the sanitizers leave in the debug information.
let linked: [LinkerSetting] = [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]

let package = Package(
    name: "incipit-fuzz",
    targets: [
        .target(name: "ByteIO", path: "Formats/ByteIO", swiftSettings: fuzzed),
        .target(name: "TensorTypes", dependencies: ["ByteIO"], path: "Formats/TensorTypes", swiftSettings: fuzzed),
        .target(name: "GGUF", dependencies: ["TensorTypes"], path: "Formats/GGUF", swiftSettings: fuzzed),
        .target(
            name: "Safetensors", dependencies: ["TensorTypes"], path: "Formats/Safetensors", swiftSettings: fuzzed),
        .target(
            name: "Conversion", dependencies: ["GGUF", "Safetensors"], path: "Formats/Conversion",
            sources: ["ConversionError.swift", "Tokenizers"], swiftSettings: fuzzed),
        .target(name: "Tokenization", path: "Sources/Tokenization", swiftSettings: fuzzed),
        .target(name: "ChatTemplates", path: "Sources/ChatTemplates", swiftSettings: fuzzed),
        .target(name: "Crypto", path: "Crypto", swiftSettings: fuzzed),
        .target(
            name: "OCIArtifacts", dependencies: ["Crypto"], path: "Registry/OCIArtifacts", exclude: ["Signatures"],
            swiftSettings: fuzzed),
        .target(
            name: "PromptRegistry", dependencies: ["OCIArtifacts"], path: "Registry/PromptRegistry",
            sources: [
                "Chunks.swift", "ConcurrentMap.swift", "ManifestAdmission.swift", "RegistryError.swift",
                "RegistryStore.swift", "Stores/MemoryStore.swift", "VersionStore.swift",
            ], swiftSettings: fuzzed),
        .target(
            name: "FuzzHarness",
            dependencies: [
                "GGUF", "Safetensors", "Conversion", "Tokenization", "ChatTemplates", "OCIArtifacts", "PromptRegistry",
            ], path: "Harness", swiftSettings: fuzzed),
        .executableTarget(
            name: "incipit-fuzz", dependencies: ["FuzzHarness"], path: "Main", swiftSettings: fuzzed,
            linkerSettings: linked),
    ]
)

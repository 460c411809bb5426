// swift-tools-version: 6.2
import PackageDescription

// Settings by kind of code. `-Ounchecked` is for modules that only compute on memory whose bounds were checked at the
// border; modules that read files, requests or user input keep every check.
let checked: [SwiftSetting] = [.swiftLanguageMode(.v6)]
let computing: [SwiftSetting] = [
    .swiftLanguageMode(.v6), .unsafeFlags(["-Ounchecked"], .when(configuration: .release)),
]
// C is optimised in debug builds too: unoptimised kernels make every test a wait.
let optimised: [CSetting] = [.unsafeFlags(["-O3"])]

let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let serviceLifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")

let package = Package(
    name: "incipit",
    products: [
        .executable(name: "incipit", targets: ["incipit"]),
        .library(name: "ChatTemplates", targets: ["ChatTemplates"]),
        .library(name: "Engine", targets: ["Evaluation", "Generation", "LanguageModels", "PromptTuning"]),
        .library(name: "Formats", targets: ["Conversion", "GGUF", "Safetensors", "SoftPrompts", "TensorTypes"]),
        .library(name: "Registry", targets: ["OCIArtifacts", "OCIClient", "OCIServer", "PromptRegistry"]),
    ],
    traits: [
        .trait(name: "MPI", description: "Tuning in several processes over MPI; needs Open MPI (libopenmpi-dev).")
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // MARK: Formats: bytes to typed values and back
        .target(name: "ByteIO", path: "Formats/ByteIO", swiftSettings: checked),
        .target(name: "TensorTypes", dependencies: ["ByteIO"], path: "Formats/TensorTypes", swiftSettings: checked),
        .target(name: "GGUF", dependencies: ["TensorTypes"], path: "Formats/GGUF", swiftSettings: checked),
        .target(
            name: "Safetensors", dependencies: ["TensorTypes"], path: "Formats/Safetensors", swiftSettings: checked),
        .target(
            name: "SoftPrompts", dependencies: ["TensorTypes", "Safetensors"], path: "Formats/SoftPrompts",
            swiftSettings: checked),
        .target(
            name: "Conversion", dependencies: ["GGUF", "Safetensors", "SoftPrompts", crypto],
            path: "Formats/Conversion", swiftSettings: checked),

        // MARK: Sources: kernels, layers, models, generation, tuning
        .target(name: "CKernels", path: "Sources/CKernels", cSettings: optimised),
        .target(
            name: "Kernels", dependencies: ["CKernels", "TensorTypes"], path: "Sources/Kernels",
            swiftSettings: computing),
        .target(
            name: "Layers", dependencies: ["Kernels", "TensorTypes"], path: "Sources/Layers", swiftSettings: computing),
        .target(name: "Tokenization", path: "Sources/Tokenization", swiftSettings: checked),
        .target(name: "ChatTemplates", path: "Sources/ChatTemplates", swiftSettings: checked),
        .target(
            name: "TokenizerFiles", dependencies: ["Tokenization", "GGUF"], path: "Sources/TokenizerFiles",
            swiftSettings: checked),
        .target(
            name: "LanguageModels",
            dependencies: [
                "Layers", "Tokenization", "TokenizerFiles", "GGUF", "Safetensors", "SoftPrompts", "Conversion",
            ],
            path: "Sources/LanguageModels", swiftSettings: checked),
        .target(
            name: "Generation",
            dependencies: ["LanguageModels", "Safetensors", "SoftPrompts", "ByteIO", "ChatTemplates"],
            path: "Sources/Generation",
            swiftSettings: checked),
        .target(
            name: "PromptTuning", dependencies: ["ChatTemplates", "LanguageModels", "SoftPrompts", "Safetensors"],
            path: "Sources/PromptTuning", swiftSettings: checked),
        .target(
            name: "Evaluation", dependencies: ["Generation", "PromptTuning"], path: "Sources/Evaluation",
            swiftSettings: checked),

        .systemLibrary(name: "CMPI", path: "Sources/CMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
        .target(
            name: "DataParallel",
            dependencies: ["PromptTuning", .target(name: "CMPI", condition: .when(traits: ["MPI"]))],
            path: "Sources/DataParallel", swiftSettings: checked),

        // MARK: Registry: versioned prompts, stored and exchanged
        .systemLibrary(
            name: "CZstd", path: "Registry/CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .target(
            name: "OCIArtifacts", dependencies: [crypto], path: "Registry/OCIArtifacts", swiftSettings: checked),
        .target(
            name: "PromptRegistry",
            dependencies: ["OCIArtifacts", "CZstd", "SoftPrompts", .product(name: "GRDB", package: "GRDB.swift")],
            path: "Registry/PromptRegistry", swiftSettings: checked),
        .target(
            name: "OCIClient",
            dependencies: [
                "OCIArtifacts", "PromptRegistry", .product(name: "AsyncHTTPClient", package: "async-http-client"),
                nio("NIOCore"), nio("NIOHTTP1"), nio("NIOPosix"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            path: "Registry/OCIClient", swiftSettings: checked),
        .target(
            name: "OCIServer",
            dependencies: [
                "OCIArtifacts", "PromptRegistry", crypto, hummingbird, httpTypes, nio("NIOCore"), logging,
                serviceLifecycle, .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
            ],
            path: "Registry/OCIServer", swiftSettings: checked),

        // MARK: Front doors
        .executableTarget(
            name: "incipit",
            dependencies: [
                "ChatTemplates", "DataParallel", "Evaluation", "PromptRegistry", "OCIClient", "OCIServer", logging,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/incipit", swiftSettings: checked),

        // MARK: Tests: one target a module, and what they share
        .target(
            name: "Fixtures", path: "Fixtures",
            exclude: [
                "Conversion", "Data", "Golden", "Malformed", "Models", "Scripts", "SoftPrompts", "Tokenizers",
                "README.md",
            ],
            sources: ["Fixtures.swift"], swiftSettings: checked),
        .target(
            name: "TestSupport", dependencies: ["LanguageModels", "OCIArtifacts", "PromptRegistry"],
            path: "Tests/TestSupport", swiftSettings: checked),
        .target(
            name: "FuzzHarness",
            dependencies: [
                "GGUF", "Safetensors", "Conversion", "Tokenization", "ChatTemplates", "OCIArtifacts", "PromptRegistry",
            ],
            path: "Tests/Fuzz/Harness", swiftSettings: checked),
        test("FuzzHarness", ["Fixtures"]),
        test("ByteIO"),
        test("TensorTypes", ["ByteIO", "Fixtures"]),
        test("GGUF", ["ByteIO", "TensorTypes"]),
        test("Safetensors", ["ByteIO", "Fixtures"]),
        test("SoftPrompts", ["Fixtures", "Safetensors", "ByteIO"]),
        test("Conversion", ["Fixtures", "GGUF", "Safetensors", "SoftPrompts", "ByteIO", "TensorTypes", crypto]),
        test("Kernels", ["CKernels", "TensorTypes"]),
        test("Layers", ["Kernels", "TensorTypes"]),
        test("Tokenization", ["Fixtures", "GGUF", "TokenizerFiles"]),
        test("ChatTemplates", ["Fixtures"]),
        test(
            "LanguageModels",
            [
                "Conversion", "Fixtures", "GGUF", "TensorTypes", "Kernels", "Layers", "SoftPrompts", "PromptTuning",
                "TestSupport",
            ]),
        test(
            "Generation",
            [
                "Fixtures", "LanguageModels", "SoftPrompts", "Kernels", "Tokenization", "TokenizerFiles", "GGUF",
                "ByteIO", "ChatTemplates",
            ]),
        test(
            "PromptTuning", ["ChatTemplates", "Fixtures", "LanguageModels", "Kernels", "TestSupport", "Tokenization"]),
        test("DataParallel", ["PromptTuning"]),
        test("Evaluation", ["Fixtures", "Generation", "LanguageModels", "Kernels", "PromptTuning", "SoftPrompts"]),
        test("OCIArtifacts", [crypto]),
        test(
            "PromptRegistry",
            [
                "OCIArtifacts", "SoftPrompts", "Safetensors", "ByteIO", "TestSupport",
                .product(name: "GRDB", package: "GRDB.swift"),
            ]),
        test(
            "OCIClient",
            [
                "OCIArtifacts", "OCIServer", "PromptRegistry", "TestSupport", hummingbird, httpTypes, nio("NIOCore"),
                logging, serviceLifecycle,
            ]),
        test(
            "OCIServer",
            [
                "OCIArtifacts", "PromptRegistry", "TestSupport", hummingbird, httpTypes, nio("NIOCore"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
            ]),
        .testTarget(
            name: "EndToEndTests", dependencies: ["Fixtures", "incipit"], path: "Tests/EndToEndTests",
            swiftSettings: checked),
    ]
)

/// A library of SwiftNIO.
func nio(_ name: String) -> Target.Dependency { .product(name: name, package: "swift-nio") }

/// The tests of one module: `Tests/<Module>Tests`.
func test(_ module: String, _ others: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: module + "Tests", dependencies: [.target(name: module)] + others, path: "Tests/\(module)Tests",
        swiftSettings: checked)
}

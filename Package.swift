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

let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")

let package = Package(
    name: "incipit",
    products: [],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
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
        // MARK: Sources: kernels, layers, models, generation, tuning
        .target(name: "CKernels", path: "Sources/CKernels", cSettings: optimised),
        .systemLibrary(
            name: "COpenBLAS", path: "Sources/COpenBLAS", pkgConfig: "openblas",
            providers: [.apt(["libopenblas-dev"])]),
        .target(
            name: "Kernels", dependencies: ["CKernels", "COpenBLAS", "TensorTypes"], path: "Sources/Kernels",
            swiftSettings: computing),
        .target(
            name: "Layers", dependencies: ["Kernels", "TensorTypes"], path: "Sources/Layers", swiftSettings: computing),
        .target(name: "Tokenization", path: "Sources/Tokenization", swiftSettings: checked),
        .target(
            name: "LanguageModels", dependencies: ["Layers", "Tokenization", "GGUF", "Safetensors", "SoftPrompts"],
            path: "Sources/LanguageModels", swiftSettings: checked),
        .executableTarget(name: "lab", dependencies: ["LanguageModels"], path: "lab", swiftSettings: checked),
    ]
)

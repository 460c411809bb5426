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
    products: [
        .executable(name: "incipit", targets: ["incipit"])
    ],
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
        .executableTarget(
            name: "incipit",
            dependencies: [
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                crypto, .product(name: "Logging", package: "swift-log"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
            ], path: "Sources/incipit", exclude: [], swiftSettings: checked),
    ]
)

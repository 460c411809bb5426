// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that measuring never adds a dependency to the main one. Only the engine is compiled.
let package = Package(
    name: "incipit-benchmarks",
    products: [.executable(name: "incipit-measure", targets: ["incipit-measure"])],
    dependencies: [.package(name: "incipit", path: "../..")],
    targets: [
        .target(name: "Limits", path: "Limits", cSettings: [.unsafeFlags(["-O2"])]),
        .executableTarget(
            name: "incipit-measure",
            dependencies: [
                "Limits", .product(name: "Engine", package: "incipit"), .product(name: "Formats", package: "incipit"),
            ],
            path: "Measure",
            swiftSettings: [.swiftLanguageMode(.v6)]),
    ]
)

// swift-tools-version: 6.2
import PackageDescription

let safe: [SwiftSetting] = [.swiftLanguageMode(.v6)]
let fast: [SwiftSetting] = [.swiftLanguageMode(.v6), .unsafeFlags(["-Ounchecked"], .when(configuration: .release))]

let package = Package(
    name: "incipit",
    products: [],
    targets: []
)

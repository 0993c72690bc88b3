// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import PackageDescription

// The two modules that call C and the data plane see no Foundation; see CONTRIBUTING.md for what depends on what.
let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]

let package = Package(
    name: "portcullis",
    products: [
        .executable(name: "portcullis", targets: ["portcullis"]),
        .executable(name: "portcullis-bench", targets: ["portcullis-bench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .systemLibrary(name: "CHiredis", pkgConfig: "hiredis", providers: [.apt(["libhiredis-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CCrypt", providers: [.apt(["libcrypt-dev"])]),

        .target(name: "HTTPRules"),
        .target(name: "WallTime"),
        .target(name: "Tokens", dependencies: ["COpenSSL"]),
        .target(name: "PeerTLS", dependencies: [.product(name: "NIOSSL", package: "swift-nio-ssl")] + nio),
        .target(name: "RedisClient", dependencies: ["CHiredis", "PeerTLS", .product(name: "Logging", package: "swift-log")] + nio),
        .target(name: "Sessions", dependencies: nio),
        .target(
            name: "RedisSessions",
            dependencies: ["Sessions", "RedisClient", "WallTime", .product(name: "Logging", package: "swift-log")] + nio),
        .target(
            name: "Gateway",
            dependencies: [
                "HTTPRules", "WallTime", "Tokens", "Sessions", "PeerTLS", .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOTLS", package: "swift-nio"), .product(name: "Logging", package: "swift-log"),
            ] + nio),
        .target(
            name: "Control",
            dependencies: [
                "HTTPRules", "WallTime", "Tokens", "Sessions", "PeerTLS", "CCrypt", .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"), .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"), .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ] + nio),
        .target(
            name: "Settings",
            dependencies: ["Tokens", .product(name: "NIOSSL", package: "swift-nio-ssl"), .product(name: "Yams", package: "Yams")]),
        .executableTarget(
            name: "portcullis",
            dependencies: [
                "WallTime", "Tokens", "PeerTLS", "RedisClient", "Sessions", "RedisSessions", "Gateway", "Control", "Settings",
                .product(name: "ArgumentParser", package: "swift-argument-parser"), .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"), .product(name: "NIOHTTP1", package: "swift-nio"),
            ] + nio),

        // The latency harness: it measures any gateway, and shares no code of the data plane with ours.
        .target(
            name: "BenchHarness",
            dependencies: [
                "WallTime", "Tokens", "PeerTLS", .product(name: "NIOSSL", package: "swift-nio-ssl"), .product(name: "NIOTLS", package: "swift-nio"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"), .product(name: "NIOHPACK", package: "swift-nio-http2"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ] + nio),
        .executableTarget(
            name: "portcullis-bench",
            dependencies: [
                "BenchHarness", "Settings", "PeerTLS", .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ] + nio),

        .target(name: "TestSupport", dependencies: nio, path: "Tests/TestSupport"),
        // With the two doors at which the rules are applied.
        .testTarget(name: "HTTPRulesTests", dependencies: ["HTTPRules", "WallTime", "Gateway", "Control", "Tokens"] + nio),
        .testTarget(name: "TokensTests", dependencies: ["Tokens", "TestSupport"]),
        .testTarget(
            name: "RedisClientTests",
            dependencies: ["RedisClient", "PeerTLS", "TestSupport", .product(name: "NIOSSL", package: "swift-nio-ssl")]),
        .testTarget(
            name: "SessionsTests",
            dependencies: ["Sessions", "RedisSessions", "RedisClient", "TestSupport", .product(name: "NIOEmbedded", package: "swift-nio")]),
        .testTarget(
            name: "SimulationTests",
            dependencies: ["RedisSessions", "Sessions", "RedisClient", "TestSupport", .product(name: "NIOEmbedded", package: "swift-nio")] + nio,
            // Ten thousand worlds take minutes without.
            swiftSettings: [.unsafeFlags(["-O"], .when(configuration: .debug))]),
        .testTarget(
            name: "GatewayTests",
            dependencies: [
                "Gateway", "HTTPRules", "Tokens", "Sessions", "TestSupport", .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"), .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ] + nio),
        .testTarget(
            name: "ControlTests",
            dependencies: [
                "Control", "WallTime", "Tokens", "Sessions", "TestSupport", .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Logging", package: "swift-log"), .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ] + nio),
        // With the rules that the executable gives to the reading.
        .testTarget(
            name: "SettingsTests",
            dependencies: ["Settings", "Tokens", "portcullis", "TestSupport", .product(name: "NIOSSL", package: "swift-nio-ssl")]),
        // With the gateway's scanner, as the second opinion on what an answer is.
        .testTarget(
            name: "BenchHarnessTests",
            dependencies: [
                "BenchHarness", "Gateway", "PeerTLS", "TestSupport", .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOHTTP2", package: "swift-nio-http2"),
                .product(name: "NIOHPACK", package: "swift-nio-http2"),
            ] + nio),
        .testTarget(name: "IntegrationTests", dependencies: ["TestSupport"]),
    ],
    swiftLanguageModes: [.v6]
)

// Accesses to a class's properties are checked for overlap at run time, which is a fifth of the instructions of a request. The tests run with the checks;
// a release is built without (the Makefile does so for the libraries, too).
for target in package.targets where target.type != .test && target.type != .system {
    target.swiftSettings = (target.swiftSettings ?? []) + [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]
}
